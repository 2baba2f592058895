//! What a span unfolds to: attributes, events, links.

use super::flat::{CameWith, Flat, OriginTable};
use crate::admin::traces::shown::{Shown, Time, Value};
use crate::export::axis::Axis;
use crate::export::duration::duration;
use crate::export::recent::Recent;
use crate::export::text;
use crate::semconv::{FOLLOWS_FROM, OPENTRACING_REF_TYPE};
use askama::Template;
use askama::filters::HtmlSafe;
use opentelemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use otlp::status::StatusCode;
use prost::Message;
use std::collections::HashMap;

/// What all spans of a page have in common.
pub(super) struct Context<'a> {
    pub(super) recent: &'a Recent,
    pub(super) trace_id: TraceId,
    pub(super) axis: &'a Axis,
    pub(super) spans: &'a [Flat<'a>],
    pub(super) origins: &'a OriginTable,
    /// The rows that links can lead to.
    pub(super) targets: HashMap<SpanId, usize>,
    /// Bytes of details that the page still takes.
    pub(super) left: usize,
}

#[derive(Template)]
#[template(path = "traces/detail.html")]
pub(super) struct Detail {
    span_id: String,
    parent: Option<Target>,
    status: &'static str,
    message: Value,
    time: Time,
    trace_state: Shown,
    scope: Shown,
    resource: usize,
    attributes: Attributes,
    events: Vec<Event>,
    dropped_events: u32,
    events_left_out: usize,
    links: Vec<Link>,
    dropped_links: u32,
    links_left_out: usize,
}

impl HtmlSafe for Detail {}

struct Event {
    offset: String,
    name: Shown,
    attributes: Attributes,
}

struct Link {
    verb: &'static str,
    target: Target,
    attributes: Attributes,
}

/// A span that another one refers to.
#[derive(Template)]
#[template(path = "traces/target.html")]
struct Target {
    /// Where it is, if there is something to see.
    href: Option<String>,
    name: Option<Shown>,
    span_id: String,
    /// Of another trace.
    trace_id: Option<String>,
}

impl HtmlSafe for Target {}

/// A table of attributes.
#[derive(Template)]
#[template(path = "traces/attributes.html")]
pub(super) struct Attributes {
    list: Vec<(Shown, Value)>,
    dropped: u32,
    /// What the page had no room for.
    left_out: usize,
}

impl HtmlSafe for Attributes {}

impl Attributes {
    fn is_empty(&self) -> bool {
        self.list.is_empty() && self.dropped == 0 && self.left_out == 0
    }
}

impl Context<'_> {
    /// `None` if the page has no room left for it.
    pub(super) fn detail(&mut self, index: usize) -> Option<Detail> {
        if self.left == 0 {
            return None;
        }
        let spans = self.spans;
        let Flat { span, view, origin } = &spans[index];
        let CameWith { resource, scope } = &self.origins.list[*origin];
        // All that came was decoded before, and dropped again: this is only for a while, too.
        let span = otlp::Span::decode(span.bytes()).unwrap_or_default();
        let (status, message) = match view.status {
            StatusCode::Error => ("error", view.message),
            StatusCode::Ok => ("ok", ""),
            StatusCode::Unset => ("unset", ""),
        };
        self.spend(message);
        let attributes = self.attributes(&span.attributes, span.dropped_attributes_count);
        let events = self.while_room(&span.events, Self::event);
        let links = self.while_room(&span.links, Self::link);
        Some(Detail {
            span_id: view.span_id.to_string(),
            parent: (view.parent != SpanId::INVALID).then(|| self.target(self.trace_id, view.parent)),
            status,
            message: Value::new(message),
            time: Time(view.start),
            trace_state: Shown::new(&span.trace_state, 500),
            scope: Shown::name(scope),
            resource: *resource,
            attributes,
            events_left_out: span.events.len() - events.len(),
            events,
            dropped_events: span.dropped_events_count,
            links_left_out: span.links.len() - links.len(),
            links,
            dropped_links: span.dropped_links_count,
        })
    }

    pub(super) fn attributes<'a>(
        &mut self,
        attributes: impl IntoIterator<Item = &'a KeyValue>,
        dropped: u32,
    ) -> Attributes {
        let (mut list, mut left_out) = (Vec::new(), 0);
        for attribute in attributes {
            if self.left == 0 {
                left_out += 1;
                continue;
            }
            let value = attribute.value.as_ref().map(text::of_value).unwrap_or_default();
            self.spend(&attribute.key);
            self.spend(&value);
            list.push((Shown::new(&attribute.key, 300), Value::new(&value)));
        }
        Attributes { list, dropped, left_out }
    }

    /// As many of the items as the page has room for.
    fn while_room<T, U>(&mut self, items: &[T], mut show: impl FnMut(&mut Self, &T) -> U) -> Vec<U> {
        let mut shown = Vec::new();
        for item in items {
            if self.left == 0 {
                break;
            }
            shown.push(show(self, item));
        }
        shown
    }

    fn event(&mut self, event: &otlp::span::Event) -> Event {
        self.spend(&event.name);
        Event {
            offset: duration(event.time_unix_nano.saturating_sub(self.axis.start)),
            name: Shown::new(&event.name, 300),
            attributes: self.attributes(&event.attributes, event.dropped_attributes_count),
        }
    }

    fn link(&mut self, link: &otlp::span::Link) -> Link {
        let follows = text::attribute(&link.attributes, OPENTRACING_REF_TYPE).as_deref() == Some(FOLLOWS_FROM);
        let trace_id = link.trace_id.as_slice().try_into().map_or(TraceId::INVALID, TraceId::from_bytes);
        self.spend("");
        let span_id = link.span_id.as_slice().try_into().map_or(SpanId::INVALID, SpanId::from_bytes);
        Link {
            verb: if follows { "follows" } else { "linked to" },
            target: self.target(trace_id, span_id),
            // The verb says as much.
            attributes: self.attributes(
                link.attributes.iter().filter(|attribute| !(follows && attribute.key == OPENTRACING_REF_TYPE)),
                link.dropped_attributes_count,
            ),
        }
    }

    fn target(&self, trace_id: TraceId, span_id: SpanId) -> Target {
        let is_here = trace_id == self.trace_id;
        let row = self.targets.get(&span_id).filter(|_| is_here);
        let href = match row {
            Some(_) => Some(format!("#span-{span_id}")),
            None if is_here => None,
            None => self.recent.trace(trace_id).map(|_| format!("/traces/{trace_id}#span-{span_id}")),
        };
        Target {
            href,
            name: row.map(|&index| Shown::name(self.spans[index].view.name)),
            span_id: span_id.to_string(),
            trace_id: (!is_here).then(|| trace_id.to_string()),
        }
    }

    fn spend(&mut self, text: &str) {
        // Names and markup cost something, too.
        self.left = self.left.saturating_sub(text.len() + 64);
    }
}
