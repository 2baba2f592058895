//! What all connections share, and what is told of them at the end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use spop_agent::addr::Addr;

use super::faults::FaultOptions;
use crate::say::say;
use crate::tap::Tap;

/// What all connections share.
pub(super) struct Shared {
    pub(super) agent: Addr,
    pub(super) timeout: Duration,
    pub(super) faults: FaultOptions,
    pub(super) all: bool,
    pub(super) tap: Arc<Tap>,
    pub(super) counts: Counts,
    /// In microseconds.
    pub(super) latencies: Mutex<Histogram<u64>>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unconnected: AtomicU64,
    pub(super) notifies: AtomicU64,
    pub(super) acks: AtomicU64,
    pub(super) forgotten: AtomicU64,
    pub(super) no_frames: AtomicU64,
    pub(super) delayed: AtomicU64,
    pub(super) dropped_acks: AtomicU64,
    pub(super) dropped_notifies: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) reordered: AtomicU64,
}

impl Shared {
    pub(super) fn latency(&self, took: Duration) {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record((took.as_micros() as u64).max(1));
    }

    pub(super) fn summary(&self) {
        let counts = &self.counts;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        say(format_args!(
            "{} connections, {} NOTIFYs, {} ACKs",
            count(&counts.connections),
            count(&counts.notifies),
            count(&counts.acks)
        ));
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if !latencies.is_empty() {
            let [half, most, last] =
                [0.5, 0.99, 1.0].map(|quantile| latencies.value_at_quantile(quantile) as f64 / 1e3);
            say(format_args!("latency of the agent: p50 {half:.3} ms, p99 {most:.3} ms, max {last:.3} ms"));
        }
        for (counter, what) in [
            (&counts.refused, "connections refused: --max-connections were open"),
            (&counts.unconnected, "connections closed: the agent could not be reached"),
            (
                &counts.forgotten,
                "NOTIFYs forgotten, their latency is not known: 4096 later ones had no ACK on their connection",
            ),
            (&counts.no_frames, "directions of connections passed on without decoding: they are not SPOP"),
            (&counts.delayed, "ACKs delayed"),
            (&counts.dropped_acks, "ACKs dropped"),
            (&counts.dropped_notifies, "NOTIFYs dropped"),
            (&counts.cut, "connections cut"),
            (&counts.reordered, "ACKs passed on in another order"),
        ] {
            if count(counter) > 0 {
                say(format_args!("{} {what}", count(counter)));
            }
        }
    }
}
