//! The page of a trace: its spans as a tree on a common time axis.

mod detail;
mod flat;

use super::shown::{Shown, Time};
use super::summary::{Heading, Services, Summary};
use crate::export::axis::Axis;
use crate::export::duration::duration;
use crate::export::recent::{KeptTrace, Recent};
use crate::export::tree::{self, Item, Node};
use crate::semconv::HAPROXY_SPAN_END;
use askama::Template;
use detail::{Attributes, Context, Detail};
use flat::{Flat, OriginTable};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::HashMap;

/// Rows on one page.
const MAX_ROWS: usize = 2_000;
/// Texts of attributes, events and links on one page, in bytes.
const MAX_DETAILS: usize = 2 << 20;
/// Levels that are indented; deeper ones share the last indentation.
const MAX_INDENT: usize = 12;
/// Events marked on a bar.
const MAX_MARKS: usize = 50;

/// The page `/traces/{trace_id}`.
#[derive(Template)]
#[template(path = "traces/trace.html")]
pub(super) struct TracePage {
    id: String,
    heading: Heading,
    time: Time,
    duration: String,
    spans: usize,
    not_kept: usize,
    errors: usize,
    ends: Vec<Shown>,
    services: Vec<(usize, Shown)>,
    /// The quarters of the axis.
    ticks: Vec<String>,
    rows: Vec<Row>,
    hidden: usize,
    resources: Vec<(Shown, Attributes)>,
}

struct Row {
    /// One element for each level of indentation.
    indent: Vec<()>,
    level: usize,
    span: Option<SpanRow>,
    /// Of a row without a span.
    not_seen: String,
}

struct SpanRow {
    /// Name of the row in links; a repeated span id has none.
    anchor: Option<String>,
    color: usize,
    service: Shown,
    name: Shown,
    kind: Option<&'static str>,
    is_error: bool,
    /// What the error says.
    message: Shown,
    end: Option<Shown>,
    is_cycle: bool,
    is_reversed: bool,
    bar: Bar,
    offset: String,
    duration: String,
    detail: Option<Detail>,
}

/// On an axis from 0 to 1000.
struct Bar {
    x: f64,
    width: f64,
    marks: Vec<f64>,
}

impl TracePage {
    pub(super) fn new(recent: &Recent, trace: &KeptTrace) -> Self {
        let mut origins = OriginTable::default();
        let flat = |span| Flat { span, view: span.view(), origin: origins.of(span.origin()) };
        let spans: Vec<Flat<'_>> = trace.spans.iter().map(flat).collect();
        let nodes: Vec<Node> = spans.iter().map(|span| Node::of(&span.view)).collect();
        let mut items = tree::rows(&nodes);
        let hidden = items.len().saturating_sub(MAX_ROWS);
        items.truncate(MAX_ROWS);
        let mut targets = HashMap::new();
        for item in &items {
            if let Item::Span(index) | Item::Cycle(index) = item.item {
                targets.entry(nodes[index].id).or_insert(index);
            }
        }
        let axis = Axis::of(&nodes);
        let services = Services::of(recent);
        let mut context = Context {
            recent,
            trace_id: trace.id,
            axis: &axis,
            spans: &spans,
            origins: &origins,
            targets,
            left: MAX_DETAILS,
        };
        let rows = items.iter().map(|item| Row::new(item, &services, &mut context)).collect();
        let resources = origins.resources.iter().map(|(name, spans)| {
            let mut attributes: Vec<_> = spans.resource.iter().flat_map(|resource| &resource.attributes).collect();
            attributes.sort_by_key(|attribute| &attribute.key);
            let dropped = spans.resource.as_ref().map_or(0, |resource| resource.dropped_attributes_count);
            (Shown::name(name), context.attributes(attributes, dropped))
        });
        let resources = resources.collect();
        let summary = Summary::new(trace.clone());
        Self {
            id: trace.id.to_string(),
            heading: Heading::of(&summary),
            time: Time(axis.start),
            duration: duration(axis.length()),
            spans: spans.len(),
            not_kept: trace.not_kept,
            errors: summary.errors,
            ends: summary.ends.iter().take(3).map(|end| Shown::new(end, 20)).collect(),
            services: summary.services.iter().take(20).map(|name| (services.color(name), Shown::name(name))).collect(),
            ticks: (1..=4).map(|quarter| duration((u128::from(axis.length()) * quarter / 4) as u64)).collect(),
            rows,
            hidden,
            resources,
        }
    }
}

impl Row {
    fn new(row: &tree::Row, services: &Services, context: &mut Context<'_>) -> Self {
        let span = match row.item {
            Item::Span(index) => Some(SpanRow::new(index, false, services, context)),
            Item::Cycle(index) => Some(SpanRow::new(index, true, services, context)),
            Item::NotSeen(_) => None,
        };
        let not_seen = match row.item {
            Item::NotSeen(parent) => parent.to_string(),
            _ => String::new(),
        };
        Self { indent: vec![(); row.depth.min(MAX_INDENT)], level: row.depth + 1, span, not_seen }
    }
}

impl SpanRow {
    fn new(index: usize, is_cycle: bool, services: &Services, context: &mut Context<'_>) -> Self {
        let Flat { span, view, .. } = &context.spans[index];
        let axis = context.axis;
        let at = |time| axis.position(time) * 1000.0;
        // Whatever is too short to be seen is shown as a thin line.
        let width = (at(view.end) - at(view.start)).max(2.0);
        let kind = match view.kind {
            SpanKind::Server => Some("server"),
            SpanKind::Client => Some("client"),
            SpanKind::Producer => Some("producer"),
            SpanKind::Consumer => Some("consumer"),
            SpanKind::Internal | SpanKind::Unspecified => None,
        };
        Self {
            anchor: (context.targets.get(&view.span_id) == Some(&index)).then(|| view.span_id.to_string()),
            color: services.color(span.service()),
            service: Shown::name(span.service()),
            name: Shown::name(view.name),
            kind,
            is_error: view.is_error(),
            message: Shown::new(&view.failure(), 80),
            end: view.attribute(HAPROXY_SPAN_END).map(|end| Shown::new(&end, 20)),
            is_cycle,
            is_reversed: view.end < view.start,
            bar: Bar {
                x: at(view.start).min(1000.0 - width),
                width,
                marks: view.event_times().take(MAX_MARKS).map(at).collect(),
            },
            offset: duration(view.start.saturating_sub(axis.start)),
            duration: duration(view.end.saturating_sub(view.start)),
            detail: context.detail(index),
        }
    }
}
