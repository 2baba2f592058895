//! What an HTTP listener counts.

use crate::metric::metrics;

/// The counters of an HTTP listener.
#[derive(Debug, Default)]
pub struct HttpStats {
    pub(super) counters: Counters,
}

impl HttpStats {
    /// The present values.
    pub fn snapshot(&self) -> HttpSnapshot {
        self.counters.snapshot()
    }

    pub(crate) fn misdirected(&self) {
        self.counters.misdirected.one();
    }
}

metrics! {
    /// The connections of an HTTP listener at one instant.
    snapshot HttpSnapshot, counters Counters;
    Counter "http_connections" "HTTP connections accepted." {
        /// Connections accepted.
        connections,
    }
    Level "http_connections_open" "HTTP connections open now." {
        /// Gauge: connections open now.
        open,
    }
    Counter "http_connections_refused" "HTTP connections refused: too many were open, or few files left." {
        /// Connections closed at once because too many were open, all or those of the peer, or few file descriptors left.
        refused,
    }
    Counter "http_connections_evicted" "Idle HTTP connections closed to make room." {
        /// Idle connections closed to make room for others.
        evicted,
    }
    Counter "http_connection_timeouts" "HTTP connections ended: the client stood still." {
        /// Connections closed because the client stood still, idle ones included.
        timeouts,
    }
    Counter "http_requests_misdirected" "HTTP requests refused: they were for another host." {
        /// Requests refused because they were for another host.
        misdirected,
    }
}
