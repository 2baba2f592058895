//! How many spans of each trace are open.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use opentelemetry::trace::TraceId;

const SHARDS: usize = 16;

/// Open spans by trace id. Several ids may belong to one trace, as those of two proxies that use one agent.
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
}
