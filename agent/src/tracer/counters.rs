//! What the tracer counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The tracer's counters since its start, and its gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct TracerStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Gauge: ids with something open or awaited.
            pub open_ids: u64,
            /// Gauge: ended ids that are remembered for late messages.
            pub remembered_ids: u64,
            /// Gauge: open spans.
            pub open_spans: u64,
            /// Gauge: bytes that all ids hold, as counted for the memory bound.
            pub table_bytes: u64,
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            /// The counters; the gauges are 0.
            pub(super) fn snapshot(&self) -> TracerStats {
                TracerStats { $($name: self.$name.get(),)* ..TracerStats::default() }
            }
        }
    };
}

impl TracerStats {
    /// Spans that ended, whatever ended them.
    pub fn spans_ended(&self) -> u64 {
        self.spans_finished
            + self.spans_ended_idle
            + self.spans_ended_limit
            + self.spans_ended_evicted
            + self.spans_ended_shutdown
    }
}

counters! {
    /// Messages of the tracing language, those rejected included.
    messages,
    /// Messages with other names: left alone.
    messages_foreign,
    /// Messages rejected: no `id=`.
    rejected_no_id,
    /// Messages rejected: the id is NULL, as without `unique-id-format`.
    rejected_null_id,
    /// Messages rejected: the id is empty.
    rejected_empty_id,
    /// Messages rejected: the id is longer than 256 bytes.
    rejected_long_id,
    /// Messages rejected: their NOTIFY has too many, or opens and ends too many spans.
    rejected_too_many,
    /// Messages cut short by an argument that cannot be decoded. The runtime refuses such a NOTIFY before.
    undecodable,
    /// Arguments with an unknown name.
    args_unknown,
    /// Arguments where they have no meaning: unnamed or known ones before `id=`, a second `id=`, a `service=` that
    /// does not follow `id=`, what needs a current span without one, a reference on a span that is open already.
    args_misplaced,
    /// Values beyond those that the argument takes.
    args_surplus,
    /// Arguments with a value that they cannot take: NULL or empty names, unknown kinds and statuses, times that are
    /// not positive integers.
    args_invalid,
    /// `start=` and `end=` of times too far from the receipt of their message.
    times_far,
    /// References (`child-of=`, `follows-from=`) to a span that is not open: replaced by the root.
    references_unknown,
    /// `finish=` of a name that is not open.
    finishes_unknown,
    /// `extract=` and its kin after the trace id was bound.
    extracts_late,
    /// Values of `extract=` and its kin that are present but not valid.
    extracts_invalid,
    /// `extract=` and its kin of formats that are not in `OTEL_PROPAGATORS`: ignored.
    extracts_off,
    /// Lines of list headers beyond those that the message takes.
    lines_missed,
    /// Lines of list headers that HAProxy cut: the member at the cut is left out.
    lines_cut,
    /// Members of a tracestate that was too long to be passed on whole.
    tracestate_dropped,
    /// Baggage entries that were malformed or beyond the bounds.
    baggage_dropped,
    /// Variables that did not fit into the ACK.
    variables_dropped,
    /// Spans opened.
    spans_started,
    /// Spans not opened: the id has too many.
    spans_refused,
    /// Spans not opened: the NOTIFY opens and ends too many.
    spans_refused_notify,
    /// Spans ended by `finish=`.
    spans_finished,
    /// Spans ended because their id was idle.
    spans_ended_idle,
    /// Spans ended because their id reached the absolute limit.
    spans_ended_limit,
    /// Spans ended because the table was full.
    spans_ended_evicted,
    /// Spans ended because the agent stopped.
    spans_ended_shutdown,
    /// Ended spans that were given to the exporters.
    spans_exported,
    /// Ended spans that were not exported because their trace is not sampled.
    spans_unsampled,
    /// Ids whose trace was sampled.
    traces_sampled,
    /// Ids whose trace was not sampled.
    traces_unsampled,
    /// Attributes beyond the limits, of spans, events and links.
    attributes_dropped,
    /// Attribute values that were cut because they were too long.
    values_cut,
    /// Span events beyond the limit.
    events_dropped,
    /// Span links beyond the limit.
    links_dropped,
    /// Span times moved: an end before the start, or a start of no explicit time before that of the parent.
    times_adjusted,
    /// Span ids that were injected, but whose span never opened.
    reserved_never_opened,
    /// Ids pushed out by the memory bound while they had something open or awaited.
    ids_evicted,
    /// Ended ids under which another request began.
    ids_reused,
    /// Messages with an extract argument that named another trace than the one that their id extracted and still has
    /// open: requests at the same time share the id.
    ids_shared,
    /// Ended ids forgotten before their time, by the bound on their number or by the memory bound.
    ids_forgotten_early,
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: usize) {
        if n > 0 {
            self.0.fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
