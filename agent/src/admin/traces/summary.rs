//! What the list and the search know of a trace.

use super::shown::Shown;
use crate::export::axis::Axis;
use crate::export::heading::HttpRequest;
use crate::export::recent::{KeptTrace, Recent};
use crate::export::text;
use crate::export::tree::{self, Node};
use crate::semconv::HAPROXY_SPAN_END;
use crate::span::FinishedSpan;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// Services that have a colour of their own.
const COLORS: usize = 8;

/// A trace and what can be said of it in a line.
pub(super) struct Summary {
    pub(super) trace: KeptTrace,
    pub(super) axis: Axis,
    pub(super) root: usize,
    /// The request that it is of.
    pub(super) request: HttpRequest,
    /// By their first start.
    pub(super) services: Vec<String>,
    pub(super) errors: usize,
    /// What the first of them says that says more than the status.
    pub(super) cause: Option<String>,
    /// Values of [`HAPROXY_SPAN_END`] that its spans have.
    pub(super) ends: BTreeSet<String>,
}

impl Summary {
    pub(super) fn new(trace: KeptTrace) -> Self {
        let views: Vec<_> = trace.spans.iter().map(FinishedSpan::view).collect();
        let nodes: Vec<Node> = views.iter().map(Node::of).collect();
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|&index| nodes[index].start);
        let root = tree::root(&nodes);
        let root_first = std::iter::once(&root).chain(&order);
        let requests = root_first.clone().map(|&index| {
            let attribute = |name: &str| views[index].attribute(name).map(Cow::Owned);
            (trace.spans[index].service(), views[index].kind, HttpRequest::of_span(attribute))
        });
        let request = HttpRequest::of_trace(requests);
        let mut causes = root_first.map(|&index| views[index].failure());
        let cause = causes.find(|cause| !cause.is_empty() && **cause != request.status);
        let cause = cause.map(Cow::into_owned);
        let mut seen = HashSet::new();
        let in_order = order.iter().map(|&index| trace.spans[index].service());
        let services = in_order.filter(|name| seen.insert(*name)).map(str::to_owned).collect();
        let ends = views.iter().filter_map(|span| span.attribute(HAPROXY_SPAN_END)).collect();
        let errors = views.iter().filter(|span| span.is_error()).count();
        Self { axis: Axis::of(&nodes), root, request, services, errors, cause, ends, trace }
    }
}

/// What a page is headed by.
pub(super) struct Heading {
    /// Method and path of the request, unless the name of the root says as much.
    pub(super) title: Shown,
    /// The same for the page's title, which is text alone.
    pub(super) plain: String,
    /// The name of the root, unless the title says as much.
    pub(super) name: Option<Shown>,
    /// Of the answer, if it is known.
    pub(super) status: Option<Shown>,
    pub(super) is_error: bool,
}

impl Heading {
    pub(super) fn of(summary: &Summary) -> Self {
        let name = summary.trace.spans[summary.root].view().name;
        let request = &summary.request;
        let title = request.title().filter(|title| !name.contains(title.as_str()));
        let says_more = |title: &&String| !name.is_empty() && !title.starts_with(&format!("{name} "));
        let shown = Shown::name(title.as_deref().unwrap_or(name));
        Self {
            name: title.as_ref().filter(says_more).map(|_| Shown::name(name)),
            plain: shown.plain(),
            title: shown,
            status: Some(&request.status).filter(|status| !status.is_empty()).map(|status| Shown::new(status, 20)),
            is_error: request.is_error(),
        }
    }
}

/// All services of the kept traces: each has the same colour on every page.
pub(super) struct Services(Vec<String>);

impl Services {
    pub(super) fn of(recent: &Recent) -> Self {
        let traces = recent.traces();
        let names: BTreeSet<&str> =
            traces.iter().flat_map(|trace| trace.spans.iter()).map(|span| span.service()).collect();
        Self(names.into_iter().map(str::to_owned).collect())
    }

    /// Those that can be shown as they are.
    pub(super) fn plain(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|name| !name.chars().any(|c| text::escape(c).is_some()))
    }

    /// The number of its colour.
    pub(super) fn color(&self, name: &str) -> usize {
        self.0.binary_search_by(|known| (**known).cmp(name)).unwrap_or_else(|at| at) % COLORS
    }
}
