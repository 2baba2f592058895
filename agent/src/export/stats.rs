//! Counters of the export path. Every span that enters an exporter is counted
//! once more when it leaves it: as exported or under the cause of its loss.

use super::weight::Weight;
use spop_agent::histogram::{Durations, Histogram};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

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

/// Live counters of one exporter, shared with the tasks that update them.
#[derive(Debug, Default)]
pub struct ExportStats {
    submitted: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
    attempts: AtomicU64,
    retries: AtomicU64,
    halved: AtomicU64,
    failures: AtomicU64,
    request_durations: Histogram<FIRST_BUCKET, BUCKETS>,
}

/// [`ExportStats`] at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExportSnapshot {
    /// Spans given to the exporter.
    pub submitted: u64,
    /// Spans delivered: acknowledged by the collector, or printed.
    pub exported: u64,
    /// Spans lost because the queue held its maximum of spans.
    pub dropped_queue_full: u64,
    /// Spans lost because the queue held its maximum of bytes.
    pub dropped_queue_bytes: u64,
    /// Spans lost because they could not be written.
    pub dropped_export_failed: u64,
    /// Spans lost because the destination refused them, a part of a request or
    /// all of it.
    pub dropped_rejected: u64,
    /// Spans lost because the destination could not be reached for too long.
    pub dropped_expired: u64,
    /// Spans lost because the exporter stopped first.
    pub dropped_shutdown: u64,
    /// Requests sent to the destination, repeated ones included.
    pub attempts: u64,
    /// Requests that failed and are sent again.
    pub retries: u64,
    /// Requests that the destination found too large: two with half of the spans follow.
    pub halved: u64,
    /// Requests given up.
    pub failures: u64,
    /// How long requests took until their answer, their failure or the end of
    /// their time.
    pub request_durations: RequestDurations,
    /// Gauge: spans that wait or are on their way.
    pub queued_spans: u64,
    /// Gauge: bytes of these.
    pub queued_bytes: u64,
}

impl ExportStats {
    pub(crate) fn add_submitted(&self, spans: usize) {
        self.submitted.fetch_add(spans as u64, Relaxed);
    }

    pub(crate) fn add_exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Relaxed);
    }

    pub(crate) fn add_dropped(&self, cause: DropCause, spans: usize) {
        self.dropped[cause as usize].fetch_add(spans as u64, Relaxed);
    }

    pub(crate) fn add_attempt(&self) {
        self.attempts.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_halved(&self) {
        self.halved.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_duration(&self, took: Duration) {
        self.request_durations.observe(took);
    }

    /// Reads all counters; the gauges are 0. Concurrent updates may be seen in
    /// part.
    pub fn snapshot(&self) -> ExportSnapshot {
        let dropped = |cause: DropCause| self.dropped[cause as usize].load(Relaxed);
        ExportSnapshot {
            submitted: self.submitted.load(Relaxed),
            exported: self.exported.load(Relaxed),
            dropped_queue_full: dropped(DropCause::QueueFull),
            dropped_queue_bytes: dropped(DropCause::QueueBytes),
            dropped_export_failed: dropped(DropCause::ExportFailed),
            dropped_rejected: dropped(DropCause::Rejected),
            dropped_expired: dropped(DropCause::Expired),
            dropped_shutdown: dropped(DropCause::Shutdown),
            attempts: self.attempts.load(Relaxed),
            retries: self.retries.load(Relaxed),
            halved: self.halved.load(Relaxed),
            failures: self.failures.load(Relaxed),
            request_durations: self.request_durations.snapshot(),
            queued_spans: 0,
            queued_bytes: 0,
        }
    }

    /// Counts all spans that are neither exported nor dropped as lost to the
    /// shutdown. To be called once, after the exporter's tasks ended.
    pub(crate) fn drop_pending(&self) {
        let pending = self.snapshot().pending();
        self.dropped[DropCause::Shutdown as usize].fetch_add(pending, Relaxed);
    }
}

impl ExportSnapshot {
    pub(crate) fn with_queue(mut self, held: Weight) -> Self {
        (self.queued_spans, self.queued_bytes) = (held.spans as u64, held.bytes as u64);
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
        if let Some(spans) = self.limits[cause as usize].occurred(spans) {
            tracing::warn!(spans, cause = cause.as_str(), "{}", self.text);
        }
    }
}

/// Lets one log line through per interval and counts what it held back, so
/// that an overload does not flood the log.
#[derive(Debug)]
pub(crate) struct LogLimit {
    origin: Instant,
    interval: Duration,
    /// Milliseconds after `origin` from which the next line may pass.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl LogLimit {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { origin: Instant::now(), interval, next: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Adds `count` occurrences; gives the number to report if a line may be
    /// written now.
    pub(crate) fn occurred(&self, count: usize) -> Option<u64> {
        self.held_back.fetch_add(count as u64, Relaxed);
        let now = self.origin.elapsed().as_millis() as u64;
        let next = self.next.load(Relaxed);
        if now < next {
            return None;
        }
        let after = now + self.interval.as_millis() as u64;
        self.next.compare_exchange(next, after, Relaxed, Relaxed).ok()?;
        Some(self.held_back.swap(0, Relaxed))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
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

    #[test]
    fn log_limit_reports_what_it_held_back() {
        let limit = LogLimit::new(Duration::from_secs(3600));
        assert_eq!(limit.occurred(2), Some(2));
        assert_eq!(limit.occurred(1), None);
        let open = LogLimit::new(Duration::ZERO);
        assert_eq!(open.occurred(1), Some(1));
        assert_eq!(open.occurred(4), Some(4));
    }
}
