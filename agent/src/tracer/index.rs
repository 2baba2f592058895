//! How many spans of each trace are open.

use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use opentelemetry::trace::TraceId;

const SHARDS: usize = 16;
/// A shard with room for so few is not worth shrinking.
const ROOM: usize = 64;

/// A trace id without the alignment of its number, which would make each entry half as large again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u8; 16]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

/// What an id takes here: a hash table is at least half of 7/8 full.
pub(super) const BYTES_OF_ID: usize = (size_of::<(Key, i32)>() + 1) * 16 / 7;

/// Open spans by trace id; the seed of the hashes is random, so that nobody knows which ids collide. Several ids may belong to one
/// trace, as those of two proxies that use one agent.
#[derive(Debug)]
pub(super) struct TraceIndex([Mutex<Spans>; SHARDS]);

type Spans = HashMap<Key, i32>;

impl Default for TraceIndex {
    fn default() -> Self {
        TraceIndex(std::array::from_fn(|_| Mutex::default()))
    }
}

impl TraceIndex {
    fn shard(&self, Key([.., last]): Key) -> Option<std::sync::MutexGuard<'_, Spans>> {
        let shard = self.0.get(usize::from(last) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An id of this trace has so many open spans more. Changes may come out of order, so that the sum may be negative
    /// for a while.
    pub(super) fn change(&self, trace_id: TraceId, by: i32) {
        let key = Key(trace_id.to_bytes());
        let Some(mut shard) = self.shard(key) else { return };
        let open = shard.entry(key).or_default();
        *open = open.saturating_add(by);
        if *open == 0 {
            shard.remove(&key);
            // What very many once took is given back.
            if shard.capacity() > 4 * shard.len().max(ROOM) {
                let room = 2 * shard.len();
                shard.shrink_to(room);
            }
        }
    }

    pub(super) fn open_spans(&self, trace_id: TraceId) -> usize {
        let key = Key(trace_id.to_bytes());
        let open = self.shard(key).and_then(|shard| shard.get(&key).copied());
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
        assert!(index.shard(Key(trace_id.to_bytes())).unwrap().is_empty());
    }

    #[test]
    fn memory_comes_back() {
        let index = TraceIndex::default();
        let ids = || (0..1_000_000).step_by(SHARDS).map(|id| TraceId::from(id << 8 | 5));
        ids().for_each(|id| index.change(id, 1));
        assert!(index.shard(Key(TraceId::from(5).to_bytes())).unwrap().capacity() >= 1_000_000 / SHARDS);
        ids().for_each(|id| index.change(id, -1));
        assert!(index.shard(Key(TraceId::from(5).to_bytes())).unwrap().capacity() <= 4 * ROOM);
    }
}
