//! Counters of the export path. Every span that enters an exporter is counted
//! once more when it leaves it: as exported or under the cause of its loss.

use super::weight::Weight;
use crate::metric::{Counter, metrics};
use spop_agent::histogram::{Durations, Histogram};
use spop_agent::ratelimit::LogLimit;
use std::time::Duration;

/// From a millisecond to 16 seconds.
const FIRST_BUCKET: u64 = 1_000_000;
const BUCKETS: usize = 16;

/// How long the requests of an exporter took.
pub type RequestDurations = Durations<FIRST_BUCKET, BUCKETS>;

/// Why an exporter lost a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// The queue held its maximum of spans.
    QueueFull,
    /// The queue held its maximum of bytes.
    QueueBytes,
    /// The span could not be written: the output of the console failed.
    ExportFailed,
    /// The destination refused the span.
    Rejected,
    /// The destination could not be reached until the span was too old.
    Expired,
    /// The exporter was stopped before the span was delivered.
    Shutdown,
}

impl DropCause {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 6] =
        [Self::QueueFull, Self::QueueBytes, Self::ExportFailed, Self::Rejected, Self::Expired, Self::Shutdown];

    /// The cause as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueBytes => "queue_bytes",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Shutdown => "shutdown",
        }
    }
}

metrics! {
    /// [`ExportStats`] at one instant.
    snapshot ExportSnapshot, counters Counters
    and {
        /// How long requests took until their answer, their failure or the end of their time.
        request_durations: RequestDurations,
    };
    Counter "export_spans_submitted" "Spans given to the exporter." {
        /// Spans given to the exporter.
        submitted,
    }
    Counter "export_spans_exported" "Spans delivered: taken by the collector, or printed." {
        /// Spans delivered: acknowledged by the collector, or printed.
        exported,
    }
    Counter "export_spans_dropped" "Spans lost, by cause." by "cause" {
        /// Spans lost because the queue held its maximum of spans.
        dropped_queue_full = "queue_full",
        /// Spans lost because the queue held its maximum of bytes.
        dropped_queue_bytes = "queue_bytes",
        /// Spans lost because they could not be written.
        dropped_export_failed = "export_failed",
        /// Spans lost because the destination refused them, a part of a request or all of it.
        dropped_rejected = "rejected",
        /// Spans lost because the destination could not be reached for too long.
        dropped_expired = "expired",
        /// Spans lost because the exporter stopped first.
        dropped_shutdown = "shutdown",
    }
    Gauge "export_queue_spans" "Spans that wait or are on their way now." {
        /// Gauge: spans that wait or are on their way.
        queued_spans,
    }
    Gauge "export_queue_bytes" "Memory of these spans." {
        /// Gauge: bytes of these.
        queued_bytes,
    }
    Gauge "export_queue_spans_limit" "Most spans that may wait or be on their way; 0: no such limit." {
        /// Gauge: most spans that may wait or be on their way; 0 if only bytes are bounded.
        max_spans,
    }
    Gauge "export_queue_bytes_limit" "Most memory of these." {
        /// Gauge: most bytes of these.
        max_bytes,
    }
    Counter "export_requests" "Requests sent, repeated ones included." {
        /// Requests sent to the destination, repeated ones included.
        attempts,
    }
    Counter "export_request_failures" "Requests that failed: to be sent again, in halves, or given up." by "outcome" {
        /// Requests that failed and are sent again.
        retries = "retried",
        /// Requests that the destination found too large: two with half of the spans follow.
        halved = "halved",
        /// Requests given up.
        failures = "given_up",
    }
}

/// Live counters of one exporter, shared with the tasks that update them.
#[derive(Debug, Default)]
pub struct ExportStats {
    counters: Counters,
    request_durations: Histogram<FIRST_BUCKET, BUCKETS>,
}

impl ExportStats {
    pub(crate) fn add_submitted(&self, spans: usize) {
        self.counters.submitted.add(spans);
    }

    pub(crate) fn add_exported(&self, spans: usize) {
        self.counters.exported.add(spans);
    }

    pub(crate) fn add_dropped(&self, cause: DropCause, spans: usize) {
        self.dropped(cause).add(spans);
    }

    pub(crate) fn add_attempt(&self) {
        self.counters.attempts.one();
    }

    pub(crate) fn add_retry(&self) {
        self.counters.retries.one();
    }

    pub(crate) fn add_halved(&self) {
        self.counters.halved.one();
    }

    pub(crate) fn add_failure(&self) {
        self.counters.failures.one();
    }

    pub(crate) fn add_duration(&self, took: Duration) {
        self.request_durations.observe(took);
    }

    /// Reads all counters; the gauges are 0. Concurrent updates may be seen in
    /// part.
    pub fn snapshot(&self) -> ExportSnapshot {
        ExportSnapshot { request_durations: self.request_durations.snapshot(), ..self.counters.snapshot() }
    }

    fn dropped(&self, cause: DropCause) -> &Counter {
        let counters = &self.counters;
        match cause {
            DropCause::QueueFull => &counters.dropped_queue_full,
            DropCause::QueueBytes => &counters.dropped_queue_bytes,
            DropCause::ExportFailed => &counters.dropped_export_failed,
            DropCause::Rejected => &counters.dropped_rejected,
            DropCause::Expired => &counters.dropped_expired,
            DropCause::Shutdown => &counters.dropped_shutdown,
        }
    }

    /// Counts all spans that are neither exported nor dropped as lost to the
    /// shutdown. To be called once, after the exporter's tasks ended.
    pub(crate) fn drop_pending(&self) {
        let pending = self.snapshot().pending();
        self.dropped(DropCause::Shutdown).add(pending as usize);
    }
}

impl ExportSnapshot {
    pub(crate) fn with_queue(mut self, held: Weight, limit: Weight) -> Self {
        (self.queued_spans, self.queued_bytes) = (held.spans as u64, held.bytes as u64);
        (self.max_spans, self.max_bytes) = (limit.spans as u64, limit.bytes as u64);
        self
    }

    /// Spans lost, whatever the cause.
    pub fn dropped(&self) -> u64 {
        DropCause::ALL.into_iter().map(|cause| self.dropped_by(cause)).sum()
    }

    /// Spans lost by one cause.
    pub fn dropped_by(&self, cause: DropCause) -> u64 {
        match cause {
            DropCause::QueueFull => self.dropped_queue_full,
            DropCause::QueueBytes => self.dropped_queue_bytes,
            DropCause::ExportFailed => self.dropped_export_failed,
            DropCause::Rejected => self.dropped_rejected,
            DropCause::Expired => self.dropped_expired,
            DropCause::Shutdown => self.dropped_shutdown,
        }
    }

    /// Spans queued or on their way.
    pub fn pending(&self) -> u64 {
        self.submitted.saturating_sub(self.exported).saturating_sub(self.dropped())
    }
}

/// Spans that could not be taken, by cause: counted under a lock, and told without it.
#[derive(Debug, Default)]
pub(crate) struct Drops([usize; DropCause::ALL.len()]);

impl Drops {
    pub(crate) fn add(&mut self, cause: DropCause) {
        self.0[cause as usize] += 1;
    }

    /// The causes that there were, and how many spans each cost.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DropCause, usize)> {
        DropCause::ALL.into_iter().zip(self.0).filter(|(_, spans)| *spans > 0)
    }
}

/// Counts lost spans, and logs each cause at a limited rate.
#[derive(Debug)]
pub(crate) struct DropLog {
    text: &'static str,
    limits: [LogLimit; DropCause::ALL.len()],
}

impl DropLog {
    /// `text`: what the log says.
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, limits: Default::default() }
    }

    pub(crate) fn dropped(&self, stats: &ExportStats, cause: DropCause, spans: usize) {
        if spans == 0 {
            return;
        }
        stats.add_dropped(cause, spans);
        if let Some(spans) = self.limits[cause as usize].occurred(spans as u64) {
            tracing::warn!(spans, cause = cause.as_str(), "{}", self.text);
        }
    }

    pub(crate) fn all(&self, stats: &ExportStats, drops: &Drops) {
        drops.iter().for_each(|(cause, spans)| self.dropped(stats, cause, spans));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_spans_are_those_without_an_outcome() {
        let stats = ExportStats::default();
        stats.add_submitted(20);
        stats.add_exported(3);
        for (spans, cause) in DropCause::ALL.into_iter().enumerate() {
            stats.add_dropped(cause, spans);
        }
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.dropped(), 15);
        assert_eq!(snapshot.pending(), 2);
        for (spans, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(snapshot.dropped_by(cause), spans as u64);
        }
        stats.drop_pending();
        assert_eq!(stats.snapshot().dropped_shutdown, 7);
        assert_eq!(stats.snapshot().pending(), 0);
    }
}
