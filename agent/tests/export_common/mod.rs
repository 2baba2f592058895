//! Spans and helpers for the tests of the export path.
#![allow(dead_code)] // every test file uses a part

#[path = "../../runtime/tests/common/authority.rs"]
pub(crate) mod authority;
pub(crate) mod collector;
#[path = "../span_support/mod.rs"]
mod span_support;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
pub(crate) use span_support::TestSpan;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
/// 2026-11-21T03:50:35.123Z, in microseconds.
pub(crate) const EPOCH: u64 = 1_795_233_035_123_000;

/// A time, in microseconds after [`EPOCH`].
pub(crate) fn at(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(EPOCH + micros)
}

pub(crate) fn context(trace: u128, id: u64) -> SpanContext {
    SpanContext::new(TraceId::from(trace), SpanId::from(id), TraceFlags::SAMPLED, false, TraceState::default())
}

pub(crate) fn span(service: &str, id: u64, parent: u64, name: &str, start: u64, end: u64) -> TestSpan {
    TestSpan {
        service: service.into(),
        tracestate: None,
        data: SpanData {
            span_context: context(TRACE, id),
            parent_span_id: SpanId::from(parent),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.to_owned().into(),
            start_time: at(start),
            end_time: at(end),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("spop-agent").with_version("0.1.0").build(),
        },
    }
}

/// Links a span to another one of its trace by a follows-from reference.
pub(crate) fn follows(mut span: TestSpan, target: u64) -> TestSpan {
    let attribute = KeyValue::new("opentracing.ref_type", "follows_from");
    let link = Link::new(context(TRACE, target), vec![attribute], 0);
    span.data.links.links.push(link);
    span
}

/// The nine spans of one HAProxy, ids from `id` on, within `start..end`, in the
/// order in which they end.
pub(crate) fn nine_spans(service: &str, id: u64, parent: u64, start: u64, end: u64) -> Vec<TestSpan> {
    let s = |n: u64, parent, name, from, to| span(service, id + n, parent, name, from, to);
    let client = id + 1;
    let server = id + 6;
    let phase = |n, name, from, to| s(n, client, name, start + from, start + to);
    vec![
        phase(2, "Frontend TCP request", 40, 410),
        follows(phase(3, "Frontend HTTP request", 410, 820), id + 2),
        follows(phase(4, "Backend TCP request", 820, 1150), id + 3),
        follows(phase(5, "Backend HTTP request", 1150, 1900), id + 4),
        s(7, server, "TCP response", end - 900, end - 20),
        follows(s(8, server, "HTTP response", end - 30, end - 20), id + 7),
        s(6, id, "Server session", start + 1900, end - 20),
        s(1, id, "Client session", start, end),
        s(0, parent, "HAProxy session", start, end),
    ]
}

/// The number of spans in a request.
pub(crate) fn spans_in(request: &ExportTraceServiceRequest) -> usize {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|scope| scope.spans.len()).sum()
}

pub(crate) fn nineteen_spans() -> Vec<TestSpan> {
    let mut spans = nine_spans("haproxy-2", 0x200, 0x106, 2_600, 21_800);
    spans.extend(nine_spans("haproxy-1", 0x100, 0, 0, 23_400));
    let mut server = span("fake-server", 0x300, 0x206, "GET /hello", 5_300, 20_100);
    server.data.span_kind = SpanKind::Server;
    spans.push(server);
    spans
}

/// An output that can be read while it is written.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged on this thread while it is kept.
pub(crate) struct CapturedLog {
    output: Output,
    _guard: tracing::subscriber::DefaultGuard,
}

impl CapturedLog {
    pub(crate) fn start() -> Self {
        // Without any subscriber a place that logs may be switched off for good by another test's thread that comes by.
        static ALL_ON: Once = Once::new();
        ALL_ON.call_once(|| {
            let nowhere = tracing_subscriber::fmt().with_writer(io::sink).finish();
            tracing::subscriber::set_global_default(nowhere).unwrap();
        });
        let output = Output::default();
        let writer = output.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Self { output, _guard: tracing::subscriber::set_default(log) }
    }

    pub(crate) fn text(&self) -> String {
        self.output.text()
    }
}

/// Waits until a condition holds; fails after 20 seconds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not reached: {what}");
}
