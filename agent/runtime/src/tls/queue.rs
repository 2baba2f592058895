//! The unfinished handshakes of a listener. When there are too many the oldest one ends: who stands still makes room for who
//! does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
struct Waiting {
    next: u64,
    open: BTreeMap<u64, Arc<Notify>>,
    /// Those that have to make room and still hold what they have.
    ending: usize,
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

    /// One more begins; the one that has to make room for it is gone then.
    pub(super) async fn enter(self: Arc<Self>) -> Place {
        let place = self.clone().take();
        while self.lock().ending > 0 {
            // They run next.
            tokio::task::yield_now().await;
        }
        place
    }

    fn take(self: Arc<Self>) -> Place {
        let end = Arc::<Notify>::default();
        let mut waiting = self.lock();
        if waiting.open.len() >= self.max {
            if let Some((_, oldest)) = waiting.open.pop_first() {
                oldest.notify_one();
                waiting.ending += 1;
            }
        }
        let id = waiting.next;
        waiting.next += 1;
        waiting.open.insert(id, end.clone());
        drop(waiting);
        Place { queue: self, id, end }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among them, until it is dropped.
pub(super) struct Place {
    queue: Arc<Queue>,
    id: u64,
    end: Arc<Notify>,
}

impl Place {
    /// Waits until it has to make room.
    pub(super) async fn evicted(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if waiting.open.remove(&self.id).is_none() {
            waiting.ending -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_oldest_makes_room() {
        let queue = Arc::new(Queue::new(2));
        let places: Vec<_> = (0..3).map(|_| queue.clone().take()).collect();
        let evicted: Vec<_> = places.iter().map(|place| place.evicted().now_or_never().is_some()).collect();
        assert_eq!(evicted, [true, false, false]);
        assert!(queue.clone().enter().now_or_never().is_none(), "two of them are not gone yet");
        drop(places);
        assert!(queue.lock().open.is_empty());
        assert_eq!(queue.lock().ending, 0);
        assert!(queue.clone().enter().now_or_never().is_some());
        assert!(Arc::new(Queue::new(0)).take().evicted().now_or_never().is_none(), "there is room for one");
    }
}
