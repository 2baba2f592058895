//! The list of traces.

use super::filter::{Filter, Wanted, matching};
use super::shown::{Shown, Time};
use super::summary::{Heading, Services, Summary};
use crate::export::Exporter;
use crate::export::duration::duration;
use crate::export::recent::{Recent, RecentConfig};
use askama::Template;
use bytesize::ByteSize;

/// Traces on one page.
const PER_PAGE: usize = 100;
/// Services named in a row, and of which the search knows the names.
const SERVICES: usize = 6;
const SUGGESTED: usize = 200;

/// The page `/traces`.
#[derive(Template)]
#[template(path = "traces/list.html")]
pub(super) struct ListPage {
    wanted: Wanted,
    error: Option<String>,
    suggested: Vec<String>,
    rows: Vec<Row>,
    found: usize,
    page: usize,
    pages: usize,
    kept: u64,
    spans: u64,
    bytes: ByteSize,
    bounds: RecentConfig,
    evicted: u64,
}

struct Row {
    id: String,
    time: Time,
    heading: Heading,
    root_is_kept: bool,
    services: Vec<(usize, Shown)>,
    more_services: usize,
    spans: usize,
    not_kept: usize,
    duration: String,
    /// In thousandths of the longest of the page.
    length: u64,
    errors: usize,
    cause: Option<Shown>,
    ends: Vec<Shown>,
}

impl ListPage {
    pub(super) fn new(recent: &Recent, wanted: Wanted, filter: Result<Filter, String>) -> Self {
        let (found, error) = match filter {
            Ok(filter) => (matching(recent, &filter), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let services = Services::of(recent);
        let pages = found.len().div_ceil(PER_PAGE).max(1);
        let page = wanted.page().min(pages);
        let shown = found.iter().skip((page - 1) * PER_PAGE).take(PER_PAGE);
        let longest = shown.clone().map(|summary| summary.axis.length()).max().unwrap_or_default();
        let held = recent.stats();
        let stats = recent.recent_stats();
        Self {
            wanted,
            error,
            suggested: services.plain().take(SUGGESTED).cloned().collect(),
            rows: shown.map(|summary| Row::new(summary, &services, longest)).collect(),
            found: found.len(),
            page,
            pages,
            kept: stats.traces,
            spans: held.queued_spans,
            bytes: ByteSize::b(held.queued_bytes),
            bounds: recent.config().clone(),
            evicted: stats.evicted_traces,
        }
    }
}

impl Row {
    fn new(summary: &Summary, services: &Services, longest: u64) -> Self {
        let root = summary.trace.spans[summary.root].view();
        let length = summary.axis.length();
        let named = summary.services.iter().take(SERVICES);
        Self {
            id: summary.trace.id.to_string(),
            time: Time(summary.axis.start),
            heading: Heading::of(summary),
            root_is_kept: root.parent == opentelemetry::SpanId::INVALID,
            services: named.map(|name| (services.color(name), Shown::new(name, 40))).collect(),
            more_services: summary.services.len().saturating_sub(SERVICES),
            spans: summary.trace.spans.len(),
            not_kept: summary.trace.not_kept,
            duration: duration(length),
            length: (u128::from(length) * 1000 / u128::from(longest.max(1))) as u64,
            errors: summary.errors,
            cause: summary.cause.as_deref().map(|cause| Shown::new(cause, 60)),
            ends: summary.ends.iter().take(3).map(|end| Shown::new(end, 20)).collect(),
        }
    }
}
