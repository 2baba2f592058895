//! The variables of an ACK.

use spop_core::{AckEncoder, Scope, Value};

use super::env::Env;
use super::instance::Injection;
use super::propagation::SpanRef;
use crate::hex;

/// Writes what is propagated. What does not fit is left out and counted.
pub(super) fn write(injection: &Injection, env: &Env, ack: &mut AckEncoder<'_>) {
    let Injection { explicit, span, sampled, .. } = *injection;
    let scope = if explicit { Scope::Transaction } else { Scope::Request };
    let mut no_room = 0;
    let mut set = |name: &str, value: Value<'_>| {
        no_room += usize::from(ack.set_var(scope, name.as_bytes(), value).is_err());
    };
    if let Some(span) = &span {
        span.inject(env.config.propagators.formats(), injection.tracestate.as_deref(), &mut set);
    }
    if explicit {
        set("sampled", sampled.into());
        if let Some(context) = injection.context {
            set("ctx", Value::String(&context.text()));
        } else if let Some(SpanRef { trace_id, span_id, .. }) = span {
            set("trace_id", Value::String(hex::of(trace_id.to_bytes()).as_flattened()));
            set("span_id", Value::String(hex::of(span_id.to_bytes()).as_flattened()));
        }
        if let Some(baggage) = &injection.baggage {
            set("baggage", baggage.as_str().into());
        }
    }
    env.counters.variables_dropped.add(no_room);
    if no_room > 0
        && let Some(left_out) = env.logs.no_room.pass()
    {
        tracing::warn!(no_room, left_out, "variables did not fit into the ACK; tune.bufsize is their bound");
    }
}
