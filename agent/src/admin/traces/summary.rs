//! What the list and the search know of a trace.

use super::filter::Filter;
use crate::export::axis::Axis;
use crate::export::memory::{KeptTrace, Memory};
use crate::export::text;
use crate::export::tree::Node;
use opentelemetry::SpanId;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

/// Attribute of spans that no message ended.
pub(super) const END: &str = "haproxy.span.end";
/// Services that have a colour of their own.
const COLORS: usize = 8;

/// A trace and what can be said of it in a line.
pub(super) struct Summary {
    pub(super) trace: KeptTrace,
    pub(super) axis: Axis,
    /// The span without a parent; else the first one whose parent is not kept.
    pub(super) root: usize,
    /// By their first start.
    pub(super) services: Vec<String>,
    pub(super) errors: usize,
    /// Values of [`END`] that its spans have.
    pub(super) ends: BTreeSet<String>,
}

impl Summary {
    pub(super) fn new(trace: KeptTrace) -> Self {
        let nodes: Vec<Node> = trace.spans.iter().map(|span| span.node()).collect();
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|&index| nodes[index].start);
        let ids: HashSet<SpanId> = nodes.iter().map(|node| node.id).collect();
        let is_root = |index: &&usize| nodes[**index].parent == SpanId::INVALID;
        let is_top = |index: &&usize| !ids.contains(&nodes[**index].parent);
        let root = order.iter().find(is_root).or_else(|| order.iter().find(is_top)).or(order.first());
        let root = root.copied().unwrap_or_default();
        let mut seen = HashSet::new();
        let in_order = order.iter().map(|&index| trace.spans[index].service());
        let services = in_order.filter(|name| seen.insert(*name)).map(str::to_owned).collect();
        let ends = trace.spans.iter().filter_map(|span| span.attribute(END)).map(|end| end.into_owned()).collect();
        Self {
            axis: Axis::of(&nodes),
            root,
            services,
            errors: trace.spans.iter().filter(|span| span.is_error()).count(),
            ends,
            trace,
        }
    }
}

/// The traces that are wanted, the one that started last first.
pub(super) fn matching(memory: &Memory, filter: &Filter) -> Vec<Summary> {
    let all = memory.traces().into_iter().map(Summary::new);
    let mut wanted: Vec<_> = all.filter(|summary| filter.wants(summary)).collect();
    wanted.sort_by_key(|summary| Reverse(summary.axis.start));
    wanted
}

/// All services of the kept traces: each has the same colour on every page.
pub(super) struct Services(Vec<String>);

impl Services {
    pub(super) fn of(memory: &Memory) -> Self {
        let traces = memory.traces();
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
