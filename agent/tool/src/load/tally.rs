//! What a run counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;

/// What can go wrong with a NOTIFY or a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// No ACK in time.
    Timeout,
    /// A frame that answers no open NOTIFY: wrong ids, or too late.
    UnknownAck,
    /// An ACK whose actions do not decode.
    Malformed,
    /// An expected variable is not in the ACK.
    Missing,
    /// It is there with another type.
    WrongType,
    /// It is there with another value.
    WrongValue,
    /// An ACK with ABORT.
    Aborted,
    /// The agent broke the protocol.
    Protocol,
    /// The agent sent a DISCONNECT.
    Disconnected,
    /// The agent closed the connection, or it broke.
    Closed,
    /// NOTIFYs that were in flight when their connection ended.
    Lost,
    /// A connection could not be made again.
    Connect,
    /// NOTIFYs that were to be sent and were not: all places in flight were taken until the end, or there was no
    /// connection.
    Unsent,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Timeout => "timeout",
            Kind::UnknownAck => "unknown-ack",
            Kind::Malformed => "malformed",
            Kind::Missing => "missing",
            Kind::WrongType => "wrong-type",
            Kind::WrongValue => "wrong-value",
            Kind::Aborted => "aborted",
            Kind::Protocol => "protocol",
            Kind::Disconnected => "disconnected",
            Kind::Closed => "closed",
            Kind::Lost => "lost",
            Kind::Connect => "connect",
            Kind::Unsent => "unsent",
        }
    }
}

/// How often, and an example.
pub(super) struct ErrorCount {
    pub(super) count: u64,
    pub(super) first: String,
}

/// The counts of one thread, then of the run.
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) acks: u64,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) reconnects: u64,
    pub(super) errors: BTreeMap<Kind, ErrorCount>,
    /// Nanoseconds from the time at which a NOTIFY was to be sent to its ACK.
    pub(super) latency: Histogram<u64>,
    /// When the last ACK came, from the start of the run.
    pub(super) last_ack: Duration,
}

/// Latencies above are counted as this.
const MAX_LATENCY: Duration = Duration::from_secs(600);

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Tally {
            sent: 0,
            acks: 0,
            bytes_out: 0,
            bytes_in: 0,
            reconnects: 0,
            errors: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, MAX_LATENCY.as_nanos() as u64, 3)?,
            last_ack: Duration::ZERO,
        })
    }

    #[cold]
    pub(super) fn error(&mut self, kind: Kind, count: u64, example: impl FnOnce() -> String) {
        if count > 0 {
            self.errors.entry(kind).or_insert_with(|| ErrorCount { count: 0, first: example() }).count += count;
        }
    }

    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.sent += other.sent;
        self.acks += other.acks;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.reconnects += other.reconnects;
        for (kind, error) in other.errors {
            self.error(kind, error.count, || error.first);
        }
        // The bounds are the same, so the counts fit.
        let _merged = self.latency.add(&other.latency);
        self.last_ack = self.last_ack.max(other.last_ack);
    }
}

/// What a thread shows while it runs.
#[derive(Default)]
pub(super) struct Progress {
    acks: AtomicU64,
    errors: AtomicU64,
}

impl Progress {
    pub(super) fn show(&self, tally: &Tally) {
        self.acks.store(tally.acks, Relaxed);
        self.errors.store(tally.error_count(), Relaxed);
    }

    /// ACKs and errors.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.acks.load(Relaxed), self.errors.load(Relaxed))
    }
}
