//! Context propagation: what `extract=` reads and `inject=` writes.

mod baggage;
mod w3c;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(super) use baggage::Baggage;

/// What `OTEL_PROPAGATORS` may list.
pub const SUPPORTED_PROPAGATORS: &str = "tracecontext, baggage, none";

/// The formats that are extracted and injected, by `OTEL_PROPAGATORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    /// `traceparent` and `tracestate` of the W3C.
    pub trace_context: bool,
    /// `baggage` of the W3C.
    pub baggage: bool,
}

/// A propagator that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OTEL_PROPAGATORS: unknown propagator {0:?}; supported are {SUPPORTED_PROPAGATORS}")]
pub struct PropagatorError(String);

impl Default for Propagators {
    /// `tracecontext,baggage`.
    fn default() -> Self {
        Propagators { trace_context: true, baggage: true }
    }
}

impl Propagators {
    /// The propagators of a comma-separated list; none or an empty one is the default.
    ///
    /// # Errors
    /// A name that is not supported.
    pub fn new(list: Option<&str>) -> Result<Self, PropagatorError> {
        let Some(list) = list.filter(|list| !list.trim().is_empty()) else { return Ok(Propagators::default()) };
        let mut propagators = Propagators { trace_context: false, baggage: false };
        for name in list.split(',').map(str::trim) {
            match name {
                "tracecontext" => propagators.trace_context = true,
                "baggage" => propagators.baggage = true,
                "none" | "" => {}
                other => return Err(PropagatorError(other.to_owned())),
            }
        }
        Ok(propagators)
    }
}

/// The caller's span, as extracted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RemoteParent {
    /// The caller's span; its trace state is the parsed form of `tracestate`.
    pub(super) context: SpanContext,
    /// `tracestate` as it came, to be passed on.
    pub(super) tracestate: Option<Box<str>>,
}

/// What came of the values of `extract=`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Extracted {
    pub(super) parent: Option<RemoteParent>,
    /// The number of values that were present but not valid.
    pub(super) invalid: usize,
}

/// Reads `traceparent` and `tracestate`; without a valid traceparent there is no parent.
pub(super) fn extract(traceparent: Option<&[u8]>, tracestate: Option<&[u8]>) -> Extracted {
    // HAProxy gives an empty string for an empty header.
    let Some(traceparent) = traceparent.filter(|value| !value.is_empty()) else { return Extracted::default() };
    let Some((trace_id, span_id, flags)) = w3c::parse_traceparent(traceparent) else {
        return Extracted { parent: None, invalid: 1 };
    };
    let (tracestate, invalid) = match tracestate.map(w3c::parse_tracestate) {
        None => (None, 0),
        Some(Ok(tracestate)) => (tracestate, 0),
        Some(Err(w3c::InvalidTracestate)) => (None, 1),
    };
    let parsed = tracestate.as_deref().and_then(|text| text.parse::<TraceState>().ok()).unwrap_or_default();
    let context = SpanContext::new(trace_id, span_id, flags, true, parsed);
    Extracted { parent: Some(RemoteParent { context, tracestate: tracestate.map(Into::into) }), invalid }
}

/// The `traceparent` of a span.
pub(super) fn traceparent(trace_id: TraceId, span_id: SpanId, sampled: bool) -> String {
    format!("00-{trace_id}-{span_id}-{:02x}", TraceFlags::default().with_sampled(sampled))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn propagators_by_name() {
        assert_eq!(Propagators::new(None), Ok(Propagators { trace_context: true, baggage: true }));
        assert_eq!(Propagators::new(Some(" ")), Ok(Propagators::default()));
        assert_eq!(Propagators::new(Some("none")), Ok(Propagators { trace_context: false, baggage: false }));
        assert_eq!(Propagators::new(Some("baggage, ")), Ok(Propagators { trace_context: false, baggage: true }));
        let error = Propagators::new(Some("tracecontext,xray")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "OTEL_PROPAGATORS: unknown propagator \"xray\"; supported are tracecontext, baggage, none"
        );
    }

    #[test]
    fn an_absent_or_empty_traceparent_is_not_invalid() {
        assert_eq!(extract(None, Some(b"a=1")), Extracted::default());
        assert_eq!(extract(Some(b""), None), Extracted::default());
        assert_eq!(extract(Some(b"00-x"), Some(b"a=1")), Extracted { parent: None, invalid: 1 });
    }

    #[test]
    fn an_invalid_tracestate_leaves_the_parent() {
        let extracted = extract(Some(PARENT), Some(b"A=1"));
        assert_eq!(extracted.invalid, 1);
        let parent = extracted.parent.unwrap();
        assert_eq!((parent.tracestate, parent.context.is_sampled()), (None, true));
    }

    #[test]
    fn what_is_extracted_can_be_injected() {
        let parent = extract(Some(PARENT), Some(b"a=1, b@c=2")).parent.unwrap();
        assert_eq!(parent.tracestate.as_deref(), Some("a=1, b@c=2"));
        assert_eq!(parent.context.trace_state().header(), "a=1,b@c=2");
        let context = &parent.context;
        assert_eq!(traceparent(context.trace_id(), context.span_id(), context.is_sampled()).as_bytes(), PARENT);
        assert!(traceparent(context.trace_id(), context.span_id(), false).ends_with("-00"));
    }
}
