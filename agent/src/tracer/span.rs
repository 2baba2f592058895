//! A span while it is open, and what is exported of it.

use std::borrow::Cow;
use std::mem::size_of;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::counters::Counters;
use super::limits::SpanLimits;
use super::propagation::RANDOM;
use super::value;

/// What a span lasts at least.
const SHORTEST: Duration = Duration::from_micros(1);

/// Attribute of spans that no `finish=` ended.
const END_CAUSE: Key = Key::from_static_str("haproxy.span.end");
/// Attribute of links, as OpenTelemetry's OpenTracing shim sets it.
const REF_TYPE: Key = Key::from_static_str("opentracing.ref_type");

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
            Reference::FollowsFrom => "follows_from",
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
        if error {
            Status::error(description)
        } else {
            Status::Unset
        }
    }

    fn size(&self) -> usize {
        match self {
            StatusSpec::Error(description) | StatusSpec::Http(_, description) => description.len(),
            StatusSpec::Unset | StatusSpec::Ok => 0,
        }
    }
}

/// An open span. It has no trace id: that binds late.
#[derive(Clone, Debug)]
pub(super) struct OpenSpan {
    pub(super) name: String,
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
    size: usize,
}

impl OpenSpan {
    pub(super) fn new(name: &str, span_id: SpanId, start: SystemTime) -> Self {
        OpenSpan {
            name: name.to_owned(),
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
            size: size_of::<Self>() + name.len(),
        }
    }

    /// Memory that it occupies, as an estimate.
    pub(super) fn size(&self) -> usize {
        self.size + self.attributes.size + self.status.size()
    }

    pub(super) fn add_event(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        at: SystemTime,
        attributes: Attributes,
        limits: &SpanLimits,
        counters: &Counters,
    ) {
        if self.events.len() >= limits.max_events_per_span as usize {
            self.events_dropped = self.events_dropped.saturating_add(1);
            counters.events_dropped.one();
            return;
        }
        let event = Event::new(name, at, attributes.list, attributes.dropped);
        self.size += size_of::<Event>() + event.name.len() + attributes.size;
        self.events.push(event);
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
        self.size += size_of::<(SpanId, Reference)>();
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
        self.attributes.list.retain(|attribute| attribute.key != END_CAUSE);
        self.attributes.list.push(KeyValue::new(END_CAUSE, cause.text()));
    }

    /// What is exported of a span that ended and whose trace is bound.
    pub(super) fn into_data(self, trace: &ExportContext<'_>) -> SpanData {
        let flags = if trace.random { TraceFlags::SAMPLED | RANDOM } else { TraceFlags::SAMPLED };
        let context = |span_id| SpanContext::new(trace.trace_id, span_id, flags, false, trace.trace_state.clone());
        let mut events = SpanEvents::default();
        events.events = self.events;
        events.dropped_count = self.events_dropped;
        let mut links = SpanLinks::default();
        let link = |(to, reference): (SpanId, Reference)| match trace.limits.max_attributes_per_link {
            0 => Link::new(context(to), Vec::new(), 1),
            _ => Link::new(context(to), vec![KeyValue::new(REF_TYPE, reference.text())], 0),
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
            attributes: self.attributes.list,
            dropped_attributes_count: self.attributes.dropped,
            events,
            links,
            instrumentation_scope: trace.scope.clone(),
        }
    }
}

/// What all spans of a trace have in common.
pub(super) struct ExportContext<'a> {
    pub(super) trace_id: TraceId,
    pub(super) remote_parent: Option<SpanId>,
    pub(super) trace_state: &'a TraceState,
    /// The trace id is known to be random.
    pub(super) random: bool,
    pub(super) scope: &'a InstrumentationScope,
    pub(super) limits: &'a SpanLimits,
}

/// A bounded list of attributes with unique names.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    list: Vec<KeyValue>,
    dropped: u32,
    size: usize,
}

impl Attributes {
    pub(super) fn as_slice(&self) -> &[KeyValue] {
        &self.list
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
        let size = value::size(&attribute);
        if let Some(same) = self.list.iter_mut().find(|same| same.key.as_str() == name) {
            self.size = (self.size + size).saturating_sub(value::size(&same.value));
            same.value = attribute;
        } else if self.list.len() >= max as usize {
            self.dropped = self.dropped.saturating_add(1);
            counters.attributes_dropped.one();
        } else {
            self.size += size_of::<KeyValue>() + name.len() + size;
            self.list.push(KeyValue::new(name.to_owned(), attribute));
        }
    }
}
