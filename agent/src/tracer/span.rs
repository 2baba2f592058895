//! A span while it is open, and the bytes that it ends as.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::SpanFlags;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use spop_core::Value;

use super::attributes::Attributes;
use super::counters::Counters;
use super::limits::SpanLimits;
use super::request_end::SideEnd;
use crate::export::text::nanos;
use crate::heap::{block, block_of};
use crate::named::HasName;
use crate::request_context::RANDOM;
use crate::semconv::{ERROR_TYPE, FOLLOWS_FROM, HAPROXY_SPAN_END, OPENTRACING_REF_TYPE};
use crate::span::proto::{
    FIXED32_LEN, FIXED64_LEN, NUMBER_LEN, any_value, event, field_len, key_value, link, put_bytes, put_fixed32,
    put_fixed64, put_len, put_number, put_text, span, text_len,
};
use crate::span::write::{Head, put_end};
use crate::span::{FinishedSpan, Origin};

/// Those of an event.
pub(super) type EventAttributes = Attributes<{ event::ATTRIBUTES }>;

/// What a span lasts at least.
const SHORTEST: Duration = Duration::from_micros(1);

/// `traceparent`'s flag of a sampled trace.
const SAMPLED: u32 = 1;

/// Why a span ended without `finish=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    Idle,
    Limit,
    Evicted,
    Shutdown,
}

impl EndCause {
    const fn text(self) -> &'static str {
        match self {
            EndCause::Idle => "idle",
            EndCause::Limit => "limit",
            EndCause::Evicted => "evicted",
            EndCause::Shutdown => "shutdown",
        }
    }

    pub(super) fn count(self, counters: &Counters, spans: usize) {
        match self {
            EndCause::Idle => &counters.spans_ended_idle,
            EndCause::Limit => &counters.spans_ended_limit,
            EndCause::Evicted => &counters.spans_ended_evicted,
            EndCause::Shutdown => &counters.spans_ended_shutdown,
        }
        .add(spans);
    }
}

/// How a message refers to another span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    ChildOf,
    FollowsFrom,
}

impl Reference {
    const fn text(self) -> &'static str {
        match self {
            Reference::ChildOf => "child_of",
            Reference::FollowsFrom => FOLLOWS_FROM,
        }
    }
}

/// What `status=` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusSpec {
    Unset,
    Ok,
    Error,
    /// An HTTP status code; what it means depends on the kind of the span.
    Http(u16),
}

impl StatusSpec {
    /// The code in OTLP.
    fn resolve(self, kind: Kind) -> StatusCode {
        match self {
            StatusSpec::Unset => StatusCode::Unset,
            StatusSpec::Ok => StatusCode::Ok,
            StatusSpec::Error => StatusCode::Error,
            StatusSpec::Http(code) => {
                let first_error = if kind == Kind::Client { 400 } else { 500 };
                if code >= first_error { StatusCode::Error } else { StatusCode::Unset }
            }
        }
    }
}

/// An open span. It has no trace id: that binds late.
#[derive(Debug)]
pub(super) struct OpenSpan {
    pub(super) name: String,
    /// Counts the spans of its id in the order in which they opened.
    pub(super) number: u32,
    pub(super) span_id: SpanId,
    /// Its parent under the same id; without one it is a child of the caller's span, or the root.
    pub(super) parent: Option<SpanId>,
    /// Start of that parent, when this span opened: no span starts before its parent.
    pub(super) not_before: Option<SystemTime>,
    pub(super) start: SystemTime,
    /// `end=`
    pub(super) end: Option<SystemTime>,
    pub(super) kind: Kind,
    status: StatusSpec,
    pub(super) attributes: Attributes<{ span::ATTRIBUTES }>,
    /// What few spans have.
    extras: Option<Box<Extras>>,
}

/// What an error says, events, links.
#[derive(Debug, Default)]
struct Extras {
    description: Box<str>,
    /// As they are sent: whole fields of the span.
    events: Vec<u8>,
    events_count: u32,
    events_dropped: u32,
    links: Vec<(SpanId, Reference)>,
    links_dropped: u32,
}

impl HasName for OpenSpan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Extras {
    /// Takes out all, and keeps what it took.
    fn clear(&mut self) {
        self.description = Box::default();
        self.events.clear();
        self.links.clear();
        (self.events_count, self.events_dropped, self.links_dropped) = (0, 0, 0);
    }

    /// Memory that it holds, itself included.
    fn held(&self) -> usize {
        block_of::<Self>(1)
            + block(self.description.len())
            + block(self.events.capacity())
            + block_of::<(SpanId, Reference)>(self.links.capacity())
    }
}

impl OpenSpan {
    pub(super) fn new(name: &str, number: u32, span_id: SpanId, start: SystemTime) -> Self {
        OpenSpan {
            name: name.to_owned(),
            number,
            span_id,
            parent: None,
            not_before: None,
            start,
            end: None,
            kind: Kind::Internal,
            status: StatusSpec::Unset,
            attributes: Attributes::default(),
            extras: None,
        }
    }

    /// Makes it another span, in the memory that it has.
    pub(super) fn renew(&mut self, name: &str, number: u32, span_id: SpanId, start: SystemTime) {
        self.name.clear();
        self.name.push_str(name);
        (self.number, self.span_id, self.start) = (number, span_id, start);
        (self.parent, self.not_before, self.end) = (None, None, None);
        (self.kind, self.status) = (Kind::Internal, StatusSpec::Unset);
        self.attributes.clear();
        if let Some(extras) = &mut self.extras {
            extras.clear();
        }
    }

    /// Memory that it holds in a box.
    pub(super) fn held(&self) -> usize {
        block_of::<Self>(1)
            + block(self.name.capacity())
            + self.attributes.held()
            + self.extras.as_ref().map_or(0, |extras| extras.held())
    }

    /// What it says is the description of an error.
    pub(super) fn set_status(&mut self, status: StatusSpec, description: &str) {
        self.status = status;
        if !description.is_empty() {
            self.extras.get_or_insert_default().description = description.into();
        } else if let Some(extras) = &mut self.extras {
            extras.description = Box::default();
        }
    }

    pub(super) fn add_event(
        &mut self,
        name: &str,
        at: SystemTime,
        attributes: &EventAttributes,
        limits: &SpanLimits,
        counters: &Counters,
    ) {
        let extras = self.extras.get_or_insert_default();
        if extras.events_count >= limits.max_events_per_span {
            extras.events_dropped = extras.events_dropped.saturating_add(1);
            counters.events_dropped.one();
            return;
        }
        extras.events_count += 1;
        let time = nanos(at);
        let time_len = if time == 0 { 0 } else { FIXED64_LEN };
        let attributes_len = attributes.encoded_len(event::DROPPED_ATTRIBUTES);
        let out = &mut extras.events;
        put_len(out, span::EVENTS, time_len + text_len(event::NAME, name) + attributes_len);
        put_fixed64(out, event::TIME, time);
        put_text(out, event::NAME, name);
        attributes.write(out, event::DROPPED_ATTRIBUTES);
    }

    pub(super) fn add_link(&mut self, to: SpanId, reference: Reference, limits: &SpanLimits, counters: &Counters) {
        let extras = self.extras.get_or_insert_default();
        if extras.links.len() >= limits.max_links_per_span as usize {
            extras.links_dropped = extras.links_dropped.saturating_add(1);
            counters.links_dropped.one();
            return;
        }
        if limits.max_attributes_per_link == 0 {
            counters.attributes_dropped.one();
        }
        extras.links.push((to, reference));
    }

    /// Makes it a span that ended at this instant, unless `end=` said otherwise. It lasts a microsecond at least: there are
    /// backends that take a span without a length for a broken one.
    pub(super) fn end_at(&mut self, at: SystemTime, counters: &Counters) {
        let end = self.end.unwrap_or(at);
        if end < self.start {
            counters.times_adjusted.one();
        }
        let earliest = self.start.checked_add(SHORTEST).unwrap_or(self.start);
        self.end = Some(end.max(earliest));
    }

    /// Takes what a log line says about the end of its side.
    pub(super) fn end_as(&mut self, side: &SideEnd<'_>, limits: &SpanLimits, counters: &Counters) {
        let error = side.error.map(|error| (ERROR_TYPE, Value::from(error)));
        // What a message said about an error stays.
        if error.is_some() && self.status.resolve(self.kind) != StatusCode::Error {
            self.set_status(StatusSpec::Error, "");
        }
        for (name, value) in side.attributes.iter().copied().chain(error) {
            let max = limits.max_attributes_per_span;
            self.attributes.set(name.as_bytes(), std::iter::once(value), max, limits, counters);
        }
    }

    /// Says why it ended; beyond all limits, since nothing else tells it from a complete span.
    pub(super) fn set_end_cause(&mut self, cause: EndCause) {
        self.attributes.put(HAPROXY_SPAN_END, cause.text());
    }

    /// The bytes of a span that ended and whose trace is bound. `out` is empty, and may be used again.
    pub(super) fn finished(&self, trace: &ExportContext, limits: &SpanLimits, out: &mut Vec<u8>) -> FinishedSpan {
        let tracestate = trace.tracestate.as_deref().unwrap_or_default();
        let flags = SAMPLED | if trace.random { RANDOM.to_u8().into() } else { 0 };
        out.clear();
        let head = Head {
            trace_id: trace.trace_id,
            span_id: self.span_id,
            tracestate,
            parent: self.parent.or(trace.remote_parent),
            name: &self.name,
            kind: self.kind,
            start: nanos(self.start),
            end: nanos(self.end.unwrap_or(self.start)),
        };
        head.write(out);
        self.attributes.write(out, span::DROPPED_ATTRIBUTES);
        if let Some(extras) = &self.extras {
            out.extend_from_slice(&extras.events);
            put_number(out, span::DROPPED_EVENTS, extras.events_dropped.into());
            for (to, reference) in &extras.links {
                let local = flags | SpanFlags::ContextHasIsRemoteMask as u32;
                let link = Link { to: *to, reference: *reference, trace_id: trace.trace_id, tracestate, flags: local };
                link.write(out, limits);
            }
            put_number(out, span::DROPPED_LINKS, extras.links_dropped.into());
        }
        let code = self.status.resolve(self.kind);
        // Of an error only.
        let description = self.extras.as_ref().filter(|_| code == StatusCode::Error);
        let description = description.map_or("", |extras| &extras.description);
        put_end(out, code, description, flags, self.parent.is_none() && trace.remote_parent.is_some());
        FinishedSpan::new(trace.origin.clone(), trace.trace_id, out)
    }
}

/// A link as it is sent.
struct Link<'a> {
    to: SpanId,
    reference: Reference,
    trace_id: TraceId,
    tracestate: &'a str,
    flags: u32,
}

impl Link<'_> {
    fn write(&self, out: &mut Vec<u8>, limits: &SpanLimits) {
        let reference = self.reference.text();
        let any_value = field_len(any_value::STRING, reference.len());
        let key_value = field_len(key_value::KEY, OPENTRACING_REF_TYPE.len()) + field_len(key_value::VALUE, any_value);
        // The only attribute.
        let dropped = limits.max_attributes_per_link == 0;
        let attribute = if dropped { NUMBER_LEN } else { field_len(link::ATTRIBUTES, key_value) };
        let ids = field_len(link::TRACE_ID, 16) + field_len(link::SPAN_ID, 8);
        put_len(out, span::LINKS, ids + text_len(link::TRACE_STATE, self.tracestate) + attribute + FIXED32_LEN);
        put_bytes(out, link::TRACE_ID, &self.trace_id.to_bytes());
        put_bytes(out, link::SPAN_ID, &self.to.to_bytes());
        put_text(out, link::TRACE_STATE, self.tracestate);
        if dropped {
            put_number(out, link::DROPPED_ATTRIBUTES, 1);
        } else {
            put_len(out, link::ATTRIBUTES, key_value);
            put_text(out, key_value::KEY, OPENTRACING_REF_TYPE);
            put_len(out, key_value::VALUE, any_value);
            put_text(out, any_value::STRING, reference);
        }
        put_fixed32(out, link::FLAGS, self.flags);
    }
}

/// What all spans of a trace have in common.
pub(super) struct ExportContext {
    pub(super) origin: Arc<Origin>,
    pub(super) trace_id: TraceId,
    pub(super) remote_parent: Option<SpanId>,
    pub(super) tracestate: Option<Arc<str>>,
    /// The trace id is known to be random.
    pub(super) random: bool,
}
