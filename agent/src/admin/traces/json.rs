//! Traces as OTLP JSON, as the specification of OTLP defines it and Jaeger's
//! page takes it: an `ExportTraceServiceRequest`. Beside it, in `traces`, is
//! what the pages head each trace by; readers of OTLP pass over fields that
//! they do not know.

use super::pages::{Failed, Pages};
use super::summary::Summary;
use crate::export::heading::HttpRequest;
use crate::export::recent::{KeptTrace, Recent};
use crate::export::request;
use crate::span::FinishedSpan;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use opentelemetry::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use serde::Serialize;
use serde::ser::Error as _;
use std::io;

/// The traces, made one at a time while they are sent. Only their ids are held until then, so that a slow reader keeps no trace
/// that had to make room; it gets what is left.
pub(super) fn response(pages: Pages, ids: Vec<TraceId>) -> Response {
    let spans = elements(pages.clone(), ids.clone(), spans_of);
    let headings = elements(pages, ids, heading_of);
    let fixed = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    let begin = fixed(r#"{"resourceSpans":["#);
    let body = begin.chain(spans).chain(fixed(r#"],"traces":["#)).chain(headings).chain(fixed("]}\n"));
    let body = Body::from_stream(body);
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Bytes of spans that are decoded at once.
const PART: usize = 256 * 1024;

/// What one trace adds to a list, with commas in between.
type Elements = fn(&KeptTrace) -> serde_json::Result<Vec<u8>>;

/// A list of what the traces add that are still kept.
fn elements(pages: Pages, ids: Vec<TraceId>, of: Elements) -> impl Stream<Item = io::Result<Bytes>> {
    let state = (ids.into_iter(), pages, true);
    stream::unfold(state, move |(mut ids, pages, is_first)| async move {
        let id = ids.next()?;
        let part = pages.run(move |recent| part(recent, id, is_first, of)).await;
        let part = part.unwrap_or_else(|Failed| Err(io::Error::other("the task failed")));
        let is_first = is_first && part.as_ref().is_ok_and(Bytes::is_empty);
        Some((part, (ids, pages, is_first)))
    })
}

fn part(recent: &Recent, id: TraceId, is_first: bool, of: Elements) -> io::Result<Bytes> {
    let Some(trace) = recent.trace(id) else { return Ok(Bytes::new()) };
    match of(&trace) {
        Ok(elements) if is_first || elements.is_empty() => Ok(elements.into()),
        Ok(elements) => Ok([b",", &*elements].concat().into()),
        Err(error) => {
            tracing::error!(%error, trace = %id, "cannot write a trace as JSON");
            Err(error.into())
        }
    }
}

fn spans_of(trace: &KeptTrace) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    for part in parts(&trace.spans) {
        let request =
            ExportTraceServiceRequest::decode(&*request::encode(part, 0)).map_err(serde_json::Error::custom)?;
        for mut resource_spans in request.resource_spans {
            if !out.is_empty() {
                out.push(b',');
            }
            make_finite(&mut resource_spans);
            serde_json::to_writer(&mut out, &resource_spans)?;
        }
    }
    Ok(out)
}

/// The spans in parts that are decoded one after the other: decoded they are many times as large.
fn parts(mut spans: &[FinishedSpan]) -> impl Iterator<Item = &[FinishedSpan]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |span: &&FinishedSpan| {
            bytes += span.bytes().len();
            bytes <= PART
        };
        let len = spans.iter().take_while(fits).count().max(1);
        let (part, rest) = spans.split_at_checked(len)?;
        spans = rest;
        Some(part)
    })
}

/// What the page heads the trace by.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heading<'a> {
    trace_id: String,
    /// Of the root.
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
}

fn heading_of(trace: &KeptTrace) -> serde_json::Result<Vec<u8>> {
    let Summary { trace, root, request, .. } = Summary::new(trace.clone());
    let HttpRequest { method, path, status } = &request;
    serde_json::to_vec(&Heading {
        trace_id: trace.id.to_string(),
        name: trace.spans[root].view().name,
        method,
        path,
        status,
    })
}

/// JSON has no numbers that are not finite, and what the library writes instead is refused by readers of OTLP: such a
/// value becomes a text.
fn make_finite(resource_spans: &mut ResourceSpans) {
    resource_spans.resource.iter_mut().for_each(|resource| of_attributes(&mut resource.attributes));
    for scope_spans in &mut resource_spans.scope_spans {
        scope_spans.scope.iter_mut().for_each(|scope| of_attributes(&mut scope.attributes));
        for span in &mut scope_spans.spans {
            of_attributes(&mut span.attributes);
            span.events.iter_mut().for_each(|event| of_attributes(&mut event.attributes));
            span.links.iter_mut().for_each(|link| of_attributes(&mut link.attributes));
        }
    }
}

fn of_attributes(attributes: &mut [KeyValue]) {
    attributes.iter_mut().filter_map(|kv| kv.value.as_mut()).for_each(of_value);
}

fn of_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::DoubleValue(number)) if !number.is_finite() => {
            let text = match *number {
                n if n.is_nan() => "NaN",
                n if n > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            value.value = Some(Value::StringValue(text.to_owned()));
        }
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(of_value),
        Some(Value::KvlistValue(pairs)) => of_attributes(&mut pairs.values),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::receiver::{ReceivedRequest, RequestSink};
    use crate::export::recent::RecentConfig;
    use http_body_util::BodyExt;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn traces_that_made_room_meanwhile_are_left_out() {
        let recent = Recent::new(RecentConfig::default());
        let span = |id: u128| Span { trace_id: id.to_be_bytes().to_vec(), ..Default::default() };
        let of_trace = |id| ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span(id)], ..Default::default() }],
            ..Default::default()
        };
        let message = ExportTraceServiceRequest { resource_spans: [3, 5].map(of_trace).to_vec() };
        let request = ReceivedRequest::decode(message.encode_to_vec().into(), 1 << 20).unwrap();
        recent.accept(&Arc::new(request));
        let pages = Pages { recent: Arc::new(recent), rendering: Arc::new(Semaphore::new(1)) };
        for (ids, expected) in [(vec![1, 3, 4, 5, 6], vec![3, 5]), (vec![3, 5], vec![3, 5]), (vec![1, 2], vec![])] {
            let response = response(pages.clone(), ids.into_iter().map(TraceId::from).collect());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let read: ExportTraceServiceRequest = serde_json::from_slice(&body).unwrap();
            assert_eq!(read.resource_spans, expected.into_iter().map(of_trace).collect::<Vec<_>>());
        }
    }
}
