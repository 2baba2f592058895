//! A trace as text: a header, then one line per span with service, name in
//! the tree, bar on the trace's time axis, duration and notes.

use super::view::{ViewSpan, ViewStatus};
use crate::cut;
use crate::export::axis::Axis;
use crate::export::duration::duration;
use crate::export::heading::HttpRequest;
use crate::export::tree::{self, Item, Node, Row};
use crate::span::view::LinkView;
use anstyle::{AnsiColor, Style};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};
use unicode_width::UnicodeWidthStr;

/// Columns of the bar: at least, at most.
const BAR: (usize, usize) = (14, 60);
/// Columns of the bar however narrow the terminal is.
const MIN_BAR: usize = 4;
/// Widest service column.
const MAX_SERVICE: usize = 20;
/// Columns kept for the tree however narrow the terminal is.
const MIN_TREE: usize = 16;
/// Columns of what was asked, in the header, however narrow the terminal is.
const MIN_TITLE: usize = 24;
/// Space between two columns.
const GAP: &str = "  ";

/// What the text looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) width: usize,
    pub(super) color: bool,
    pub(super) max_rows: usize,
}

/// What to say of the trace beside its spans.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remarks {
    /// A part of this trace was printed before.
    pub(super) continued: bool,
    /// Why it is printed although it may not be complete.
    pub(super) early: Option<&'static str>,
}

/// The columns of one line.
struct Line {
    service: String,
    service_style: Style,
    tree: String,
    name: String,
    name_style: Style,
    span: Option<usize>,
    duration: String,
    notes: Vec<Note>,
}

/// A remark on a span.
struct Note {
    text: String,
    /// The text without what can be left out where there is little room.
    short: String,
    style: Style,
}

impl Note {
    fn new(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        Self { short: text.clone(), text, style }
    }
}

/// Renders a trace. `spans` is not empty and of one trace.
pub(super) fn render(spans: &[ViewSpan], remarks: Remarks, format: Format) -> String {
    let nodes: Vec<Node> = spans.iter().map(ViewSpan::node).collect();
    let axis = Axis::of(&nodes);
    let services = service_styles(spans);
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id, span)).collect();
    let rows = tree::rows(&nodes);
    let hidden = rows.len().saturating_sub(format.max_rows);
    let shown = rows.into_iter().take(format.max_rows);
    let lines: Vec<_> = shown.map(|row| line(row, spans, &by_id, &services)).collect();
    let columns = Columns::fit(&lines, format.width);

    let painter = Painter { color: format.color };
    let request = request(spans, &nodes);
    let title = request.title().map(|title| cut::to_columns(&title, format.width.max(MIN_TITLE)));
    let mut out = header(spans, (title, &request), &axis, services.len(), remarks, &painter);
    for line in &lines {
        columns.write(line, spans, &axis, &painter, &mut out);
    }
    if hidden > 0 {
        painter.put(&mut out, &format!("… {hidden} more"), DIM);
        out.push('\n');
    }
    out.push('\n');
    out
}

const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const ERROR: Style = AnsiColor::Red.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const MARK: Style = AnsiColor::Yellow.on_default();

struct Painter {
    color: bool,
}

impl Painter {
    fn put(&self, out: &mut String, text: &str, style: Style) {
        if self.color && style != PLAIN && !text.is_empty() {
            let _ = write!(out, "{style}{text}{style:#}");
        } else {
            out.push_str(text);
        }
    }
}

fn header(
    spans: &[ViewSpan],
    (title, request): (Option<String>, &HttpRequest),
    axis: &Axis,
    services: usize,
    remarks: Remarks,
    painter: &Painter,
) -> String {
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut out = String::new();
    painter.put(&mut out, &format!("trace {}", trace_id(spans)), BOLD);
    if let Some(title) = title {
        painter.put(&mut out, &format!(" · {title}"), BOLD);
    }
    if !request.status.is_empty() {
        let style = if request.is_error() { ERROR } else { BOLD };
        painter.put(&mut out, &format!(" {}", request.status), style);
    }
    let facts =
        format!(" · {} · {} · {}", plural(spans.len(), "span"), plural(services, "service"), duration(axis.length()));
    painter.put(&mut out, &facts, PLAIN);
    let is_error = |span: &&ViewSpan| matches!(span.status, ViewStatus::Error(_));
    let errors = spans.iter().filter(is_error).count();
    if errors > 0 {
        painter.put(&mut out, &format!(" · {}", plural(errors, "error")), ERROR);
    }
    if let Some(start) = UNIX_EPOCH.checked_add(Duration::from_nanos(axis.start)) {
        let start = humantime::format_rfc3339_millis(start);
        painter.put(&mut out, &format!(" · {start}"), DIM);
    }
    if remarks.continued {
        painter.put(&mut out, " · continued", MARK);
    }
    if let Some(why) = remarks.early {
        painter.put(&mut out, &format!(" · printed early: {why}"), MARK);
    }
    out.push('\n');
    out
}

fn trace_id(spans: &[ViewSpan]) -> TraceId {
    spans.first().map_or(TraceId::INVALID, |span| span.trace_id)
}

/// The request that the trace is of.
fn request(spans: &[ViewSpan], nodes: &[Node]) -> HttpRequest {
    let mut order: Vec<_> = spans.iter().collect();
    order.sort_by_key(|span| span.start);
    let ordered = spans.get(tree::root(nodes)).into_iter().chain(order);
    HttpRequest::of_trace(ordered.map(|span| (&*span.service, span.kind, span.request.clone())))
}

/// A colour for each service, in order of the first start.
fn service_styles(spans: &[ViewSpan]) -> HashMap<&str, Style> {
    const COLORS: [AnsiColor; 5] =
        [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Yellow];
    let mut order: Vec<_> = spans.iter().collect();
    order.sort_by_key(|span| span.start);
    let mut styles = HashMap::new();
    for span in order {
        let color = COLORS[styles.len() % COLORS.len()];
        styles.entry(&*span.service).or_insert(color.on_default());
    }
    styles
}

fn line(row: Row, spans: &[ViewSpan], by_id: &HashMap<SpanId, &ViewSpan>, services: &HashMap<&str, Style>) -> Line {
    let (index, cycle) = match row.item {
        Item::Span(index) => (index, false),
        Item::Cycle(index) => (index, true),
        Item::NotSeen(parent) => {
            return Line {
                service: String::new(),
                service_style: PLAIN,
                tree: row.guides,
                name: format!("(parent {parent} not seen)"),
                name_style: DIM,
                span: None,
                duration: String::new(),
                notes: Vec::new(),
            };
        }
    };
    let span = &spans[index];
    let mut notes = Vec::new();
    let mut name_style = PLAIN;
    match &span.status {
        ViewStatus::Unset => {}
        ViewStatus::Ok => notes.push(Note::new("✓ ok", GOOD)),
        ViewStatus::Error(text) => {
            name_style = ERROR;
            let text = if text.is_empty() { "error" } else { text };
            notes.push(Note::new(format!("✗ {text}"), ERROR));
        }
    }
    notes.extend(kind(span.kind).map(|kind| Note::new(kind, DIM)));
    if cycle {
        notes.push(Note::new("its parent is a descendant", MARK));
    }
    if span.end < span.start {
        notes.push(Note::new("ends before it starts", MARK));
    }
    notes.extend(span.marks.iter().map(|m| mark(m)));
    notes.extend(span.links.iter().map(|l| link(l, span, by_id)));
    if span.more_links > 0 {
        notes.push(Note::new(format!("↪ {} more links", span.more_links), DIM));
    }
    Line {
        service_style: services.get(&*span.service).copied().unwrap_or(PLAIN),
        service: span.service.to_string(),
        tree: row.guides,
        name: span.name.clone(),
        name_style,
        span: Some(index),
        duration: duration(span.end.saturating_sub(span.start)),
        notes,
    }
}

fn kind(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Server => Some("server"),
        SpanKind::Client => Some("client"),
        SpanKind::Producer => Some("producer"),
        SpanKind::Consumer => Some("consumer"),
        SpanKind::Internal | SpanKind::Unspecified => None,
    }
}

fn link(link: &LinkView, span: &ViewSpan, by_id: &HashMap<SpanId, &ViewSpan>) -> Note {
    let verb = if link.follows_from { "follows" } else { "linked to" };
    let target = if link.trace_id != span.trace_id {
        format!("trace {} span {}", link.trace_id, link.span_id)
    } else if let Some(target) = by_id.get(&link.span_id) {
        target.name.clone()
    } else {
        format!("span {}", link.span_id)
    };
    Note { text: format!("↪ {verb} {target}"), short: format!("↪ {target}"), style: DIM }
}

/// An attribute, `name=value`; in short with the last part of its name.
fn mark(mark: &str) -> Note {
    let name_end = mark.find('=').unwrap_or(mark.len());
    let start = mark[..name_end].rfind('.').map_or(0, |dot| dot + 1);
    Note { text: mark.to_owned(), short: mark[start..].to_owned(), style: MARK }
}

/// The widths of the columns of one trace.
struct Columns {
    service: usize,
    tree: usize,
    bar: usize,
    duration: usize,
    notes: usize,
}

impl Columns {
    /// Gives every column what it needs, if the width allows; else long notes
    /// are shortened, then cut, then the tree is.
    fn fit(lines: &[Line], width: usize) -> Self {
        let widest = |of: fn(&Line) -> usize| lines.iter().map(of).max().unwrap_or(0);
        let service = widest(|line| line.service.width()).min(MAX_SERVICE);
        let duration = widest(|line| line.duration.width());
        let tree = widest(|line| match line.span {
            Some(_) => line.tree.width() + line.name.width(),
            None => 0,
        });
        let long_notes = widest(|line| notes_width(&line.notes, |note| &note.text));
        let short_notes = widest(|line| notes_width(&line.notes, |note| &note.short));
        let gap = GAP.width();
        let free = width.saturating_sub(service + duration + 3 * gap);
        let tree = tree.min(free.saturating_sub(BAR.0).max(MIN_TREE));
        let free = free.saturating_sub(tree);
        let shorten = free < BAR.0 + gap + long_notes;
        let notes = if shorten { short_notes } else { long_notes };
        let wanted = if notes > 0 { notes + gap } else { 0 };
        let least = BAR.0.min(free).max(MIN_BAR);
        let bar = free.saturating_sub(wanted).clamp(least, BAR.1);
        Self { service, tree, bar, duration, notes: free.saturating_sub(bar + gap).min(notes) }
    }

    fn write(&self, line: &Line, spans: &[ViewSpan], axis: &Axis, painter: &Painter, out: &mut String) {
        let service = cut::to_columns(&line.service, self.service);
        painter.put(out, &service, line.service_style);
        pad(out, self.service.saturating_sub(service.width()));
        out.push_str(GAP);
        let Some(span) = line.span.map(|index| &spans[index]) else {
            painter.put(out, &line.tree, DIM);
            painter.put(out, &line.name, line.name_style);
            out.push('\n');
            return;
        };
        let guides = cut::to_columns(&line.tree, self.tree);
        let name = cut::to_columns(&line.name, self.tree - guides.width());
        painter.put(out, &guides, DIM);
        painter.put(out, &name, line.name_style);
        pad(out, self.tree.saturating_sub(guides.width() + name.width()));
        out.push_str(GAP);
        let (lead, bar, tail) = axis.bar(&span.node(), self.bar);
        let is_error = matches!(span.status, ViewStatus::Error(_));
        pad(out, lead);
        painter.put(out, &bar, if is_error { ERROR } else { line.service_style });
        pad(out, tail);
        out.push_str(GAP);
        pad(out, self.duration.saturating_sub(line.duration.width()));
        out.push_str(&line.duration);
        let mut free = self.notes;
        let shorten = notes_width(&line.notes, |note| &note.text) > free;
        for note in &line.notes {
            let text = if shorten { &note.short } else { &note.text };
            let text = cut::to_columns(text, free);
            if text.is_empty() {
                break;
            }
            out.push_str(GAP);
            painter.put(out, &text, note.style);
            free = free.saturating_sub(text.width() + GAP.width());
        }
        out.push('\n');
    }
}

fn notes_width(notes: &[Note], text: fn(&Note) -> &String) -> usize {
    let texts: usize = notes.iter().map(|note| text(note).width()).sum();
    texts + notes.len().saturating_sub(1) * GAP.width()
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}
