//! The recent traces, kept for the page `/traces`.
//!
//! Spans are kept as they come, this process's own and those that the
//! [receiver](super::receiver) got. What is held is bounded in traces and in
//! bytes: the trace that had no new span for longest makes room. One trace may
//! take a quarter of the bytes, so that no single one pushes out all others.

mod ring;

pub(crate) use ring::KeptTrace;
pub use ring::RecentSnapshot;

use super::receiver::{ReceivedRequest, RequestSink};
use super::stats::{DropLog, Drops, ExportSnapshot, ExportStats};
use super::weight::Weight;
use super::{Exporter, ShutdownFuture};
use crate::span::{FinishedSpan, held_with_origins};
use bytesize::ByteSize;
use opentelemetry::TraceId;
use ring::Ring;
use spop_agent::size;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Bounds of the recent traces.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RecentConfig {
    /// How many recent traces to keep for the page /traces; 0 keeps none
    #[arg(long = "admin-traces", value_name = "N", default_value_t = Self::DEFAULT.max_traces)]
    pub max_traces: usize,

    /// Memory of the recent traces: the oldest make room for new ones, and one trace may take a quarter of it
    #[arg(long = "admin-traces-bytes", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.max_bytes), value_parser = size::parse)]
    pub max_bytes: usize,
}

impl RecentConfig {
    const DEFAULT: Self = Self { max_traces: 500, max_bytes: 32 << 20 };
}

impl Default for RecentConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl RecentConfig {
    /// `max_bytes` for people.
    pub(crate) fn memory(&self) -> ByteSize {
        ByteSize::b(self.max_bytes as u64)
    }
}

/// Keeps the recent traces in memory.
///
/// A span counts as exported when it is kept, and no more when it makes room
/// for a newer one.
pub struct Recent {
    config: RecentConfig,
    stats: ExportStats,
    drop_log: DropLog,
    ring: Mutex<Ring>,
}

impl Recent {
    /// A memory with these bounds.
    pub fn new(config: RecentConfig) -> Self {
        Self {
            ring: Mutex::new(Ring::new(config.max_traces, config.max_bytes)),
            config,
            stats: ExportStats::default(),
            drop_log: DropLog::new("spans not kept for /traces"),
        }
    }

    /// The bounds.
    pub fn config(&self) -> &RecentConfig {
        &self.config
    }

    /// The memory's own counters.
    pub fn recent_stats(&self) -> RecentSnapshot {
        self.lock().stats()
    }

    /// All traces, the one with the latest span first.
    pub(crate) fn traces(&self) -> Vec<KeptTrace> {
        self.lock().traces()
    }

    /// The trace of this id.
    pub(crate) fn trace(&self, id: TraceId) -> Option<KeptTrace> {
        self.lock().get(id)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep<'a>(&self, spans: impl Iterator<Item = (&'a FinishedSpan, usize)>) {
        // What makes room is freed after the lock.
        let mut evicted = Vec::new();
        let (mut kept, mut drops) = (0, Drops::default());
        let mut ring = self.lock();
        for (span, bytes) in spans {
            match ring.keep(span, bytes, &mut evicted) {
                Ok(()) => kept += 1,
                Err(cause) => drops.add(cause),
            }
        }
        drop(ring);
        self.stats.add_exported(kept);
        self.drop_log.all(&self.stats, &drops);
    }
}

impl Exporter for Recent {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn submit(&self, spans: &[FinishedSpan]) {
        self.stats.add_submitted(spans.len());
        self.keep(spans.iter().map(|span| (span, span.held())));
    }

    fn stats(&self) -> ExportSnapshot {
        let limit = Weight { spans: 0, bytes: self.config.max_bytes };
        self.stats.snapshot().with_queue(self.lock().held, limit)
    }

    fn shutdown(&self, _: Instant) -> ShutdownFuture<'_> {
        self.lock().closed = true;
        Box::pin(std::future::ready(()))
    }
}

impl RequestSink for Recent {
    /// Keeps the spans as far as there is room; what is not kept is not a
    /// reason to reject it, so this never reports a drop to the sender.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        self.stats.add_submitted(request.spans.len());
        self.keep(held_with_origins(&request.spans));
        0
    }
}

#[cfg(test)]
mod tests;
