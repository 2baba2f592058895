//! What lines of HAProxy's log ask of the tracer: to end what messages opened, and to take spans that are whole.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::Guard;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

use super::Tracer;
use super::env::Env;
use super::language::key_hash;
use super::limits::SpanLimits;
use super::propagation::{self, CallersDecision};
use super::request_end::{Known, RequestEnd};
use super::sampling::Request;
use super::table::Outbox;
use crate::span::{FinishedSpan, Origin};
use spop_agent::time::Timestamp;

/// The tracer as it is while a line is taken, whatever becomes of its configuration.
pub(crate) struct LineTracer<'t> {
    tracer: &'t Tracer,
    env: Guard<Arc<Env>>,
}

impl Tracer {
    /// For one line.
    pub(crate) fn for_line(&self) -> LineTracer<'_> {
        LineTracer { tracer: self, env: self.env.load() }
    }
}

impl LineTracer<'_> {
    /// Nothing is exported.
    pub(crate) fn is_disabled(&self) -> bool {
        self.env.config.disabled
    }

    pub(crate) fn span_limits(&self) -> &SpanLimits {
        &self.env.config.span_limits
    }

    /// The origin of spans of this service; of the default one if it has no name.
    pub(crate) fn origin(&self, service: &str) -> Arc<Origin> {
        match self.named(service) {
            None => self.env.default_origin.clone(),
            Some(service) => self.env.origins.of(service),
        }
    }

    /// The name of a service; the default one instead of none.
    pub(crate) fn service<'s>(&'s self, service: &'s str) -> &'s str {
        self.named(service).unwrap_or(&self.env.config.default_service)
    }

    /// `None` for the default one.
    fn named<'s>(&self, service: &'s str) -> Option<&'s str> {
        Some(service).filter(|service| !service.is_empty() && **service != *self.env.config.default_service)
    }

    /// A tracestate that HAProxy passed on; nothing if it is none, which is counted.
    pub(crate) fn tracestate<'s>(&self, text: &'s str) -> &'s str {
        if text.is_empty() || propagation::is_tracestate(text) {
            return text;
        }
        self.env.counters.extracts_invalid.one();
        ""
    }

    pub(crate) fn new_span_id(&self) -> SpanId {
        self.env.ids.new_span_id()
    }

    /// A trace of which no caller is known, and whether it is sampled.
    pub(crate) fn new_trace(&self, service: &str, now: Instant) -> (TraceId, bool) {
        let service = self.service(service);
        let trace_id = self.env.ids.new_trace_id();
        let request = Request { service, trace_id, caller: CallersDecision::Deferred, provisional: None };
        (trace_id, self.env.decided(&request, None, now))
    }

    /// Takes spans that a line made.
    pub(crate) fn take_finished(&self, spans: &[FinishedSpan], attributes_dropped: usize, values_cut: usize) {
        let counters = &self.env.counters;
        counters.spans_started.add(spans.len());
        counters.spans_ended_line.add(spans.len());
        counters.spans_exported.add(spans.len());
        counters.attributes_dropped.add(attributes_dropped);
        counters.values_cut.add(values_cut);
        self.tracer.sink.submit(spans);
    }

    /// Ends the spans that are open under this id.
    pub(crate) fn end_request(&self, service: &str, id: &[u8], end: &RequestEnd<'_>, now: Timestamp) -> Known {
        let service = self.named(service);
        let hash = key_hash(&self.tracer.table.hasher, service, id);
        let mut out = Outbox::default();
        let env = &self.env;
        let known = self.tracer.table.shard(hash).and_then(|mut shard| {
            let service = service.unwrap_or(&env.config.default_service);
            shard.with_known(hash, id, service, now, env, &mut out, |instance, pool, out| {
                instance.end_request(end, now, env, pool, &mut out.spans)
            })
        });
        self.tracer.pass_on(out, env);
        known.unwrap_or(Known::Nothing)
    }
}
