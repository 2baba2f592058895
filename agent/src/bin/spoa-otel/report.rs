//! The last lines of the log: what was served, and what became of every span.

use spoa_otel::export::{DropCause, ExportSnapshot};
use spoa_otel::line::LineStats;
use spoa_otel::line::listener::ListenerSnapshot;
use spoa_otel::red::RedSnapshot;
use spoa_otel::tracer::TracerStats;
use spop_agent::StatsSnapshot;
use tracing::{Level, enabled, error, info, warn};

/// The connections.
pub fn served(stats: &StatsSnapshot) {
    info!(
        connections = stats.connections,
        refused = stats.connections_refused,
        out_of_files = stats.connections_out_of_files,
        notifies = stats.notifies,
        acks = stats.acks,
        unanswered = stats.unanswered,
        late = stats.late,
        too_big = stats.too_big,
        protocol_errors = stats.protocol_errors,
        write_timeouts = stats.write_timeouts,
        buffers_full = stats.buffers_full,
        "connections ended"
    );
}

/// The lines of HAProxy's log, and what came that is none.
pub fn lines_received(stats: &ListenerSnapshot) {
    info!(
        udp = stats.udp_lines,
        unix = stats.unix_lines,
        tcp = stats.tcp_lines,
        lost = stats.lost,
        refused = stats.refused,
        cut = stats.cut,
        too_long = stats.too_long,
        incomplete = stats.incomplete,
        failed = stats.failed,
        connections = stats.connections,
        connections_refused = stats.refused_limit + stats.refused_peer + stats.refused_sender + stats.refused_files,
        bad_framing = stats.bad_framing,
        idle = stats.timeouts,
        io_errors = stats.io_errors,
        "log lines received"
    );
}

/// What the lines were, and what became of their requests.
pub fn lines_read(stats: &LineStats) {
    info!(
        ours = stats.ours,
        foreign = stats.foreign,
        cut = stats.cut,
        malformed = stats.malformed,
        missing = stats.missing,
        traced = stats.traced,
        kept_error = stats.kept_error,
        kept_slow = stats.kept_slow,
        unsampled = stats.unsampled,
        completed = stats.completed,
        ended_before = stats.ended_before,
        untraced = stats.untraced,
        no_request = stats.no_request,
        spans = stats.spans,
        "log lines read"
    );
}

/// What was refused because it was beyond a limit.
pub fn refused(tracer: &TracerStats) {
    let (id, notify, messages) = (tracer.spans_refused, tracer.spans_refused_notify, tracer.rejected_too_many);
    if id + notify + messages > 0 {
        warn!(id, notify, messages, "spans and messages refused: too many of an id (id) or in a NOTIFY");
    }
}

/// What of the headers and times in messages could not be used as it came, and ids that requests shared.
pub fn not_whole(tracer: &TracerStats) {
    let TracerStats { lines_missed, lines_cut, tracestate_dropped, times_far, ids_shared, .. } = *tracer;
    if lines_missed + lines_cut + tracestate_dropped + times_far + ids_shared > 0 {
        warn!(
            lines_missed,
            lines_cut, tracestate_dropped, times_far, ids_shared, "messages were not taken as they came"
        );
    }
}

/// What of the metrics of requests has no series of its own, and what the collector did not take.
pub fn metrics(stats: &RedSnapshot) {
    let RedSnapshot { series, overflowed, exported, failed, rejected, .. } = *stats;
    if overflowed > 0 {
        warn!(series, overflowed, "requests are counted beyond --metrics-max-series");
    }
    if failed + rejected > 0 {
        warn!(exported, failed, rejected, "not all metrics were exported: requests and, of these, series rejected");
    }
}

/// The lines of the log itself that nobody read in time.
pub fn log_lines_lost(lines: u64) {
    if lines > 0 {
        warn!(lines, "log lines were lost in all");
    }
}

/// The spans of one exporter: of the sampled ones, started = ended = exported + dropped.
pub fn accounts(tracer: &TracerStats, exporter: &str, export: &ExportSnapshot) {
    let started = tracer.spans_started - tracer.spans_unsampled;
    let ended = tracer.spans_ended() - tracer.spans_unsampled;
    // What --otlp-listen received is shown on the console and at /traces beside these.
    let received = export.submitted.saturating_sub(ended);
    let by = |cause| export.dropped_by(cause);
    // What is kept in memory goes nowhere: of interest to who looks for a fault.
    if exporter != "memory" || enabled!(Level::DEBUG) {
        info!(
            exporter,
            started,
            ended,
            received,
            exported = export.exported,
            dropped = export.dropped(),
            queue_full = by(DropCause::QueueFull),
            queue_bytes = by(DropCause::QueueBytes),
            export_failed = by(DropCause::ExportFailed),
            rejected = by(DropCause::Rejected),
            expired = by(DropCause::Expired),
            shutdown = by(DropCause::Shutdown),
            unsampled = tracer.spans_unsampled,
            "spans accounted for"
        );
    }
    if started != ended || started + received != export.exported + export.dropped() {
        error!(exporter, "the figures of the spans do not match: please report this");
    } else if export.dropped() > 0 {
        warn!(exporter, spans = export.dropped(), "some spans were not exported");
    }
}
