//! What an HTTP listener counts.

use std::sync::Arc;

use spop_agent::tls::TlsStats;

use crate::metric::metrics;

/// The counters of an HTTP listener.
#[derive(Debug, Default)]
pub struct HttpStats {
    pub(super) counters: Counters,
    tls: Arc<TlsStats>,
}

impl HttpStats {
    /// The present values.
    pub fn snapshot(&self) -> HttpSnapshot {
        self.counters.snapshot()
    }

    /// What became of TLS handshakes, and of TLS that came where there is none.
    pub fn tls(&self) -> &Arc<TlsStats> {
        &self.tls
    }

    pub(crate) fn unauthorized(&self) {
        self.counters.unauthorized.one();
    }

    pub(crate) fn cross_origin(&self) {
        self.counters.cross_origin.one();
    }

    pub(super) fn timed_out(&self) {
        self.counters.timeouts.one();
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
    Counter "http_requests_unauthorized" "HTTP requests refused: without a valid token or password." {
        /// Requests refused because they had no valid token or password.
        unauthorized,
    }
    Counter "http_requests_cross_origin" "HTTP requests refused: a web page sent them." {
        /// Requests refused because a web page had a browser send them.
        cross_origin,
    }
}
