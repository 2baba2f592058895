//! Lean mode: a message without an id asks for the ids of a request's spans, which HAProxy keeps until its log line.
//! Nothing of it stays here.

use std::borrow::Cow;

use opentelemetry_sdk::trace::IdGenerator;
use spop_core::AckEncoder;

use super::answer::write;
use super::env::Env;
use super::extracts::Extracts;
use super::instance::Injection;
use super::language::{Keyword, Lean, MAX_KEY_LEN};
use super::propagation::{Baggage, RemoteParent, SpanRef};
use super::sampling::Request;
use super::value;
use crate::request_context::{RANDOM, RequestContext};
use spop_agent::time::Timestamp;

/// Answers a message without an id.
pub(super) fn answer(message: Lean<'_>, received: Timestamp, env: &Env, ack: &mut AckEncoder<'_>) {
    let counters = &env.counters;
    let (mut extracts, mut baggage) = (Extracts::default(), Baggage::default());
    let (mut service, mut path) = (None, None);
    let mut items = message.0;
    counters.args_misplaced.add(items.more().count());
    while let Some(item) = items.next() {
        let text = |value| value::text(value).filter(|text| !text.is_empty());
        match item.keyword() {
            Some(Keyword::Service) => {
                service = text(&item.value).filter(|name| name.len() <= MAX_KEY_LEN);
                counters.args_invalid.add(usize::from(service.is_none()));
                counters.args_surplus.add(item.more.count());
            }
            Some(Keyword::Path) => {
                path = text(&item.value);
                counters.args_surplus.add(item.more.count());
            }
            // What a rule may ask for some day, and what the line tells anyway.
            Some(Keyword::Method) => counters.args_surplus.add(item.more.count()),
            Some(Keyword::Baggage) => {
                let set = text(&item.value)
                    .zip(value::concatenation(item.more))
                    .is_some_and(|(name, value)| baggage.set(&name, &value));
                counters.baggage_dropped.add(usize::from(!set));
            }
            Some(
                keyword @ (Keyword::Extract
                | Keyword::ExtractB3
                | Keyword::ExtractB3Multi
                | Keyword::ExtractJaeger
                | Keyword::ExtractTracestate
                | Keyword::ExtractBaggage),
            ) => {
                if let Some(extract) = Extracts::accept(keyword, item, env) {
                    extracts.add(extract, &mut baggage, env);
                }
            }
            Some(_) => counters.args_misplaced.one(),
            None => counters.args_unknown.one(),
        }
    }
    let extracted = extracts.take(env).unwrap_or_default();
    let (parent, caller) = (extracted.parent, extracted.decision);
    let trace_id = parent.as_ref().map_or_else(|| env.ids.new_trace_id(), |parent| parent.trace_id);
    let service: Option<Cow<'_, str>> = service;
    let service = service.as_deref().unwrap_or(&env.config.default_service);
    let request = Request { service, trace_id, caller, provisional: None };
    let sampled = env.decided(&request, path.as_deref(), received.clock);
    let random = parent.as_ref().is_none_or(RemoteParent::is_random);
    let callers = parent.as_ref().map(|parent| parent.span_id);
    let (span, context) = if env.config.disabled {
        (callers.map(|span_id| SpanRef { trace_id, span_id, decision: caller, random }), None)
    } else {
        let [server, client] = [(); 2].map(|()| env.ids.new_span_id());
        let flags = if random { RANDOM } else { Default::default() }.with_sampled(sampled);
        let context = RequestContext { trace_id, server, client, parent: callers, flags };
        let span = SpanRef { trace_id, span_id: client, decision: caller.passed_on(sampled), random };
        (Some(span), Some(context))
    };
    let injection = Injection {
        explicit: true,
        span,
        context,
        sampled,
        tracestate: parent.and_then(|parent| parent.tracestate),
        baggage: if env.config.propagators.baggage() { baggage.header() } else { None },
    };
    write(&injection, env, ack);
}
