//! The unfinished handshakes of a listener. When there are too many the oldest one ends: who stands still makes room for who
//! does not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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
    max: AtomicUsize,
    waiting: Mutex<Waiting>,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        let queue = Self { max: AtomicUsize::default(), waiting: Mutex::default() };
        queue.set_max(max);
        queue
    }

    /// Another bound, from the next one that begins on.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max.max(1), Relaxed);
    }

    /// One more begins; the one that has to make room for it is gone then.
    pub(super) async fn enter(self: Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.clone().take() {
                return place;
            }
            // They run next.
            tokio::task::yield_now().await;
        }
    }

    /// A place if there is room; else the oldest is told to make it. Who waits here has no place yet: another listener would
    /// wait for it to be given up.
    fn take(self: Arc<Self>) -> Option<Place> {
        let mut waiting = self.lock();
        if waiting.ending > 0 {
            return None;
        }
        if waiting.open.len() >= self.max.load(Relaxed) {
            let (_, oldest) = waiting.open.pop_first()?;
            oldest.notify_one();
            waiting.ending += 1;
            return None;
        }
        let (id, end) = (waiting.next, Arc::<Notify>::default());
        waiting.next += 1;
        waiting.open.insert(id, end.clone());
        drop(waiting);
        Some(Place { queue: self, id, end })
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
        let mut places: Vec<_> = (0..2).filter_map(|_| queue.clone().take()).collect();
        assert!(queue.clone().enter().now_or_never().is_none(), "there is no room yet");
        let evicted: Vec<_> = places.iter().map(|place| place.evicted().now_or_never().is_some()).collect();
        assert_eq!(evicted, [true, false]);
        assert!(queue.clone().enter().now_or_never().is_none(), "it is not gone yet, and nobody else has to go");
        assert!(places[1].evicted().now_or_never().is_none());
        places.remove(0);
        let third = queue.clone().enter().now_or_never();
        assert!(third.is_some());
        drop((places, third));
        let waiting = queue.lock();
        assert!(waiting.open.is_empty() && waiting.ending == 0);
        assert!(Arc::new(Queue::new(0)).take().is_some(), "there is room for one");
    }

    #[test]
    fn another_bound_holds_from_the_next_one_on() {
        let queue = Arc::new(Queue::new(1));
        let mut places: Vec<_> = queue.clone().take().into_iter().collect();
        queue.set_max(3);
        places.extend((0..2).filter_map(|_| queue.clone().take()));
        assert_eq!(places.len(), 3);
        queue.set_max(1);
        for left in [2, 1, 0] {
            assert!(queue.clone().take().is_none(), "{left} are left");
            assert!(places.remove(0).evicted().now_or_never().is_some(), "the oldest has to go");
        }
        assert!(queue.take().is_some());
    }

    /// Two listeners that come in turn both get their place, whoever of them told the oldest to go.
    #[test]
    fn who_waits_for_a_place_is_not_waited_for() {
        let queue = Arc::new(Queue::new(1));
        let oldest = queue.clone().take();
        let [mut one, mut other] = [(); 2].map(|()| Box::pin(queue.clone().enter()));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        drop(oldest);
        let place = (&mut other).now_or_never().expect("there is room");
        assert!((&mut one).now_or_never().is_none());
        assert!(place.evicted().now_or_never().is_some());
        drop(place);
        assert!((&mut one).now_or_never().is_some());
    }
}
