//! How many spans of each trace are open.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use opentelemetry::trace::TraceId;

const SHARDS: usize = 16;
/// A shard with room for so few is not worth shrinking.
const ROOM: usize = 64;

/// Open spans by trace id; the seed of the hashes is random, so that nobody knows which ids collide. Several ids may belong to one trace, as those of two proxies that use one agent.
#[derive(Debug)]
pub(super) struct TraceIndex([Mutex<HashMap<TraceId, isize>>; SHARDS]);

impl Default for TraceIndex {
    fn default() -> Self {
        TraceIndex(std::array::from_fn(|_| Mutex::default()))
    }
}

impl TraceIndex {
    fn shard(&self, trace_id: TraceId) -> Option<std::sync::MutexGuard<'_, HashMap<TraceId, isize>>> {
        let [.., last] = trace_id.to_bytes();
        let shard = self.0.get(usize::from(last) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An id of this trace has so many open spans more. Changes may come out of order, so that the sum may be negative
    /// for a while.
    pub(super) fn change(&self, trace_id: TraceId, by: isize) {
        let Some(mut shard) = self.shard(trace_id) else { return };
        let open = shard.entry(trace_id).or_default();
        *open = open.saturating_add(by);
        if *open == 0 {
            shard.remove(&trace_id);
            // What very many once took is given back.
            if shard.capacity() > 4 * shard.len().max(ROOM) {
                let room = 2 * shard.len();
                shard.shrink_to(room);
            }
        }
    }

    pub(super) fn open_spans(&self, trace_id: TraceId) -> usize {
        let open = self.shard(trace_id).and_then(|shard| shard.get(&trace_id).copied());
        open.and_then(|open| usize::try_from(open).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_add_up_in_any_order() {
        let (index, trace_id) = (TraceIndex::default(), TraceId::from(7));
        index.change(trace_id, -1);
        assert_eq!(index.open_spans(trace_id), 0);
        index.change(trace_id, 3);
        assert_eq!(index.open_spans(trace_id), 2);
        index.change(trace_id, -2);
        assert_eq!(index.open_spans(trace_id), 0);
        assert!(index.shard(trace_id).unwrap().is_empty());
    }

    #[test]
    fn memory_comes_back() {
        let index = TraceIndex::default();
        let ids = || (0..1_000_000).step_by(SHARDS).map(|id| TraceId::from(id << 8 | 5));
        ids().for_each(|id| index.change(id, 1));
        assert!(index.shard(TraceId::from(5)).unwrap().capacity() >= 1_000_000 / SHARDS);
        ids().for_each(|id| index.change(id, -1));
        assert!(index.shard(TraceId::from(5)).unwrap().capacity() <= 4 * ROOM);
    }
}
