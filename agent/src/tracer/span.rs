//! A span while it is open, and what is exported of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::counters::Counters;
use super::limits::SpanLimits;
use super::propagation::RANDOM;
use super::value;
use crate::heap::{block, block_of};
use crate::named::{HasName, Named};
use crate::semconv::{FOLLOWS_FROM, HAPROXY_SPAN_END, OPENTRACING_REF_TYPE};
use crate::span::FinishedSpan;

/// What a span lasts at least.
const SHORTEST: Duration = Duration::from_micros(1);

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatusSpec {
    Unset,
    Ok,
    Error(String),
    /// An HTTP status code; what it means depends on the kind of the span.
    Http(u16, String),
}

impl StatusSpec {
    fn resolve(self, kind: &SpanKind) -> Status {
        let (description, error) = match self {
            StatusSpec::Unset => return Status::Unset,
            StatusSpec::Ok => return Status::Ok,
            StatusSpec::Error(description) => (description, true),
            StatusSpec::Http(code, description) => {
                (description, code >= if *kind == SpanKind::Client { 400 } else { 500 })
            }
        };
        if error { Status::error(description) } else { Status::Unset }
    }

    fn held(&self) -> usize {
        match self {
            StatusSpec::Error(description) | StatusSpec::Http(_, description) => block(description.capacity()),
            StatusSpec::Unset | StatusSpec::Ok => 0,
        }
    }
}

/// An open span. It has no trace id: that binds late.
#[derive(Clone, Debug)]
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
    pub(super) kind: SpanKind,
    pub(super) status: StatusSpec,
    pub(super) attributes: Attributes,
    events: Vec<Event>,
    events_dropped: u32,
    links: Vec<(SpanId, Reference)>,
    links_dropped: u32,
    /// Memory behind the events.
    in_events: usize,
}

impl HasName for OpenSpan {
    fn name(&self) -> &str {
        &self.name
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
            kind: SpanKind::Internal,
            status: StatusSpec::Unset,
            attributes: Attributes::default(),
            events: Vec::new(),
            events_dropped: 0,
            links: Vec::new(),
            links_dropped: 0,
            in_events: 0,
        }
    }

    /// Memory that it holds in a box.
    pub(super) fn held(&self) -> usize {
        block_of::<Self>(1)
            + block(self.name.capacity())
            + self.attributes.held()
            + self.status.held()
            + block_of::<Event>(self.events.capacity())
            + self.in_events
            + block_of::<(SpanId, Reference)>(self.links.capacity())
    }

    pub(super) fn add_event(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        at: SystemTime,
        mut attributes: Attributes,
        limits: &SpanLimits,
        counters: &Counters,
    ) {
        if self.events.len() >= limits.max_events_per_span as usize {
            self.events_dropped = self.events_dropped.saturating_add(1);
            counters.events_dropped.one();
            return;
        }
        let list = attributes.list.take();
        let name = name.into();
        if let Cow::Owned(name) = &name {
            self.in_events += block(name.capacity());
        }
        self.in_events += block_of::<KeyValue>(list.capacity()) + attributes.in_texts;
        self.events.push(Event::new(name, at, list, attributes.dropped));
    }

    pub(super) fn add_link(&mut self, to: SpanId, reference: Reference, limits: &SpanLimits, counters: &Counters) {
        if self.links.len() >= limits.max_links_per_span as usize {
            self.links_dropped = self.links_dropped.saturating_add(1);
            counters.links_dropped.one();
            return;
        }
        if limits.max_attributes_per_link == 0 {
            counters.attributes_dropped.one();
        }
        self.links.push((to, reference));
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

    /// Says why it ended; beyond all limits, since nothing else tells it from a complete span.
    pub(super) fn set_end_cause(&mut self, cause: EndCause) {
        self.attributes.put(Key::from_static_str(HAPROXY_SPAN_END), cause.text().into());
    }

    /// What is exported of a span that ended and whose trace is bound.
    fn into_data(mut self, trace: &ExportContext, scope: &InstrumentationScope, limits: &SpanLimits) -> SpanData {
        let flags = if trace.random { TraceFlags::SAMPLED | RANDOM } else { TraceFlags::SAMPLED };
        let context = |span_id| SpanContext::new(trace.trace_id, span_id, flags, false, TraceState::NONE);
        let mut events = SpanEvents::default();
        events.events = self.events;
        events.dropped_count = self.events_dropped;
        let mut links = SpanLinks::default();
        let link = |(to, reference): (SpanId, Reference)| match limits.max_attributes_per_link {
            0 => Link::new(context(to), Vec::new(), 1),
            _ => Link::new(context(to), vec![KeyValue::new(OPENTRACING_REF_TYPE, reference.text())], 0),
        };
        links.links = self.links.into_iter().map(link).collect();
        links.dropped_count = self.links_dropped;
        SpanData {
            span_context: context(self.span_id),
            parent_span_id: self.parent.or(trace.remote_parent).unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent.is_none() && trace.remote_parent.is_some(),
            status: self.status.resolve(&self.kind),
            span_kind: self.kind,
            name: self.name.into(),
            start_time: self.start,
            end_time: self.end.unwrap_or(self.start),
            attributes: self.attributes.list.take(),
            dropped_attributes_count: self.attributes.dropped,
            events,
            links,
            instrumentation_scope: scope.clone(),
        }
    }
}

/// What all spans of a trace have in common.
pub(super) struct ExportContext {
    pub(super) service: Arc<str>,
    pub(super) trace_id: TraceId,
    pub(super) remote_parent: Option<SpanId>,
    pub(super) tracestate: Option<Arc<str>>,
    /// The trace id is known to be random.
    pub(super) random: bool,
}

/// Spans of a trace that ended, to be exported.
pub(super) struct Ended {
    pub(super) context: ExportContext,
    #[allow(clippy::vec_box)] // They come in boxes.
    pub(super) spans: Vec<Box<OpenSpan>>,
}

impl Ended {
    /// One at a time: exported they are larger.
    pub(super) fn into_spans<'a>(
        self,
        scope: &'a InstrumentationScope,
        limits: &'a SpanLimits,
    ) -> impl Iterator<Item = FinishedSpan> + 'a {
        let Ended { context, spans } = self;
        spans.into_iter().map(move |span| FinishedSpan {
            service: context.service.clone(),
            tracestate: context.tracestate.clone(),
            data: span.into_data(&context, scope, limits),
        })
    }
}

/// A bounded list of attributes with unique names.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    list: Named<KeyValue>,
    dropped: u32,
    /// Memory behind keys and values.
    in_texts: usize,
}

impl HasName for KeyValue {
    fn name(&self) -> &str {
        self.key.as_str()
    }
}

impl Attributes {
    pub(super) fn as_slice(&self) -> &[KeyValue] {
        &self.list
    }

    fn held(&self) -> usize {
        self.list.held() + self.in_texts
    }

    /// Sets an attribute of a span, instead of one of the same name.
    pub(super) fn set_of_span(&mut self, name: &str, attribute: Value, limits: &SpanLimits, counters: &Counters) {
        self.set(name, attribute, limits.max_attributes_per_span, limits, counters);
    }

    /// Sets an attribute of an event, instead of one of the same name.
    pub(super) fn set_of_event(&mut self, name: &str, attribute: Value, limits: &SpanLimits, counters: &Counters) {
        self.set(name, attribute, limits.max_attributes_per_event, limits, counters);
    }

    fn set(&mut self, name: &str, mut attribute: Value, max: u32, limits: &SpanLimits, counters: &Counters) {
        if limits.cut(&mut attribute) {
            counters.values_cut.one();
        }
        if let Some(place) = self.list.find(name) {
            self.replace(place, attribute);
        } else if self.list.len() >= max as usize {
            self.dropped = self.dropped.saturating_add(1);
            counters.attributes_dropped.one();
        } else {
            self.push(name.to_owned().into(), attribute);
        }
    }

    /// Sets an attribute, limits or not.
    fn put(&mut self, key: Key, attribute: Value) {
        match self.list.find(key.as_str()) {
            Some(place) => self.replace(place, attribute),
            None => self.push(key, attribute),
        }
    }

    fn replace(&mut self, place: usize, attribute: Value) {
        if let Some(same) = self.list.get_mut(place) {
            self.in_texts = (self.in_texts + value::held(&attribute)).saturating_sub(value::held(&same.value));
            same.value = attribute;
        }
    }

    fn push(&mut self, key: Key, attribute: Value) {
        self.in_texts += block(key.as_str().len()) + value::held(&attribute);
        self.list.push(KeyValue::new(key, attribute));
    }
}
