//! What the server counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spop_core::Status;

use crate::histogram::{Durations, Histogram};
use crate::tls::TlsStats;

/// From a microsecond to 8.4 seconds.
const FIRST_BUCKET: u64 = 1_000;
const BUCKETS: usize = 25;

/// How long handlers took.
pub type HandlerDurations = Durations<FIRST_BUCKET, BUCKETS>;

/// Who sent a DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// HAProxy.
    Haproxy,
    /// This agent.
    Agent,
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// Counters of a server, shared by its connections. They only grow, except `connections_open`,
        /// `in_flight` and `buffered`.
        #[derive(Debug, Default)]
        pub struct ServerStats {
            $($(#[$meta])* pub(crate) $name: AtomicU64,)*
            disconnects: [[AtomicU64; STATUS_SLOTS]; 2],
            pub(crate) handler_durations: Histogram<FIRST_BUCKET, BUCKETS>,
            pub(crate) tls: Arc<TlsStats>,
        }

        /// A copy of [`ServerStats`] at one instant.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct StatsSnapshot {
            $($(#[$meta])* pub $name: u64,)*
            /// DISCONNECTs by side and status: all with a count above 0. Codes that the specification does not name
            /// stand together under [`Status::UNKNOWN`].
            pub disconnects: Vec<(Side, Status, u64)>,
            /// How long each NOTIFY took, from its decoding to its answer, failures included; of an asynchronous handler that alone.
            pub handler_durations: HandlerDurations,
        }

        impl ServerStats {
            /// The present values.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot {
                    $($name: self.$name.load(Relaxed),)*
                    disconnects: self.disconnects(),
                    handler_durations: self.handler_durations.snapshot(),
                }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections open now.
    connections_open,
    /// Connections refused because too many were open.
    connections_refused,
    /// Connections refused because few file descriptors were left
    /// ([`reserved_files`](crate::ServerConfig::reserved_files)).
    connections_out_of_files,
    /// Connections that ended by an error of the transport; resets by HAProxy count as normal.
    io_errors,
    /// HELLOs accepted, without health checks.
    hellos,
    /// Health checks answered.
    healthchecks,
    /// NOTIFYs given to the handler.
    notifies,
    /// ACKs sent.
    acks,
    /// NOTIFYs that wait for their ACK now.
    in_flight,
    /// HELLO frames received that were no error. So with the other frames received: those that broke the protocol are
    /// in `protocol_errors`, those that came after the end are not counted but for `late`.
    received_hello,
    /// NOTIFY frames received, first fragments included.
    received_notify,
    /// Further fragments of NOTIFYs received (type UNSET), aborts included.
    received_unset,
    /// DISCONNECT frames received.
    received_disconnect,
    /// Frames of unknown types received.
    received_unknown,
    /// HELLO frames sent.
    sent_hello,
    /// ACK frames sent, the empty ones for what is too big included.
    sent_ack,
    /// DISCONNECT frames sent.
    sent_disconnect,
    /// Fragments received.
    fragments,
    /// Fragmented NOTIFYs beyond the bound, answered by an empty ACK.
    too_big,
    /// Fragmented NOTIFYs that HAProxy gave up.
    aborted,
    /// NOTIFYs made void by a later one with the same ids, or without pipelining by any later one.
    superseded,
    /// NOTIFYs sent and cancelled in one frame.
    cancelled,
    /// Frames of unknown types, and aborts of nothing.
    ignored,
    /// Connections that broke the protocol.
    protocol_errors,
    /// NOTIFYs whose handler returned an error; answered by an empty ACK.
    handler_errors,
    /// NOTIFYs whose handler panicked; answered by an empty ACK.
    handler_panics,
    /// NOTIFYs whose handler took longer than the limit.
    handler_late,
    /// NOTIFYs open when their connection ended: nobody waits for the answer any more.
    unanswered,
    /// NOTIFYs whose connection was gone and that were given up because
    /// [`max_orphans`](crate::ServerConfig::max_orphans) others were worked on; they are among `unanswered`.
    orphans_refused,
    /// NOTIFYs whose connection was gone, answered on another one of their engine; they are among `acks`.
    answered_elsewhere,
    /// NOTIFYs that came when this agent was ending the connection already, because it stops, the connection was idle, memory
    /// was used up or ACKs were not read: HAProxy did not know yet. Those behind an error of the protocol cannot be counted.
    late,
    /// Connections ended because HAProxy did not read its ACKs in time.
    write_timeouts,
    /// Bytes that connections hold now beyond what each may in any case ([`OWN_BUFFERS`](crate::OWN_BUFFERS)).
    buffered,
    /// Connections ended because [`max_buffered`](crate::ServerConfig::max_buffered) was used up.
    buffers_full,
    /// Bytes received.
    bytes_in,
    /// Bytes sent.
    bytes_out,
}

/// 0 to 13, and all others.
const STATUS_SLOTS: usize = 15;

impl ServerStats {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            counter.fetch_add(n, Relaxed);
        }
    }

    pub(crate) fn disconnect(&self, side: Side, status: Status) {
        let slot = (status.0 as usize).min(STATUS_SLOTS - 1);
        Self::add(&self.disconnects[side as usize][slot], 1);
    }

    /// What became of handshakes at listeners with TLS, and of TLS that came to others.
    pub fn tls(&self) -> &Arc<TlsStats> {
        &self.tls
    }

    fn disconnects(&self) -> Vec<(Side, Status, u64)> {
        let mut counts = Vec::new();
        for side in [Side::Haproxy, Side::Agent] {
            for (slot, counter) in self.disconnects[side as usize].iter().enumerate() {
                let status = if slot == STATUS_SLOTS - 1 { Status::UNKNOWN } else { Status(slot as u32) };
                counts.push((side, status, counter.load(Relaxed)));
            }
        }
        counts.retain(|&(_, _, count)| count > 0);
        counts
    }
}
