//! Context propagation: what `extract=` and its kin read and `inject=` writes.

mod b3;
mod baggage;
mod context;
mod formats;
mod jaeger;
mod w3c;

use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use spop_core::Value;

use crate::hex;
use crate::request_context::RANDOM;

pub(super) use baggage::Baggage;
pub(super) use context::{CallersDecision, SpanRef};
use context::{Context, Invalid};
pub use formats::{Format, PropagatorError, Propagators, SUPPORTED_PROPAGATORS};

/// The values of an `extract=` argument, or of one of its kin: as many as its format has headers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Headers<'a> {
    pub(super) format: Format,
    pub(super) values: [Option<&'a [u8]>; 4],
    /// A header that may come once came in several lines.
    pub(super) several: bool,
}

/// The caller's span, as extracted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RemoteParent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// As far as we know them.
    pub(super) flags: TraceFlags,
    /// `tracestate` as it came, to be passed on. One for all spans of the trace.
    pub(super) tracestate: Option<Arc<str>>,
}

impl RemoteParent {
    /// Is the trace id known to be random?
    pub(super) fn is_random(&self) -> bool {
        self.flags & RANDOM == RANDOM
    }
}

/// What came of the extract arguments of a message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Extracted {
    pub(super) parent: Option<RemoteParent>,
    /// Of the caller, which may have said nothing else.
    pub(super) decision: CallersDecision,
    /// The number of values that were present but not valid.
    pub(super) invalid: usize,
    /// Members of the tracestate that are not passed on.
    pub(super) dropped: usize,
}

/// Tries the formats in their order: the first that gives a caller's span wins. Without one, the first that gives a
/// decision. `tracestate`: lines of that header beside the one in the arguments.
pub(super) fn extract(formats: &[Format], arguments: &[Headers<'_>], tracestate: &[&[u8]]) -> Extracted {
    let mut extracted = Extracted::default();
    let in_order = formats.iter().flat_map(|format| arguments.iter().filter(move |headers| headers.format == *format));
    for headers in in_order {
        // HAProxy gives an empty string for an empty header.
        let values = headers.values.map(|value| value.filter(|value| !value.is_empty()));
        let [first, second, ..] = values;
        let context = match headers.format {
            // Nobody knows which line is the right one.
            _ if headers.several => Err(Invalid),
            Format::TraceContext => first.map(traceparent_context).transpose(),
            Format::B3 => first.map(b3::parse_single).transpose(),
            Format::B3Multi => b3::parse_multi(values),
            Format::Jaeger => first.map(jaeger::parse).transpose(),
        };
        match context {
            Ok(None) => {}
            Err(Invalid) => extracted.invalid += 1,
            Ok(Some(Context { parent: None, decision, .. })) => {
                if extracted.decision == CallersDecision::Deferred {
                    extracted.decision = decision;
                }
            }
            Ok(Some(Context { parent: Some((trace_id, span_id)), decision, random })) => {
                let lines = second.into_iter().chain(tracestate.iter().copied());
                let tracestate = match headers.format {
                    Format::TraceContext => w3c::parse_tracestate(&w3c::combine(lines)),
                    _ => Ok(w3c::Tracestate::default()),
                };
                let tracestate = tracestate.unwrap_or_else(|w3c::InvalidTracestate| {
                    extracted.invalid += 1;
                    w3c::Tracestate::default()
                });
                extracted.dropped = tracestate.dropped;
                let flags = flags(decision, random);
                let tracestate = tracestate.text.map(Into::into);
                extracted.parent = Some(RemoteParent { trace_id, span_id, flags, tracestate });
                extracted.decision = decision;
                return extracted;
            }
        }
    }
    extracted
}

/// Is it a `tracestate` that may be passed on as it is?
pub(super) fn is_tracestate(text: &str) -> bool {
    w3c::parse_tracestate(text.as_bytes()).is_ok_and(|tracestate| tracestate.dropped == 0)
}

fn traceparent_context(header: &[u8]) -> Result<Context, Invalid> {
    let (trace_id, span_id, flags) = w3c::parse_traceparent(header).ok_or(Invalid)?;
    let decision = if flags.is_sampled() { CallersDecision::Accept } else { CallersDecision::Deny };
    Ok(Context { parent: Some((trace_id, span_id)), decision, random: flags & RANDOM == RANDOM })
}

/// The flags of a `traceparent`.
fn flags(decision: CallersDecision, random: bool) -> TraceFlags {
    let random = if random { RANDOM } else { TraceFlags::default() };
    random.with_sampled(decision.sampled() == Some(true))
}

impl SpanRef {
    /// Says all variables of these formats.
    pub(super) fn inject(&self, formats: &[Format], tracestate: Option<&str>, mut set: impl FnMut(&str, Value<'_>)) {
        for format in formats {
            match format {
                Format::TraceContext => {
                    set("traceparent", Value::String(&self.traceparent()));
                    if let Some(tracestate) = tracestate {
                        set("tracestate", tracestate.into());
                    }
                }
                Format::B3 => set("b3", b3::single(self).as_str().into()),
                Format::B3Multi => {
                    set("x_b3_traceid", Value::String(hex::of(self.trace_id.to_bytes()).as_flattened()));
                    set("x_b3_spanid", Value::String(hex::of(self.span_id.to_bytes()).as_flattened()));
                    if let Some((name, value)) = b3::multi_state(self.decision) {
                        set(name, value.into());
                    }
                }
                Format::Jaeger => set("uber_trace_id", jaeger::header(self).as_str().into()),
            }
        }
    }

    fn traceparent(&self) -> hex::Header {
        let mut out = hex::Header::from_slice(b"00-");
        hex::push(&mut out, self.trace_id.to_bytes());
        out.push(b'-');
        hex::push(&mut out, self.span_id.to_bytes());
        out.push(b'-');
        hex::push(&mut out, [flags(self.decision, self.random).to_u8()]);
        out
    }
}

#[cfg(test)]
mod tests;
