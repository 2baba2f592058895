//! The queue between the connection tasks and an exporter's task: bounded in
//! spans and in bytes, never waited for by the producer.

use super::stats::{DropCause, Drops};
use super::weight::Weight;
use crate::worker::LONGEST_WAIT;
use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So few places are not worth giving back.
const FEW: usize = 256;

/// Bounds of one exporter's queue and of the batches taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Most spans that may wait or be on their way.
    pub max_spans: usize,
    /// Most bytes of memory that may wait or be on their way.
    pub max_bytes: usize,
    /// Most spans in one batch.
    pub batch_spans: usize,
    /// Bytes from which on a batch takes no further span.
    pub batch_bytes: usize,
    /// How long a span may wait for its batch to fill up.
    pub batch_delay: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            max_spans: 65_536,
            max_bytes: 64 << 20,
            batch_spans: 512,
            batch_bytes: 2 << 20,
            batch_delay: Duration::from_secs(1),
        }
    }
}

/// A multi-producer queue with one consumer.
#[derive(Debug)]
pub(crate) struct BoundedQueue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<T> {
    config: QueueConfig,
    items: VecDeque<Item<T>>,
    waiting: Weight,
    /// Of the batches that are taken and not dropped yet.
    taken: Weight,
    /// When the oldest waiting item came, or the last batch was taken.
    since: Instant,
    closed: bool,
}

#[derive(Debug)]
struct Item<T> {
    value: T,
    weight: Weight,
    came: Instant,
}

impl<T> State<T> {
    /// An item with the place that it takes.
    fn placed(weight: Weight) -> Weight {
        weight.plus(Weight { spans: 0, bytes: BoundedQueue::<T>::PLACE })
    }

    fn append(&mut self, value: T, weight: Weight, came: Instant) -> Result<(), DropCause> {
        if self.closed {
            return Err(DropCause::Shutdown);
        }
        let weight = Self::placed(weight);
        let waiting = self.waiting.plus(weight);
        self.config.check(waiting.plus(self.taken))?;
        if self.items.is_empty() {
            self.since = came;
        }
        self.items.push_back(Item { value, weight, came });
        self.waiting = waiting;
        Ok(())
    }
}

impl QueueConfig {
    fn fills_batch(&self, total: Weight) -> bool {
        total.spans >= self.batch_spans || total.bytes >= self.batch_bytes
    }

    /// Why so much cannot be held.
    fn check(&self, held: Weight) -> Result<(), DropCause> {
        if held.spans > self.max_spans {
            return Err(DropCause::QueueFull);
        }
        if held.bytes > self.max_bytes {
            return Err(DropCause::QueueBytes);
        }
        Ok(())
    }

    /// Does what waits leave at once? A full batch does, and what fills a queue that has no room for one: else that would refuse
    /// spans while nobody is asked to take some. Bytes may come in pieces so large that the bound is never met.
    fn is_due(&self, waiting: Weight) -> bool {
        self.fills_batch(waiting) || waiting.spans >= self.max_spans || waiting.bytes >= self.max_bytes / 2
    }
}

/// The clock cannot tell times without end.
fn bounded(config: QueueConfig) -> QueueConfig {
    QueueConfig { batch_delay: config.batch_delay.min(LONGEST_WAIT), ..config }
}

/// Items taken together. They count against the queue's bounds until this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    /// When the oldest of them came.
    pub(crate) since: Instant,
    weight: Weight,
    queue: Arc<BoundedQueue<T>>,
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.taken = state.taken.minus(self.weight);
    }
}

impl<T> BoundedQueue<T> {
    /// Memory of a place: there may be as many again as are in use.
    const PLACE: usize = 2 * size_of::<Item<T>>();

    pub(crate) fn new(config: QueueConfig) -> Self {
        Self {
            state: Mutex::new(State {
                config: bounded(config),
                items: VecDeque::new(),
                waiting: Weight::default(),
                taken: Weight::default(),
                since: Instant::now(),
                closed: false,
            }),
            wake: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has other bounds from now on; what is held already stays.
    pub(crate) fn reconfigure(&self, config: QueueConfig) {
        self.lock().config = bounded(config);
        self.wake.notify_one();
    }

    /// What counts against the bounds at present.
    pub(crate) fn held(&self) -> Weight {
        let state = self.lock();
        state.waiting.plus(state.taken)
    }

    /// What may be held.
    pub(crate) fn limit(&self) -> Weight {
        let QueueConfig { max_spans, max_bytes, .. } = self.lock().config;
        Weight { spans: max_spans, bytes: max_bytes }
    }

    /// Is there no room for an item now, but once others are gone?
    pub(crate) fn has_room_later(&self, weight: Weight) -> bool {
        let weight = State::<T>::placed(weight);
        let state = self.lock();
        let fits = |held: Weight| state.config.check(held.plus(weight)).is_ok();
        fits(Weight::default()) && !fits(state.waiting.plus(state.taken))
    }

    /// Appends items, whose places count with them, and tells which could not be taken.
    pub(crate) fn push_all(&self, items: impl IntoIterator<Item = (T, Weight)>) -> Drops {
        let came = Instant::now();
        let mut drops = Drops::default();
        let mut state = self.lock();
        let (before, was_empty) = (state.waiting, state.items.is_empty());
        for (value, weight) in items {
            if let Err(cause) = state.append(value, weight, came) {
                drops.add(cause);
            }
        }
        // The consumer is woken only when there is something new to decide.
        let wake = match (was_empty, state.items.is_empty()) {
            (_, true) => false,
            (true, false) => true,
            (false, false) => !state.config.is_due(before) && state.config.is_due(state.waiting),
        };
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        drops
    }

    /// Appends an item, or says why it cannot be taken.
    pub(crate) fn push(&self, value: T, weight: Weight) -> Result<(), DropCause> {
        self.push_all([(value, weight)]).iter().next().map_or(Ok(()), |(cause, _)| Err(cause))
    }

    /// Takes the next batch as soon as it is full, its delay is over or the
    /// queue is closed. `None` when the queue is closed and empty. Nothing is
    /// lost when the future is dropped.
    pub(crate) async fn next_batch(self: &Arc<Self>) -> Option<Batch<T>> {
        loop {
            let woken = self.wake.notified();
            let ready_at = {
                let mut state = self.lock();
                if state.items.is_empty() {
                    if state.closed {
                        return None;
                    }
                    None
                } else {
                    let ready_at = state.since + state.config.batch_delay;
                    if state.closed || state.config.is_due(state.waiting) || ready_at <= Instant::now() {
                        return Some(self.take_batch(&mut state));
                    }
                    Some(ready_at)
                }
            };
            match ready_at {
                // Both outcomes lead to a new look at the queue.
                Some(at) => drop(tokio::time::timeout_at(at, woken).await),
                None => woken.await,
            }
        }
    }

    fn take_batch(self: &Arc<Self>, state: &mut State<T>) -> Batch<T> {
        let now = Instant::now();
        let since = state.items.front().map_or(now, |oldest| oldest.came);
        let mut items = Vec::new();
        let mut weight = Weight::default();
        while let Some(item) = state.items.pop_front() {
            weight = weight.plus(item.weight);
            items.push(item.value);
            if state.config.fills_batch(weight) {
                break;
            }
        }
        if state.items.capacity() > 4 * state.items.len().max(FEW) {
            let room = 2 * state.items.len();
            state.items.shrink_to(room);
        }
        state.waiting = state.waiting.minus(weight);
        state.taken = state.taken.plus(weight);
        state.since = now;
        Batch { items, since, weight, queue: self.clone() }
    }

    /// Refuses new items; what waits can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: usize = BoundedQueue::<u32>::PLACE;

    /// With so many bytes beside those of two places.
    fn queue(max_spans: usize, max_bytes: usize, batch_spans: usize) -> Arc<BoundedQueue<u32>> {
        Arc::new(BoundedQueue::new(QueueConfig {
            max_spans,
            max_bytes: max_bytes + 2 * PLACE,
            batch_spans,
            batch_bytes: 1000,
            batch_delay: Duration::from_secs(1),
        }))
    }

    /// The items of the next batch, which is done at once.
    async fn next(queue: &Arc<BoundedQueue<u32>>) -> Option<Vec<u32>> {
        queue.next_batch().await.map(|mut batch| std::mem::take(&mut batch.items))
    }

    fn weight(spans: usize, bytes: usize) -> Weight {
        Weight { spans, bytes }
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_in_spans_and_in_bytes_are_freed_by_a_batch() {
        let queue = queue(2, 100, 2);
        assert_eq!(queue.push(1, weight(1, 60)), Ok(()));
        assert_eq!(queue.push(2, weight(1, 41)), Err(DropCause::QueueBytes));
        assert_eq!(queue.push(3, weight(1, 40)), Ok(()));
        assert_eq!(queue.push(4, weight(1, 0)), Err(DropCause::QueueFull));
        assert_eq!(next(&queue).await, Some(vec![1, 3]));
        assert_eq!(queue.push(5, weight(2, 100)), Ok(()));
        queue.close();
        assert_eq!(queue.push(6, weight(1, 1)), Err(DropCause::Shutdown));
        assert_eq!(next(&queue).await, Some(vec![5]));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_counts_until_it_is_done_and_is_as_old_as_its_oldest_item() {
        let queue = queue(2, 100, 2);
        let start = Instant::now();
        queue.push(1, weight(1, 30)).unwrap();
        tokio::time::advance(Duration::from_millis(300)).await;
        queue.push(2, weight(1, 30)).unwrap();
        let batch = queue.next_batch().await.unwrap();
        assert_eq!((batch.items.as_slice(), batch.since), (&[1, 2][..], start));
        assert_eq!(queue.held(), weight(2, 60 + 2 * PLACE));
        assert_eq!(queue.push(3, weight(1, 1)), Err(DropCause::QueueFull));
        assert_eq!(queue.push(3, weight(0, 41)), Err(DropCause::QueueBytes));
        drop(batch);
        assert_eq!(queue.held(), weight(0, 0));
        assert_eq!(queue.push(3, weight(1, 1)), Ok(()));
    }

    #[tokio::test]
    async fn what_very_many_took_is_given_back() {
        let queue = queue(100_000, 100 << 20, 512);
        for item in 0..100_000 {
            queue.push(item, weight(1, 0)).unwrap();
        }
        let places = |queue: &BoundedQueue<u32>| queue.lock().items.capacity();
        assert!(places(&queue) * size_of::<Item<u32>>() <= queue.held().bytes);
        while queue.held().spans > 0 {
            drop(queue.next_batch().await);
        }
        assert!(places(&queue) <= 4 * FEW && queue.held().bytes == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_until_it_is_full_or_its_delay_is_over() {
        let queue = queue(10, 10_000, 3);
        queue.push(1, weight(1, 1)).unwrap();
        let start = Instant::now();
        assert_eq!(next(&queue).await, Some(vec![1]));
        assert_eq!(start.elapsed(), Duration::from_secs(1));

        for item in 2..=5 {
            queue.push(item, weight(1, 1)).unwrap();
        }
        let start = Instant::now();
        assert_eq!(next(&queue).await, Some(vec![2, 3, 4]));
        assert_eq!(start.elapsed(), Duration::ZERO);

        // 5 is left; the byte limit completes the next batch.
        queue.push(6, weight(1, 999)).unwrap();
        assert_eq!(next(&queue).await, Some(vec![5, 6]));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_a_full_batch() {
        for (max_spans, max_bytes) in [(2, 10_000), (10, 100)] {
            let queue = queue(max_spans, max_bytes, 512);
            let start = Instant::now();
            queue.push(1, weight(1, 60)).unwrap();
            queue.push(2, weight(1, 40)).unwrap();
            assert!(queue.push(3, weight(1, 60)).is_err());
            assert_eq!(next(&queue).await, Some(vec![1, 2]));
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_loses_neither_items_nor_their_delay() {
        let queue = queue(10, 10_000, 3);
        queue.push(1, weight(1, 1)).unwrap();
        let start = Instant::now();
        for _ in 0..4 {
            let wait = tokio::time::timeout(Duration::from_millis(200), queue.next_batch());
            assert!(wait.await.is_err());
        }
        assert_eq!(next(&queue).await, Some(vec![1]));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_delay_without_end_is_no_panic() {
        let queue = Arc::new(BoundedQueue::new(QueueConfig { batch_delay: Duration::MAX, ..QueueConfig::default() }));
        queue.push(1, weight(1, 1)).unwrap();
        let wait = tokio::time::timeout(Duration::from_millis(1), queue.next_batch());
        assert!(wait.await.is_err());
        queue.close();
        assert_eq!(next(&queue).await, Some(vec![1]));
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken_by_push_and_by_close() {
        let queue = queue(10, 10_000, 1);
        let consumer = tokio::spawn({
            let queue = queue.clone();
            async move { (next(&queue).await, next(&queue).await) }
        });
        tokio::task::yield_now().await;
        queue.push(7, weight(1, 1)).unwrap();
        tokio::task::yield_now().await;
        queue.close();
        assert_eq!(consumer.await.unwrap(), (Some(vec![7]), None));
    }
}
