//! From spans in any order to the rows of a tree. Parents come from the
//! network: missing ones, cycles and chains of any depth are normal input, so
//! nothing here recurses.

use crate::span::SpanView;
use opentelemetry::trace::SpanId;
use std::collections::{HashMap, HashSet};

/// Levels that are indented; deeper ones share the last indentation.
const MAX_INDENT: usize = 16;

/// What the tree has to know of a span. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) id: SpanId,
    /// `SpanId::INVALID` for a root.
    pub(crate) parent: SpanId,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Node {
    pub(crate) fn of(span: &SpanView<'_>) -> Self {
        Self { id: span.span_id, parent: span.parent, start: span.start, end: span.end }
    }
}

/// One line of the tree.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// The number of its ancestors.
    pub(crate) depth: usize,
    /// The lines that connect the row to its parent.
    pub(crate) guides: String,
    pub(crate) item: Item,
}

/// What a row shows.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    /// The span of this index.
    Span(usize),
    /// The span of this index, whose parent is one of its descendants.
    Cycle(usize),
    /// Stands for a parent that is not among the spans.
    NotSeen(SpanId),
}

struct Tree {
    /// Children by index of the parent, in order of start.
    children: Vec<Vec<usize>>,
    top: Vec<(Item, Vec<usize>)>,
}

/// The rows of all spans, parents before children, siblings by start.
pub(crate) fn rows(spans: &[Node]) -> Vec<Row> {
    let tree = build(spans);
    let mut rows = Vec::with_capacity(spans.len() + tree.top.len());
    // Whether the ancestor at each level is its parent's last child.
    let mut last = Vec::new();
    let mut stack = Vec::new();
    for (item, children) in tree.top {
        rows.push(Row { depth: 0, guides: String::new(), item });
        push_children(&mut stack, &children, 0);
        while let Some((index, depth, is_last)) = stack.pop() {
            last.truncate(depth);
            last.push(is_last);
            rows.push(Row { depth: last.len(), guides: guides_of(&last), item: Item::Span(index) });
            push_children(&mut stack, &tree.children[index], depth + 1);
        }
    }
    rows
}

/// Puts children on the stack so that the first is taken first.
fn push_children(stack: &mut Vec<(usize, usize, bool)>, children: &[usize], depth: usize) {
    let mut is_last = true;
    for &child in children.iter().rev() {
        stack.push((child, depth, is_last));
        is_last = false;
    }
}

fn guides_of(last: &[bool]) -> String {
    let hidden = last.len().saturating_sub(MAX_INDENT);
    let mut guides = String::from(if hidden > 0 { "⋯ " } else { "" });
    if let Some((own, ancestors)) = last[hidden..].split_last() {
        for &is_last in ancestors {
            guides.push_str(if is_last { "  " } else { "│ " });
        }
        guides.push_str(if *own { "└ " } else { "├ " });
    }
    guides
}

fn build(spans: &[Node]) -> Tree {
    let mut by_id = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        by_id.entry(span.id).or_insert(index);
    }
    // A root has none; a span whose parent was not seen has none either.
    let mut parents: Vec<Option<usize>> = spans
        .iter()
        .map(|span| match span.parent {
            SpanId::INVALID => None,
            parent => by_id.get(&parent).copied(),
        })
        .collect();
    let cut = cut_cycles(spans, &mut parents);

    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&index| (spans[index].start, spans[index].end, index));
    let mut children = vec![Vec::new(); spans.len()];
    let mut top = Vec::<(Item, Vec<usize>)>::new();
    let mut not_seen = HashMap::new();
    // In order of start, so siblings and top rows come out sorted.
    for index in order {
        match (parents[index], spans[index].parent) {
            (Some(parent), _) => children[parent].push(index),
            (None, SpanId::INVALID) => top.push((Item::Span(index), Vec::new())),
            (None, _) if cut[index] => top.push((Item::Cycle(index), Vec::new())),
            (None, parent) => {
                let group = *not_seen.entry(parent).or_insert_with(|| {
                    top.push((Item::NotSeen(parent), Vec::new()));
                    top.len() - 1
                });
                top[group].1.push(index);
            }
        }
    }
    for (item, top_children) in &mut top {
        if let Item::Span(index) | Item::Cycle(index) = item {
            top_children.clone_from(&children[*index]);
        }
    }
    Tree { children, top }
}

/// Takes the parent from one span of every cycle, the one that starts first,
/// and tells which spans these are.
fn cut_cycles(spans: &[Node], parents: &mut [Option<usize>]) -> Vec<bool> {
    let mut cut = vec![false; spans.len()];
    // 0: not visited; else the number of the walk that came by first.
    let mut visited = vec![0; spans.len()];
    for start in 0..spans.len() {
        let walk = start + 1;
        let mut at = start;
        while visited[at] == 0 {
            visited[at] = walk;
            match parents[at] {
                Some(parent) => at = parent,
                None => break,
            }
        }
        // Back on this walk's own trail, and not at a root: a cycle.
        if visited[at] != walk || parents[at].is_none() {
            continue;
        }
        let (entry, mut first) = (at, at);
        while let Some(parent) = parents[at] {
            at = parent;
            if (spans[at].start, at) < (spans[first].start, first) {
                first = at;
            }
            if at == entry {
                break;
            }
        }
        parents[first] = None;
        cut[first] = true;
    }
    cut
}

/// The span that stands for its trace: the first one without a parent, else the first one whose parent is not there, else
/// the first one. 0 if there is none.
pub(crate) fn root(nodes: &[Node]) -> usize {
    let ids: HashSet<SpanId> = nodes.iter().map(|node| node.id).collect();
    let rank = |node: &Node| match node.parent {
        SpanId::INVALID => 0,
        parent if !ids.contains(&parent) => 1,
        _ => 2,
    };
    let ranked = nodes.iter().enumerate().min_by_key(|(_, node)| (rank(node), node.start));
    ranked.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span whose start is its id.
    fn span(id: u64, parent: u64) -> Node {
        Node { id: SpanId::from(id), parent: SpanId::from(parent), start: id, end: id }
    }

    fn tree(edges: &[(u64, u64)]) -> Vec<String> {
        let spans: Vec<_> = edges.iter().map(|&(id, parent)| span(id, parent)).collect();
        let text = |row: Row| match row.item {
            Item::Span(index) => format!("{}{}", row.guides, spans[index].start),
            Item::Cycle(index) => format!("{}cycle {}", row.guides, spans[index].start),
            Item::NotSeen(parent) => format!("{}not seen {parent}", row.guides),
        };
        rows(&spans).into_iter().map(text).collect()
    }

    #[test]
    fn children_follow_their_parent_by_start() {
        let expected = ["1", "├ 2", "│ └ 5", "├ 3", "│ └ 6", "│   └ 7", "└ 4"];
        let edges = [(7, 6), (4, 1), (6, 3), (3, 1), (5, 2), (2, 1), (1, 0)];
        assert_eq!(tree(&edges), expected);
    }

    #[test]
    fn spans_of_one_unseen_parent_are_grouped() {
        let edges = [(4, 9), (2, 9), (3, 0), (5, 2)];
        let expected = ["not seen 0000000000000009", "├ 2", "│ └ 5", "└ 4", "3"];
        assert_eq!(tree(&edges), expected);
    }

    #[test]
    fn cycles_are_cut_where_they_start() {
        assert_eq!(tree(&[(1, 1)]), ["cycle 1"]);
        let loop_with_tail = [(3, 4), (4, 2), (2, 3), (1, 3), (5, 1)];
        let expected = ["cycle 2", "└ 4", "  └ 3", "    └ 1", "      └ 5"];
        assert_eq!(tree(&loop_with_tail), expected);
        let two = [(1, 2), (2, 1), (3, 4), (4, 3), (5, 0)];
        assert_eq!(tree(&two), ["cycle 1", "└ 2", "cycle 3", "└ 4", "5"]);
    }

    #[test]
    fn a_repeated_span_id_is_shown_twice_with_one_set_of_children() {
        assert_eq!(tree(&[(1, 0), (1, 0), (2, 1)]), ["1", "└ 2", "1"]);
    }

    #[test]
    fn a_deep_chain_keeps_its_order_and_a_bounded_indentation() {
        let edges: Vec<_> = (1..=100_000).map(|id| (id, id - 1)).collect();
        let rows = tree(&edges);
        assert_eq!(rows.len(), 100_000);
        assert_eq!(rows[16], format!("{}└ 17", "  ".repeat(15)));
        assert_eq!(rows[17], format!("⋯ {}└ 18", "  ".repeat(15)));
        assert_eq!(rows[99_999], format!("⋯ {}└ 100000", "  ".repeat(15)));
    }
}
