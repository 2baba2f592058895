//! What the console shows of a span, whether it comes from this process or
//! was received over OTLP. Texts are made harmless and bounded here, once.

use crate::export::heading::HttpRequest;
use crate::export::text;
use crate::export::tree::Node;
use crate::span::FinishedSpan;
use crate::span::view::LinkView;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use std::borrow::Cow;
use std::sync::Arc;

/// Longest text, in characters before escaping.
const MAX_TEXT: usize = 200;
/// Most links shown of a span.
const MAX_LINKS: usize = 4;

/// A span as the console shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ViewSpan {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// `SpanId::INVALID` for a root.
    pub(super) parent: SpanId,
    pub(super) service: Arc<str>,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    /// Nanoseconds since the epoch.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) status: ViewStatus,
    pub(super) links: Vec<LinkView>,
    pub(super) more_links: usize,
    /// Attributes chosen to be shown, as `name=value`.
    pub(super) marks: Vec<String>,
    pub(super) request: HttpRequest,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ViewStatus {
    Unset,
    Ok,
    Error(String),
}

impl ViewSpan {
    pub(super) fn node(&self) -> Node {
        Node { id: self.span_id, parent: self.parent, start: self.start, end: self.end }
    }

    /// The view of a span, with these of its attributes.
    pub(super) fn of(span: &FinishedSpan, shown: &[String]) -> Self {
        let view = span.view();
        let marks = shown.iter().filter_map(|name| {
            let value = view.attribute(name)?;
            Some(format!("{}={}", clean(name), clean(&value)))
        });
        let mut links = view.links();
        let shown_links = links.by_ref().take(MAX_LINKS).collect();
        Self {
            trace_id: view.trace_id,
            span_id: view.span_id,
            parent: view.parent,
            service: clean(span.service()).into(),
            name: clean(view.name),
            kind: view.kind,
            start: view.start,
            end: view.end,
            status: match view.status {
                StatusCode::Ok => ViewStatus::Ok,
                StatusCode::Error => ViewStatus::Error(clean(&view.failure())),
                StatusCode::Unset => ViewStatus::Unset,
            },
            links: shown_links,
            more_links: links.count(),
            marks: marks.collect(),
            request: HttpRequest::of_span(|name| view.attribute(name).map(Cow::Owned)).map(clean),
        }
    }
}

/// A text that is safe to print: control characters, and the invisible ones
/// that reorder or hide text, are escaped; what is too long is cut.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_TEXT {
            out.push('…');
            break;
        }
        match text::escape(c) {
            Some(escaped) => out.push_str(&escaped),
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_escaped_and_cut() {
        for harmless in ["GET /ä→日本", "e\u{301}"] {
            assert_eq!(clean(harmless), harmless);
        }
        assert_eq!(clean("a\x1b[2Jb\u{9b}1m"), "a\\u{1b}[2Jb\\u{9b}1m");
        assert_eq!(clean("x\r\n\ty\u{7f}"), "x\\r\\n\\ty\\u{7f}");
        assert_eq!(clean("\u{202e}evil\u{200b}\u{2028}"), "\\u{202e}evil\\u{200b}\\u{2028}");
        assert_eq!(clean(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
    }
}
