//! Finished spans as the SDK's structures: made of them by the SDK's own conversion, and turned back into them.
#![allow(dead_code)] // every test binary uses a part

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;
use spoa_otel::span::{FinishedSpan, Origins};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

/// A span with what the SDK's structure does not have.
#[derive(Clone, Debug)]
pub(crate) struct TestSpan {
    pub(crate) service: Arc<str>,
    /// Of the span and of its links.
    pub(crate) tracestate: Option<Arc<str>>,
    pub(crate) data: SpanData,
}

impl TestSpan {
    /// What the SDK makes of it.
    pub(crate) fn finished(&self) -> FinishedSpan {
        static ORIGINS: LazyLock<Origins> = LazyLock::new(Origins::default);
        let mut span = otlp::Span::from(self.data.clone());
        if let Some(tracestate) = &self.tracestate {
            span.links.iter_mut().for_each(|link| link.trace_state = tracestate.to_string());
            span.trace_state = tracestate.to_string();
        }
        FinishedSpan::new(ORIGINS.of(&self.service), self.data.span_context.trace_id(), &span.encode_to_vec())
    }

    /// What the SDK would have made it of; the bytes are those that the SDK makes.
    pub(crate) fn of(finished: &FinishedSpan) -> Self {
        let span = otlp::Span::decode(finished.bytes()).unwrap();
        let tracestate = Some(Arc::from(&*span.trace_state)).filter(|state: &Arc<str>| !state.is_empty());
        let mut events = SpanEvents::default();
        events.events = span.events.iter().map(event).collect();
        events.dropped_count = span.dropped_events_count;
        let mut links = SpanLinks::default();
        links.links = span.links.iter().map(link).collect();
        links.dropped_count = span.dropped_links_count;
        let data = SpanData {
            span_context: context(&span.trace_id, &span.span_id, span.flags & !REMOTE),
            parent_span_id: span_id(&span.parent_span_id),
            parent_span_is_remote: span.flags & REMOTE != 0,
            span_kind: match span.kind() {
                otlp::span::SpanKind::Server => SpanKind::Server,
                otlp::span::SpanKind::Client => SpanKind::Client,
                otlp::span::SpanKind::Producer => SpanKind::Producer,
                otlp::span::SpanKind::Consumer => SpanKind::Consumer,
                otlp::span::SpanKind::Internal => SpanKind::Internal,
                otlp::span::SpanKind::Unspecified => panic!("{span:?}"),
            },
            name: span.name.clone().into(),
            start_time: UNIX_EPOCH + Duration::from_nanos(span.start_time_unix_nano),
            end_time: UNIX_EPOCH + Duration::from_nanos(span.end_time_unix_nano),
            attributes: attributes(&span.attributes),
            dropped_attributes_count: span.dropped_attributes_count,
            events,
            links,
            status: match span.status.as_ref().map(|status| (status.code(), &status.message)) {
                Some((otlp::status::StatusCode::Ok, _)) => Status::Ok,
                Some((otlp::status::StatusCode::Error, message)) => Status::error(message.clone()),
                _ => Status::Unset,
            },
            instrumentation_scope: InstrumentationScope::default(),
        };
        let decoded = TestSpan { service: finished.origin().service().into(), tracestate, data };
        assert_eq!(decoded.finished().bytes(), finished.bytes(), "{span:?}");
        assert_eq!(decoded.data.span_context.trace_id(), finished.trace_id());
        decoded
    }
}

const REMOTE: u32 = otlp::SpanFlags::ContextIsRemoteMask as u32;

fn trace_id(bytes: &[u8]) -> TraceId {
    TraceId::from_bytes(bytes.try_into().unwrap())
}

fn span_id(bytes: &[u8]) -> SpanId {
    bytes.try_into().map_or(SpanId::INVALID, SpanId::from_bytes)
}

fn context(trace: &[u8], span: &[u8], flags: u32) -> SpanContext {
    let is_remote = flags & REMOTE != 0;
    SpanContext::new(trace_id(trace), span_id(span), TraceFlags::new(flags as u8), is_remote, TraceState::NONE)
}

fn event(event: &otlp::span::Event) -> Event {
    let at = UNIX_EPOCH + Duration::from_nanos(event.time_unix_nano);
    Event::new(event.name.clone(), at, attributes(&event.attributes), event.dropped_attributes_count)
}

fn link(link: &otlp::span::Link) -> Link {
    let context = context(&link.trace_id, &link.span_id, link.flags);
    Link::new(context, attributes(&link.attributes), link.dropped_attributes_count)
}

fn attributes(attributes: &[common::KeyValue]) -> Vec<KeyValue> {
    use common::any_value::Value as Any;
    let attribute = |attribute: &common::KeyValue| {
        let value = match attribute.value.as_ref().and_then(|value| value.value.clone()) {
            Some(Any::StringValue(text)) => Value::from(text),
            Some(Any::BoolValue(value)) => Value::Bool(value),
            Some(Any::IntValue(value)) => Value::I64(value),
            Some(Any::DoubleValue(value)) => Value::F64(value),
            other => panic!("{other:?}"),
        };
        KeyValue::new(attribute.key.clone(), value)
    };
    attributes.iter().map(attribute).collect()
}
