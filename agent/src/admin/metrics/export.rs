//! The exporters and the OTLP receiver.

use std::fmt;

use super::families::Families;
use crate::export::console::ConsoleSnapshot;
use crate::export::receiver::ReceiverSnapshot;
use crate::export::recent::RecentSnapshot;
use crate::export::{DropCause, ExportSnapshot};

/// All exporters: each with its name.
pub(super) fn exporters(exporters: &[(&'static str, ExportSnapshot)], families: &mut Families<'_>) -> fmt::Result {
    let (mut taken, mut delivered, mut lost) = (vec![], vec![], vec![]);
    let (mut requests, mut failed, mut took) = (vec![], vec![], vec![]);
    let (mut spans, mut bytes) = (vec![], vec![]);
    for &(name, snapshot) in exporters {
        let ExportSnapshot {
            submitted,
            exported,
            dropped_queue_full,
            dropped_queue_bytes,
            dropped_export_failed,
            dropped_rejected,
            dropped_expired,
            dropped_shutdown,
            attempts,
            retries,
            halved,
            failures,
            request_durations,
            queued_spans,
            queued_bytes,
        } = snapshot;
        let exporter = ("exporter", name);
        taken.push(([exporter], submitted));
        delivered.push(([exporter], exported));
        lost.extend(
            [
                (DropCause::QueueFull, dropped_queue_full),
                (DropCause::QueueBytes, dropped_queue_bytes),
                (DropCause::ExportFailed, dropped_export_failed),
                (DropCause::Rejected, dropped_rejected),
                (DropCause::Expired, dropped_expired),
                (DropCause::Shutdown, dropped_shutdown),
            ]
            .map(|(cause, dropped)| ([exporter, ("cause", cause.as_str())], dropped)),
        );
        requests.push(([exporter], attempts));
        failed.push(([exporter, ("outcome", "retried")], retries));
        failed.push(([exporter, ("outcome", "halved")], halved));
        failed.push(([exporter, ("outcome", "given_up")], failures));
        took.push(([exporter], request_durations));
        spans.push(([exporter], queued_spans));
        bytes.push(([exporter], queued_bytes));
    }
    let f = families;
    f.counters("export_spans_submitted", "Spans given to the exporter.", taken)?;
    f.counters("export_spans_exported", "Spans delivered: taken by the collector, or printed.", delivered)?;
    f.counters("export_spans_dropped", "Spans lost, by cause.", lost)?;
    f.gauges("export_queue_spans", "Spans that wait or are on their way now.", spans)?;
    f.gauges("export_queue_bytes", "Memory of these spans.", bytes)?;
    f.counters("export_requests", "Requests sent, repeated ones included.", requests)?;
    f.counters("export_request_failures", "Requests that failed: to be sent again, in halves, or given up.", failed)?;
    f.histograms("export_request_duration_seconds", "How long requests took.", took)
}

/// What the console counts beside its spans.
pub(super) fn console(stats: ConsoleSnapshot, families: &mut Families<'_>) -> fmt::Result {
    let ConsoleSnapshot { traces, evicted } = stats;
    families.counter("console_traces", "Traces printed, parts of traces included.", traces)?;
    families.counter(
        "console_traces_evicted",
        "Traces printed early: too many were held back, or too large ones.",
        evicted,
    )
}

/// What the memory of recent traces counts beside its spans.
pub(super) fn recent(stats: RecentSnapshot, families: &mut Families<'_>) -> fmt::Result {
    let RecentSnapshot { traces, evicted_traces, evicted_spans } = stats;
    families.gauge("memory_traces", "Recent traces kept for /traces.", traces)?;
    families.counter("memory_traces_evicted", "Traces that made room for newer ones.", evicted_traces)?;
    families.counter("memory_spans_evicted", "Spans of these.", evicted_spans)
}

/// The receiver, without its connections.
pub(super) fn receiver(stats: ReceiverSnapshot, families: &mut Families<'_>) -> fmt::Result {
    let ReceiverSnapshot { requests, spans, rejected_spans, rejected_requests, busy_requests, http: _ } = stats;
    families.counters_by(
        "result",
        "receiver_requests",
        "OTLP requests received, by what was made of them.",
        [("accepted", requests), ("invalid", rejected_requests), ("busy", busy_requests)],
    )?;
    families.counter("receiver_spans", "Spans received.", spans)?;
    families.counter("receiver_spans_rejected", "Spans reported to their sender as rejected.", rejected_spans)
}
