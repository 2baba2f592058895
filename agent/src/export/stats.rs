//! Counters of the export path. Every span that enters an exporter is counted
//! once more when it leaves it: as exported or under the cause of its loss.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Why an exporter lost a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// The queue held its maximum of spans.
    QueueFull,
    /// The queue held its maximum of bytes.
    QueueBytes,
    /// The destination refused the span, or all attempts failed.
    ExportFailed,
    /// The exporter was stopped before the span was delivered.
    Shutdown,
}

impl DropCause {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::QueueBytes, Self::ExportFailed, Self::Shutdown];

    /// The cause as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueBytes => "queue_bytes",
            Self::ExportFailed => "export_failed",
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
    failures: AtomicU64,
}

/// [`ExportStats`] at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExportSnapshot {
    /// Spans given to the exporter.
    pub submitted: u64,
    /// Spans delivered: acknowledged by the collector, or printed. Spans of
    /// this process that a collector rejects in a partial success are among
    /// them (the SDK's exporter logs these, but does not tell).
    pub exported: u64,
    /// Spans lost because the queue held its maximum of spans.
    pub dropped_queue_full: u64,
    /// Spans lost because the queue held its maximum of bytes.
    pub dropped_queue_bytes: u64,
    /// Spans lost because the destination refused them or could not be reached.
    pub dropped_export_failed: u64,
    /// Spans lost because the exporter stopped first.
    pub dropped_shutdown: u64,
    /// Requests sent to the destination, retries included.
    pub attempts: u64,
    /// Batches given up after the last attempt.
    pub failures: u64,
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

    pub(crate) fn add_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Reads all counters. Concurrent updates may be seen in part.
    pub fn snapshot(&self) -> ExportSnapshot {
        let dropped = |cause: DropCause| self.dropped[cause as usize].load(Relaxed);
        ExportSnapshot {
            submitted: self.submitted.load(Relaxed),
            exported: self.exported.load(Relaxed),
            dropped_queue_full: dropped(DropCause::QueueFull),
            dropped_queue_bytes: dropped(DropCause::QueueBytes),
            dropped_export_failed: dropped(DropCause::ExportFailed),
            dropped_shutdown: dropped(DropCause::Shutdown),
            attempts: self.attempts.load(Relaxed),
            failures: self.failures.load(Relaxed),
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
    /// Spans lost, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.dropped_queue_full + self.dropped_queue_bytes + self.dropped_export_failed + self.dropped_shutdown
    }

    /// Spans lost by one cause.
    pub fn dropped_by(&self, cause: DropCause) -> u64 {
        match cause {
            DropCause::QueueFull => self.dropped_queue_full,
            DropCause::QueueBytes => self.dropped_queue_bytes,
            DropCause::ExportFailed => self.dropped_export_failed,
            DropCause::Shutdown => self.dropped_shutdown,
        }
    }

    /// Spans queued or on their way.
    pub fn pending(&self) -> u64 {
        self.submitted.saturating_sub(self.exported).saturating_sub(self.dropped())
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
        stats.add_submitted(10);
        stats.add_exported(3);
        for (spans, cause) in DropCause::ALL.into_iter().enumerate() {
            stats.add_dropped(cause, spans);
        }
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.dropped(), 6);
        assert_eq!(snapshot.pending(), 1);
        for (spans, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(snapshot.dropped_by(cause), spans as u64);
        }
        stats.drop_pending();
        assert_eq!(stats.snapshot().dropped_shutdown, 4);
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
