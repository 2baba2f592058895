//! Traces as OTLP JSON, as the specification of OTLP defines it and Jaeger's
//! page takes it: an `ExportTraceServiceRequest`. Beside it, in `traces`, is
//! what the pages head each trace by; readers of OTLP pass over fields that
//! they do not know.

use super::pages::{Failed, Pages};
use super::summary::Summary;
use crate::export::finite::make_finite;
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
use prost::Message;
use serde::Serialize;
use serde::ser::Error as _;
use std::io;
use std::sync::Arc;

/// The traces, made part by part while they are sent. Only their ids are held until then, so that a slow reader keeps no trace
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

/// Bytes of spans that are decoded at once, and wait as JSON for their reader: they become many times as large.
const PART: usize = 64 * 1024;

/// What a trace adds to a list from this one of its spans on, with commas in between, and the span to go on with, if it is
/// not all.
type Elements = fn(&KeptTrace, usize) -> serde_json::Result<(Vec<u8>, Option<usize>)>;

/// A list of what the traces add that are still kept.
fn elements(pages: Pages, ids: Vec<TraceId>, of: Elements) -> impl Stream<Item = io::Result<Bytes>> {
    let state = (ids.into_iter(), None, pages, true);
    stream::unfold(state, move |(mut ids, next, pages, is_first)| async move {
        let (id, from) = match next {
            Some(next) => next,
            None => (ids.next()?, 0),
        };
        let made = pages.run(move |recent| part(recent, id, from, is_first, of)).await;
        let made = made.unwrap_or_else(|Failed| Err(io::Error::other("the task failed")));
        let (part, next) = match made {
            Ok((part, next)) => (Ok(part), next.map(|next| (id, next))),
            Err(error) => (Err(error), None),
        };
        let is_first = is_first && part.as_ref().is_ok_and(Bytes::is_empty);
        Some((part, (ids, next, pages, is_first)))
    })
}

fn part(recent: &Recent, id: TraceId, from: usize, is_first: bool, of: Elements) -> io::Result<(Bytes, Option<usize>)> {
    let Some(trace) = recent.trace(id) else { return Ok((Bytes::new(), None)) };
    match of(&trace, from) {
        Ok((elements, next)) if is_first || elements.is_empty() => Ok((elements.into(), next)),
        Ok((elements, next)) => Ok(([b",", &*elements].concat().into(), next)),
        Err(error) => {
            tracing::error!(%error, trace = %id, "cannot write a trace as JSON");
            Err(error.into())
        }
    }
}

fn spans_of(trace: &KeptTrace, from: usize) -> serde_json::Result<(Vec<u8>, Option<usize>)> {
    let spans = trace.spans.get(from..).unwrap_or_default();
    let part = first_part(spans);
    let request = ExportTraceServiceRequest::decode(&*request::encode(part, 0)).map_err(serde_json::Error::custom)?;
    let mut out = Vec::new();
    for mut resource_spans in request.resource_spans {
        if !out.is_empty() {
            out.push(b',');
        }
        make_finite(&mut resource_spans);
        serde_json::to_writer(&mut out, &resource_spans)?;
    }
    Ok((out, Some(from + part.len()).filter(|_| part.len() < spans.len())))
}

/// As many of the spans, at least one, as make a part.
fn first_part(spans: &[FinishedSpan]) -> &[FinishedSpan] {
    let (mut bytes, mut last) = (0, None);
    let fits = |span: &&FinishedSpan| {
        let origin = Arc::as_ptr(span.origin());
        bytes += span.bytes().len() + if last.replace(origin) == Some(origin) { 0 } else { span.origin().held() };
        bytes <= PART
    };
    let len = spans.iter().take_while(fits).count().max(1);
    spans.get(..len).unwrap_or(spans)
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

fn heading_of(trace: &KeptTrace, _: usize) -> serde_json::Result<(Vec<u8>, Option<usize>)> {
    let Summary { trace, root, request, .. } = Summary::new(trace.clone());
    let HttpRequest { method, path, status } = &request;
    let heading = Heading { trace_id: trace.id.to_string(), name: trace.spans[root].view().name, method, path, status };
    Ok((serde_json::to_vec(&heading)?, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::receiver::{ReceivedRequest, RequestSink};
    use crate::export::recent::RecentConfig;
    use http_body_util::BodyExt;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
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

    /// What waits for a slow reader is small, however large the trace is.
    #[tokio::test]
    async fn a_large_trace_is_written_in_parts() {
        let recent = Recent::new(RecentConfig::default());
        let span =
            |n: u8| Span { trace_id: vec![1; 16], span_id: vec![n; 8], name: "n".repeat(1000), ..Default::default() };
        let scope = |service: u8| ScopeSpans {
            spans: (0..200).map(span).collect(),
            schema_url: service.to_string(),
            ..Default::default()
        };
        let resource_spans =
            (0..3).map(|n| ResourceSpans { scope_spans: vec![scope(n)], ..Default::default() }).collect();
        let sent = ExportTraceServiceRequest { resource_spans };
        let request = ReceivedRequest::decode(sent.encode_to_vec().into(), 8 << 20).unwrap();
        recent.accept(&Arc::new(request));
        let pages = Pages { recent: Arc::new(recent), rendering: Arc::new(Semaphore::new(1)) };
        let mut body = response(pages, vec![TraceId::from_bytes([1; 16])]).into_body();
        let (mut whole, mut longest) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            longest = longest.max(data.len());
            whole.extend_from_slice(&data);
        }
        assert!(longest < 2 * PART, "{longest}");
        let read: ExportTraceServiceRequest = serde_json::from_slice(&whole).unwrap();
        let spans = |request: ExportTraceServiceRequest| {
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            let spans =
                scopes.flat_map(|scope| scope.spans.into_iter().map(move |span| (scope.schema_url.clone(), span)));
            spans.collect::<Vec<_>>()
        };
        assert_eq!(spans(read), spans(sent));
    }
}
