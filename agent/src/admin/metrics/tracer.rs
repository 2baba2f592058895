//! The tracer: messages, ids, spans, sampling.

use std::collections::BTreeMap;
use std::fmt;

use super::families::{Families, Labels};
use crate::tracer::{SamplingStats, TracerStats};

pub(super) fn encode(stats: TracerStats, sampling: Vec<SamplingStats>, families: &mut Families<'_>) -> fmt::Result {
    let TracerStats {
        messages,
        messages_foreign,
        rejected_no_id,
        rejected_null_id,
        rejected_empty_id,
        rejected_long_id,
        rejected_too_many,
        undecodable,
        args_unknown,
        args_misplaced,
        args_surplus,
        args_invalid,
        times_far,
        references_unknown,
        finishes_unknown,
        extracts_late,
        extracts_invalid,
        extracts_off,
        lines_missed,
        lines_cut,
        tracestate_dropped,
        baggage_dropped,
        variables_dropped,
        spans_started,
        spans_refused,
        spans_refused_notify,
        spans_finished,
        spans_ended_idle,
        spans_ended_limit,
        spans_ended_evicted,
        spans_ended_shutdown,
        spans_exported,
        spans_unsampled,
        traces_sampled,
        traces_unsampled,
        attributes_dropped,
        values_cut,
        events_dropped,
        links_dropped,
        times_adjusted,
        reserved_never_opened,
        ids_evicted,
        ids_reused,
        ids_shared,
        ids_forgotten_early,
        open_ids,
        remembered_ids,
        open_spans,
        table_bytes,
    } = stats;
    let f = families;
    f.counter("messages", "Messages of the tracing language, rejected ones included.", messages)?;
    f.counter("messages_foreign", "Messages with other names, left alone.", messages_foreign)?;
    f.counters_by(
        "cause",
        "messages_rejected",
        "Messages rejected because of their id, or because their NOTIFY is beyond its bounds.",
        [
            ("no_id", rejected_no_id),
            ("null_id", rejected_null_id),
            ("empty_id", rejected_empty_id),
            ("long_id", rejected_long_id),
            ("too_many", rejected_too_many),
        ],
    )?;
    f.counter("messages_undecodable", "Messages cut short by an argument that cannot be decoded.", undecodable)?;
    f.counters_by(
        "cause",
        "arguments_ignored",
        "Arguments of messages, or values of them, that were ignored.",
        [
            ("unknown", args_unknown),
            ("misplaced", args_misplaced),
            ("surplus", args_surplus),
            ("invalid", args_invalid),
            ("far_time", times_far),
        ],
    )?;
    f.counter("references_unknown", "Arguments child-of, follows-from of spans not open.", references_unknown)?;
    f.counter("finishes_unknown", "Arguments finish of spans not open.", finishes_unknown)?;
    f.counters_by(
        "cause",
        "extracts_ignored",
        "Arguments extract and their kin, or values of them, that were ignored.",
        [("late", extracts_late), ("invalid", extracts_invalid), ("off", extracts_off)],
    )?;
    f.counters_by(
        "cause",
        "header_lines_incomplete",
        "Lines of tracestate and baggage beyond those that the message takes, or cut in spoe.cfg.",
        [("missed", lines_missed), ("cut", lines_cut)],
    )?;
    f.counter("tracestate_members_dropped", "Members of a tracestate too long to go on.", tracestate_dropped)?;
    f.counter("baggage_entries_dropped", "Baggage entries malformed or beyond the bounds.", baggage_dropped)?;
    f.counter("ack_variables_dropped", "Variables that did not fit into their ACK.", variables_dropped)?;

    f.counter("spans_started", "Spans opened.", spans_started)?;
    f.counters_by(
        "cause",
        "spans_refused",
        "Spans not opened: their id has too many, or their NOTIFY opens and ends too many.",
        [("id", spans_refused), ("notify", spans_refused_notify)],
    )?;
    f.gauge("spans_open", "Spans open now.", open_spans)?;
    f.counters_by(
        "cause",
        "spans_ended",
        "Spans ended, by what ended them.",
        [
            ("finish", spans_finished),
            ("idle", spans_ended_idle),
            ("limit", spans_ended_limit),
            ("evicted", spans_ended_evicted),
            ("shutdown", spans_ended_shutdown),
        ],
    )?;
    f.counter("spans_sampled", "Ended spans of sampled traces: each exporter got them.", spans_exported)?;
    f.counter("spans_unsampled", "Ended spans of traces not sampled: no exporter got them.", spans_unsampled)?;
    f.counter("spans_reserved_unopened", "Spans injected but never opened.", reserved_never_opened)?;
    f.counter("span_attributes_dropped", "Attributes beyond the limits.", attributes_dropped)?;
    f.counter("span_attribute_values_cut", "Attribute values cut at their limit.", values_cut)?;
    f.counter("span_events_dropped", "Span events beyond the limit.", events_dropped)?;
    f.counter("span_links_dropped", "Span links beyond the limit.", links_dropped)?;
    f.counter("span_times_adjusted", "Span times moved, so that they are in order.", times_adjusted)?;

    f.gauge("ids_open", "Ids with something open or awaited now.", open_ids)?;
    f.gauge("ids_remembered", "Ended ids remembered now for late messages.", remembered_ids)?;
    f.gauge("ids_bytes", "Memory of all ids now, of --max-memory.", table_bytes)?;
    f.counter("ids_evicted", "Open ids pushed out by --max-memory.", ids_evicted)?;
    f.counter("ids_reused", "Ended ids under which another request began.", ids_reused)?;
    f.counter("ids_shared", "Extracts of another trace under an open id: requests share it.", ids_shared)?;
    f.counter("ids_forgotten_early", "Ended ids forgotten before their time.", ids_forgotten_early)?;

    f.counters_by(
        "decision",
        "traces",
        "Ids decided about.",
        [("sampled", traces_sampled), ("unsampled", traces_unsampled)],
    )?;
    let mut decisions = BTreeMap::<String, (u64, u64)>::new();
    for SamplingStats { decided_by, sampled, unsampled } in sampling {
        // A rule can be written twice, a row cannot.
        let (all_sampled, all_unsampled) = decisions.entry(decided_by).or_default();
        *all_sampled += sampled;
        *all_unsampled += unsampled;
    }
    let rows = decisions.iter().flat_map(|(by, &(sampled, unsampled))| {
        let labels = |decision| -> Labels<'_, 2> { [("decided_by", by), ("decision", decision)] };
        [(labels("sampled"), sampled), (labels("unsampled"), unsampled)]
    });
    f.counters("sampling_decisions", "Sampling decisions by who decided: caller, sampler, disabled, or a rule.", rows)
}
