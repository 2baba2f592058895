//! What the connections add up to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::stats::ServerStats;

/// A connection's part of a gauge, given back however the connection ends.
pub(crate) struct Part {
    stats: Arc<ServerStats>,
    gauge: fn(&ServerStats) -> &AtomicU64,
    value: u64,
}

impl Part {
    pub(crate) fn new(stats: &Arc<ServerStats>, gauge: fn(&ServerStats) -> &AtomicU64) -> Self {
        Self { stats: stats.clone(), gauge, value: 0 }
    }

    /// Gives the whole if this part grew.
    pub(crate) fn set(&mut self, value: u64) -> Option<u64> {
        if value == self.value {
            return None;
        }
        // Two's complement: what wraps around subtracts.
        let change = value.wrapping_sub(self.value);
        let whole = (self.gauge)(&self.stats).fetch_add(change, Relaxed).wrapping_add(change);
        let grew = value > std::mem::replace(&mut self.value, value);
        grew.then_some(whole)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}
