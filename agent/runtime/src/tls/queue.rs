//! The unfinished handshakes of a listener. When there are too many the oldest one ends: who stands still makes room for who
//! does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
struct Waiting {
    next: u64,
    open: BTreeMap<u64, Arc<Notify>>,
}

/// The unfinished handshakes.
pub(super) struct Queue {
    max: usize,
    waiting: Mutex<Waiting>,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), waiting: Mutex::default() }
    }

    /// One more begins.
    pub(super) fn enter(&self) -> Place<'_> {
        let end = Arc::<Notify>::default();
        let mut waiting = self.lock();
        if waiting.open.len() >= self.max {
            if let Some((_, oldest)) = waiting.open.pop_first() {
                oldest.notify_one();
            }
        }
        let id = waiting.next;
        waiting.next += 1;
        waiting.open.insert(id, end.clone());
        Place { queue: self, id, end }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among them, until it is dropped.
pub(super) struct Place<'q> {
    queue: &'q Queue,
    id: u64,
    end: Arc<Notify>,
}

impl Place<'_> {
    /// Waits until it has to make room.
    pub(super) async fn evicted(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_oldest_makes_room() {
        let queue = Queue::new(2);
        let places: Vec<_> = (0..3).map(|_| queue.enter()).collect();
        let evicted: Vec<_> = places.iter().map(|place| place.evicted().now_or_never().is_some()).collect();
        assert_eq!(evicted, [true, false, false]);
        drop(places);
        assert_eq!(queue.lock().open.len(), 0);
        assert!(Queue::new(0).enter().evicted().now_or_never().is_none(), "there is room for one");
    }
}
