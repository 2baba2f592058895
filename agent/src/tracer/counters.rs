//! What the tracer counts.

use crate::metric::metrics;

impl TracerStats {
    /// Spans that ended, whatever ended them.
    pub fn spans_ended(&self) -> u64 {
        self.spans_finished
            + self.spans_ended_idle
            + self.spans_ended_limit
            + self.spans_ended_evicted
            + self.spans_ended_shutdown
            + self.spans_ended_line
    }
}

metrics! {
    /// The tracer's counters since its start, and its gauges.
    snapshot TracerStats, counters Counters;
    Counter "messages" "Messages of the tracing language, rejected ones included." {
        /// Messages of the tracing language, those rejected included.
        messages,
    }
    Counter "messages_lean" "Messages without an id, answered with the ids of a request's spans." {
        /// Messages `otel:request` without an id: answered with the ids of a request's spans.
        messages_lean,
    }
    Counter "messages_foreign" "Messages with other names, left alone." {
        /// Messages with other names: left alone.
        messages_foreign,
    }
    Counter "messages_rejected" "Messages rejected because of their id, or because their NOTIFY is beyond its bounds." by "cause" {
        /// Messages rejected: no `id=`.
        rejected_no_id = "no_id",
        /// Messages rejected: the id is NULL, as without `unique-id-format`.
        rejected_null_id = "null_id",
        /// Messages rejected: the id is empty.
        rejected_empty_id = "empty_id",
        /// Messages rejected: the id is longer than 256 bytes.
        rejected_long_id = "long_id",
        /// Messages rejected: their NOTIFY has too many, or opens and ends too many spans.
        rejected_too_many = "too_many",
    }
    Counter "arguments_ignored" "Arguments of messages, or values of them, that were ignored." by "cause" {
        /// Arguments with an unknown name.
        args_unknown = "unknown",
        /// Arguments where they have no meaning: unnamed or known ones before `id=`, a second `id=`, a `service=` that
        /// does not follow `id=`, what needs a current span without one, a reference on a span that is open already.
        args_misplaced = "misplaced",
        /// Values beyond those that the argument takes.
        args_surplus = "surplus",
        /// Arguments with a value that they cannot take: NULL or empty names, unknown kinds and statuses, times that are
        /// not positive integers.
        args_invalid = "invalid",
        /// `start=` and `end=` of times too far from the receipt of their message.
        times_far = "far_time",
    }
    Counter "references_unknown" "Arguments child-of, follows-from of spans not open." {
        /// References (`child-of=`, `follows-from=`) to a span that is not open: replaced by the root.
        references_unknown,
    }
    Counter "finishes_unknown" "Arguments finish of spans not open." {
        /// `finish=` of a name that is not open.
        finishes_unknown,
    }
    Counter "extracts_ignored" "Arguments extract and their kin, or values of them, that were ignored." by "cause" {
        /// `extract=` and its kin after the trace id was bound.
        extracts_late = "late",
        /// Values of `extract=` and its kin that are present but not valid.
        extracts_invalid = "invalid",
        /// `extract=` and its kin of formats that are not in `OTEL_PROPAGATORS`: ignored.
        extracts_off = "off",
    }
    Counter "header_lines_incomplete" "Lines of tracestate and baggage beyond those that the message takes, or cut in spoe.cfg." by "cause" {
        /// Lines of list headers beyond those that the message takes.
        lines_missed = "missed",
        /// Lines of list headers that HAProxy cut: the member at the cut is left out.
        lines_cut = "cut",
    }
    Counter "tracestate_members_dropped" "Members of a tracestate too long to go on." {
        /// Members of a tracestate that was too long to be passed on whole.
        tracestate_dropped,
    }
    Counter "baggage_entries_dropped" "Baggage entries malformed or beyond the bounds." {
        /// Baggage entries that were malformed or beyond the bounds.
        baggage_dropped,
    }
    Counter "ack_variables_dropped" "Variables that did not fit into their ACK." {
        /// Variables that did not fit into the ACK.
        variables_dropped,
    }
    Counter "spans_started" "Spans opened." {
        /// Spans opened.
        spans_started,
    }
    Counter "spans_refused" "Spans not opened: their id has too many, or their NOTIFY opens and ends too many." by "cause" {
        /// Spans not opened: the id has too many.
        spans_refused = "id",
        /// Spans not opened: the NOTIFY opens and ends too many.
        spans_refused_notify = "notify",
    }
    Gauge "spans_open" "Spans open now." {
        /// Open spans.
        open_spans,
    }
    Counter "spans_ended" "Spans ended, by what ended them." by "cause" {
        /// Spans ended by `finish=`.
        spans_finished = "finish",
        /// Spans ended because their id was idle.
        spans_ended_idle = "idle",
        /// Spans ended because their id reached the absolute limit.
        spans_ended_limit = "limit",
        /// Spans ended because the table was full.
        spans_ended_evicted = "evicted",
        /// Spans ended because the agent stopped.
        spans_ended_shutdown = "shutdown",
        /// Spans ended by the log line of their request, or made of it.
        spans_ended_line = "line",
    }
    Counter "spans_sampled" "Ended spans of sampled traces: each exporter got them." {
        /// Ended spans that were given to the exporters.
        spans_exported,
    }
    Counter "spans_unsampled" "Ended spans of traces not sampled: no exporter got them." {
        /// Ended spans that were not exported because their trace is not sampled.
        spans_unsampled,
    }
    Counter "spans_reserved_unopened" "Spans injected but never opened." {
        /// Span ids that were injected, but whose span never opened.
        reserved_never_opened,
    }
    Counter "span_attributes_dropped" "Attributes beyond the limits." {
        /// Attributes beyond the limits, of spans, events and links.
        attributes_dropped,
    }
    Counter "span_attribute_values_cut" "Attribute values cut at their limit." {
        /// Attribute values that were cut because they were too long.
        values_cut,
    }
    Counter "span_events_dropped" "Span events beyond the limit." {
        /// Span events beyond the limit.
        events_dropped,
    }
    Counter "span_links_dropped" "Span links beyond the limit." {
        /// Span links beyond the limit.
        links_dropped,
    }
    Counter "span_times_adjusted" "Span times moved, so that they are in order." {
        /// Span times moved: an end before the start, or a start of no explicit time before that of the parent.
        times_adjusted,
    }
    Gauge "ids_open" "Ids with something open or awaited now." {
        /// Ids with something open or awaited.
        open_ids,
    }
    Gauge "ids_remembered" "Ended ids remembered now for late messages." {
        /// Ended ids that are remembered for late messages.
        remembered_ids,
    }
    Gauge "ids_bytes" "Memory of all ids now, of --max-memory." {
        /// Bytes that all ids hold, as counted for the memory bound.
        table_bytes,
    }
    Gauge "ids_bytes_limit" "What --max-memory allows them." {
        /// Most bytes that all ids may hold.
        max_table_bytes,
    }
    Counter "ids_evicted" "Open ids pushed out by --max-memory." {
        /// Ids pushed out by the memory bound while they had something open or awaited.
        ids_evicted,
    }
    Counter "ids_reused" "Ended ids under which another request began." {
        /// Ended ids under which another request began.
        ids_reused,
    }
    Counter "ids_shared" "Extracts of another trace under an open id: requests share it." {
        /// Messages with an extract argument that named another trace than the one that their id extracted and still has
        /// open: requests at the same time share the id.
        ids_shared,
    }
    Counter "ids_forgotten_early" "Ended ids forgotten before their time." {
        /// Ended ids forgotten before their time, by the bound on their number or by the memory bound.
        ids_forgotten_early,
    }
    Counter "traces" "Ids decided about." by "decision" {
        /// Ids whose trace was sampled.
        traces_sampled = "sampled",
        /// Ids whose trace was not sampled.
        traces_unsampled = "unsampled",
    }
}
