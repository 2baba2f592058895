//! Traces as OTLP JSON, as the specification of OTLP defines it and Jaeger's
//! page takes it: an `ExportTraceServiceRequest`.

use super::{hex, Body, Failed, HeaderValue, IntoResponse, Pages, Response, CONTENT_TYPE};
use crate::export::memory::{KeptTrace, Memory};
use axum::body::Bytes;
use futures_util::stream::{self, StreamExt};
use opentelemetry_proto::tonic::common::v1::{any_value::Value, AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

/// The traces, made one at a time while they are sent.
pub(super) fn response(pages: Pages, traces: Vec<KeptTrace>) -> Response {
    let parts = stream::iter(traces.into_iter().enumerate()).then(move |(index, trace)| {
        let pages = pages.clone();
        async move {
            let part = pages.run(move |memory| part(memory, &trace, index == 0)).await;
            part.unwrap_or_else(|Failed| Err(std::io::Error::other("the task failed")))
        }
    });
    let begin = stream::iter([Ok(Bytes::from_static(br#"{"resourceSpans":["#))]);
    let end = stream::iter([Ok(Bytes::from_static(b"]}\n"))]);
    let body = Body::from_stream(begin.chain(parts).chain(end));
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// The elements of `resourceSpans` of a trace.
fn part(memory: &Memory, trace: &KeptTrace, is_first: bool) -> std::io::Result<Bytes> {
    let mut out = Vec::new();
    for mut resource_spans in memory.request(trace).resource_spans {
        if !(is_first && out.is_empty()) {
            out.push(b',');
        }
        make_finite(&mut resource_spans);
        if let Err(error) = serde_json::to_writer(&mut out, &resource_spans) {
            tracing::error!(%error, trace = hex(trace.id), "cannot write a trace as JSON");
            return Err(error.into());
        }
    }
    Ok(out.into())
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
