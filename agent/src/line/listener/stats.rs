//! What the listeners count: a line that was sent here was received, or is among those that were not taken.

use std::sync::Arc;

use spop_agent::tls::TlsStats;

use crate::metric::metrics;

/// The counters of the listeners.
#[derive(Debug, Default)]
pub struct ListenerStats {
    pub(super) counters: Counters,
    tls: Arc<TlsStats>,
}

impl ListenerStats {
    /// The present values.
    pub fn snapshot(&self) -> ListenerSnapshot {
        self.counters.snapshot()
    }

    /// What became of TLS handshakes, and of TLS that came where there is none.
    pub fn tls(&self) -> &Arc<TlsStats> {
        &self.tls
    }
}

metrics! {
    /// The counters of the listeners at one instant.
    snapshot ListenerSnapshot, counters Counters;
    Counter "log_lines_received" "Lines of HAProxy's log received, whatever is in them." by "transport" {
        /// Lines in datagrams over UDP.
        udp_lines = "udp",
        /// Lines in datagrams of unix sockets.
        unix_lines = "unix",
        /// Lines over TCP.
        tcp_lines = "tcp",
    }
    Counter "log_received_bytes" "Bytes of these lines." by "transport" {
        /// Bytes of the lines over UDP.
        udp_bytes = "udp",
        /// Bytes of the lines of unix sockets.
        unix_bytes = "unix",
        /// Bytes of the lines over TCP.
        tcp_bytes = "tcp",
    }
    Counter "log_lines_not_taken" "Lines of HAProxy's log that were not taken, by why." by "cause" {
        /// Datagrams that the system dropped, for the receive buffer was full. It tells with the next one that it keeps.
        lost = "buffer_full",
        /// Datagrams whose sender is not allowed.
        refused = "sender",
        /// Datagrams of more than 64 KiB, of which the rest is lost.
        cut = "cut",
        /// Lines over TCP beyond the limit.
        too_long = "too_long",
        /// Lines over TCP that the end of their connection cut.
        incomplete = "incomplete",
        /// Lines at which the sink panicked.
        failed = "panic",
    }
    Counter "log_connections" "Connections for log lines accepted." {
        /// Connections accepted.
        connections,
    }
    Level "log_connections_open" "Connections for log lines open now." {
        /// Gauge: connections open now.
        open,
    }
    Counter "log_connections_refused" "Connections for log lines refused, by why." by "cause" {
        /// Connections closed at once because too many were open.
        refused_limit = "limit",
        /// Connections closed at once because their sender had too many open.
        refused_peer = "peer",
        /// Connections closed at once because their sender is not allowed.
        refused_sender = "sender",
        /// Connections closed at once because few file descriptors were left.
        refused_files = "files",
    }
    Counter "log_connections_broken" "Connections for log lines ended, by what was wrong." by "cause" {
        /// Connections closed because their bytes are in neither framing of RFC 6587.
        bad_framing = "framing",
        /// Connections closed because nothing came for too long.
        timeouts = "idle",
        /// Connections ended by an error of the transport.
        io_errors = "io",
    }
}
