//! What the console shows of a span, whether it comes from this process or
//! was received over OTLP. Texts are made harmless and bounded here, once.

use crate::export::heading::HttpRequest;
use crate::export::text::{self, attribute, nanos};
use crate::export::tree::Node;
use crate::semconv::{FOLLOWS_FROM, OPENTRACING_REF_TYPE};
use crate::span::FinishedSpan;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use std::borrow::Cow;
use std::mem::size_of;
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
    pub(super) links: Vec<ViewLink>,
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

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ViewLink {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) follows_from: bool,
}

impl ViewSpan {
    /// Memory that the view occupies.
    pub(super) fn size(&self) -> usize {
        let marks: usize = self.marks.iter().map(|m| size_of::<String>() + m.len()).sum();
        let status = match &self.status {
            ViewStatus::Error(text) => text.len(),
            _ => 0,
        };
        size_of::<Self>()
            + self.name.len()
            + self.links.len() * size_of::<ViewLink>()
            + marks
            + status
            + self.request.size()
    }

    pub(super) fn node(&self) -> Node {
        Node { id: self.span_id, parent: self.parent, start: self.start, end: self.end }
    }

    /// The view of a span of this process, with these attributes.
    pub(super) fn from_finished(span: &FinishedSpan, shown: &[String]) -> Self {
        let data = &span.data;
        let marks = data.attributes.iter().filter_map(|kv| {
            let name = kv.key.as_str();
            shown.iter().any(|s| s == name).then(|| format!("{}={}", clean(name), clean(&kv.value.as_str())))
        });
        let links = data.links.iter().take(MAX_LINKS).map(|link| ViewLink {
            trace_id: link.span_context.trace_id(),
            span_id: link.span_context.span_id(),
            follows_from: link
                .attributes
                .iter()
                .any(|kv| kv.key.as_str() == OPENTRACING_REF_TYPE && kv.value.as_str() == FOLLOWS_FROM),
        });
        Self {
            trace_id: data.span_context.trace_id(),
            span_id: data.span_context.span_id(),
            parent: data.parent_span_id,
            service: clean(&span.service).into(),
            name: clean(&data.name),
            kind: data.span_kind.clone(),
            start: nanos(data.start_time),
            end: nanos(data.end_time),
            status: match &data.status {
                Status::Unset => ViewStatus::Unset,
                Status::Ok => ViewStatus::Ok,
                Status::Error { description } => ViewStatus::Error(clean(description)),
            },
            links: links.collect(),
            more_links: data.links.len().saturating_sub(MAX_LINKS),
            marks: marks.collect(),
            request: HttpRequest::of_span(|name| text::own_attribute(&data.attributes, name)).map(clean),
        }
    }

    /// The views of all spans of an OTLP request.
    pub(super) fn from_request<'a>(
        request: &'a ExportTraceServiceRequest,
        shown: &'a [String],
    ) -> impl Iterator<Item = Self> + 'a {
        request.resource_spans.iter().flat_map(move |resource_spans| {
            let service: Arc<str> = clean(&text::service_name(resource_spans.resource.as_ref())).into();
            resource_spans
                .scope_spans
                .iter()
                .flat_map(|scope| &scope.spans)
                .map(move |span| Self::from_otlp(span, service.clone(), shown))
        })
    }

    fn from_otlp(span: &otlp::Span, service: Arc<str>, shown: &[String]) -> Self {
        let marks = shown.iter().filter_map(|name| {
            let value = attribute(&span.attributes, name)?;
            Some(format!("{}={}", clean(name), clean(&value)))
        });
        let links = span.links.iter().take(MAX_LINKS).map(|link| ViewLink {
            trace_id: trace_id(&link.trace_id),
            span_id: span_id(&link.span_id),
            follows_from: attribute(&link.attributes, OPENTRACING_REF_TYPE).as_deref() == Some(FOLLOWS_FROM),
        });
        let status = span.status.as_ref().map(|s| (s.code(), &s.message));
        Self {
            trace_id: trace_id(&span.trace_id),
            span_id: span_id(&span.span_id),
            parent: span_id(&span.parent_span_id),
            service,
            name: clean(&span.name),
            kind: match span.kind() {
                otlp::span::SpanKind::Server => SpanKind::Server,
                otlp::span::SpanKind::Client => SpanKind::Client,
                otlp::span::SpanKind::Producer => SpanKind::Producer,
                otlp::span::SpanKind::Consumer => SpanKind::Consumer,
                _ => SpanKind::Internal,
            },
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            status: match status {
                Some((otlp::status::StatusCode::Ok, _)) => ViewStatus::Ok,
                Some((otlp::status::StatusCode::Error, text)) => ViewStatus::Error(clean(text)),
                _ => ViewStatus::Unset,
            },
            links: links.collect(),
            more_links: span.links.len().saturating_sub(MAX_LINKS),
            marks: marks.collect(),
            request: HttpRequest::of_span(|name| attribute(&span.attributes, name).map(Cow::Owned)).map(clean),
        }
    }
}

fn trace_id(bytes: &[u8]) -> TraceId {
    bytes.try_into().map_or(TraceId::INVALID, TraceId::from_bytes)
}

fn span_id(bytes: &[u8]) -> SpanId {
    bytes.try_into().map_or(SpanId::INVALID, SpanId::from_bytes)
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

    #[test]
    fn ids_of_wrong_length_are_no_ids() {
        assert_eq!(trace_id(&[1; 15]), TraceId::INVALID);
        assert_eq!(span_id(&[]), SpanId::INVALID);
        assert_eq!(span_id(&[0, 0, 0, 0, 0, 0, 0, 5]), SpanId::from(5));
    }
}
