//! What travels from one process to the next.

use opentelemetry::trace::{SpanId, TraceId};

/// What the caller decided about sampling; also what is told to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tracer) enum CallersDecision {
    /// Nothing: it is left to us.
    #[default]
    Deferred,
    Deny,
    Accept,
    /// Accepted, and the backends are to keep it at all costs.
    Debug,
}

impl CallersDecision {
    /// `None` if it is left to us.
    pub(in crate::tracer) fn sampled(self) -> Option<bool> {
        match self {
            CallersDecision::Deferred => None,
            CallersDecision::Deny => Some(false),
            CallersDecision::Accept | CallersDecision::Debug => Some(true),
        }
    }

    /// What we tell the server once it is decided: a debug request stays one.
    pub(in crate::tracer) fn passed_on(self, sampled: bool) -> Self {
        match (sampled, self) {
            (false, _) => CallersDecision::Deny,
            (true, CallersDecision::Debug) => CallersDecision::Debug,
            (true, _) => CallersDecision::Accept,
        }
    }
}

/// What is present but cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// What a header said, or several: the caller's span, a decision, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Context {
    pub(super) parent: Option<(TraceId, SpanId)>,
    pub(super) decision: CallersDecision,
    /// The trace id is known to be random: only `traceparent` can say so.
    pub(super) random: bool,
}

/// The span that the server is to take for its parent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::tracer) struct SpanRef {
    pub(in crate::tracer) trace_id: TraceId,
    pub(in crate::tracer) span_id: SpanId,
    pub(in crate::tracer) decision: CallersDecision,
    /// The trace id is known to be random.
    pub(in crate::tracer) random: bool,
}
