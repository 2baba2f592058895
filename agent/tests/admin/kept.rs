//! Traces for the tests of `/traces`, and a server for its page.
#![allow(dead_code)] // every test file uses a part

use crate::export_common::{EPOCH, TRACE, TestSpan, context, nineteen_spans, span};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, Link, SpanContext, SpanKind, Status, TraceFlags, TraceId, TraceState};
use spoa_otel::export::Exporter;
use spoa_otel::export::recent::Recent;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) const FAILED: u128 = 0xfa11_ed00_0000_0000_0000_0000_0000_0001;
pub(crate) const DENIED: u128 = 0xde21_ed00_0000_0000_0000_0000_0000_0002;
pub(crate) const HOSTILE: u128 = 0x4057_11e0_0000_0000_0000_0000_0000_0003;

/// Texts as a hostile client puts them into a header. Those that are run would change the page's title.
pub(crate) const ATTACKS: [&str; 8] = [
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\">",
    "'><svg/onload=document.title='owned'>",
    "</td></table></details></main><h1>owned</h1>",
    "javascript:document.title='owned'",
    "{{ 7 * 7 }}{% raw %}",
    "\u{202e}gnp.exe\u{2066}\u{200b}",
    "\u{0}\u{1b}[2J\r\nSet-Cookie: owned=1",
];

/// The same spans in another trace.
pub(crate) fn in_trace(spans: Vec<TestSpan>, trace: u128) -> Vec<TestSpan> {
    let moved = |old: &SpanContext| {
        let state = TraceState::default();
        SpanContext::new(TraceId::from(trace), old.span_id(), TraceFlags::SAMPLED, false, state)
    };
    let of_span = |mut span: TestSpan| {
        span.data.span_context = moved(&span.data.span_context);
        for link in &mut span.data.links.links {
            link.span_context = moved(&link.span_context);
        }
        span
    };
    spans.into_iter().map(of_span).collect()
}

fn set(span: &mut TestSpan, attributes: &[(&'static str, &str)]) {
    let attributes = attributes.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
    span.data.attributes.extend(attributes);
}

/// A request over two HAProxys to a server, with what `spoe.cfg` says of it.
pub(crate) fn good() -> Vec<TestSpan> {
    let mut spans = nineteen_spans();
    for span in &mut spans {
        let name = span.data.name.clone().into_owned();
        match &*name {
            "HAProxy session" => {
                span.data.span_kind = SpanKind::Server;
                set(span, &[("client.address", "192.0.2.17"), ("haproxy.frontend.name", "www")]);
            }
            "Server session" => {
                span.data.span_kind = SpanKind::Client;
                set(span, &[("server.address", "198.51.100.4"), ("haproxy.backend.name", "servers")]);
            }
            "Backend HTTP request" | "GET /hello" => {
                set(span, &[("http.request.method", "GET"), ("url.path", "/hello"), ("user_agent.original", "curl/8")]);
                span.data.attributes.push(KeyValue::new("http.response.status_code", 200));
            }
            _ => {}
        }
        if name == "GET /hello" {
            let at = span.data.start_time + std::time::Duration::from_millis(6);
            let event = Event::new("cache.miss", at, vec![KeyValue::new("cache.key", "/hello")], 0);
            span.data.events.events.push(event);
        }
    }
    spans
}

/// A request whose server closed the connection.
pub(crate) fn failed() -> Vec<TestSpan> {
    let mut root = span("haproxy-1", 1, 0, "GET /cart", 2_000_000, 2_031_000);
    root.data.span_kind = SpanKind::Server;
    set(&mut root, &[("url.path", "/cart"), ("haproxy.termination_state", "SH--")]);
    root.data.status = Status::error("502: the server closed the connection");
    let mut call = span("haproxy-1", 2, 1, "GET", 2_004_000, 2_030_000);
    call.data.span_kind = SpanKind::Client;
    call.data.status = Status::error("");
    in_trace(vec![call, root], FAILED)
}

/// A request that HAProxy answered itself: no message ended its spans.
pub(crate) fn denied() -> Vec<TestSpan> {
    let mut root = span("haproxy-2", 1, 0, "HAProxy session", 3_000_000, 123_000_000);
    let mut child = span("haproxy-2", 2, 1, "Client session", 3_000_000, 123_000_000);
    for span in [&mut root, &mut child] {
        set(span, &[("haproxy.span.end", "idle")]);
    }
    let order = [("http.method", "POST"), ("http.url", "/order?token=abc"), ("http.status_code", "503")];
    set(&mut child, &order);
    in_trace(vec![child, root], DENIED)
}

/// Whatever can be hostile is.
pub(crate) fn hostile() -> Vec<TestSpan> {
    let mut spans = Vec::new();
    for (index, attack) in ATTACKS.into_iter().enumerate() {
        let id = index as u64 + 1;
        let mut span = span(attack, id, id.saturating_sub(1), attack, 4_000_000 + id * 100, 4_009_000);
        span.data.attributes = vec![KeyValue::new(attack, attack), KeyValue::new("haproxy.span.end", attack)];
        span.data.status = Status::error(attack);
        span.data.events.events.push(Event::new(attack, span.data.start_time, vec![KeyValue::new(attack, attack)], 0));
        span.data.links.links.push(Link::new(context(TRACE, 0x100), vec![KeyValue::new(attack, attack)], 0));
        span.data.links.links.push(Link::new(context(1, 1), Vec::new(), 0));
        spans.push(span);
    }
    let long = "very long ".repeat(3000);
    spans[0].data.attributes.push(KeyValue::new("long", long));
    spans[0].data.attributes.push(KeyValue::new("unbroken", "0123456789abcdef".repeat(40)));
    spans[0].data.attributes.push(KeyValue::new("hebrew", "שלום, עולם (1)"));
    let links: Vec<_> = spans.iter().map(|span| span.data.links.links.clone()).collect();
    let mut spans = in_trace(spans, HOSTILE);
    for (span, links) in spans.iter_mut().zip(links) {
        span.data.links.links = links;
    }
    spans
}

pub(crate) fn submit(recent: &Recent, spans: Vec<TestSpan>) {
    recent.submit(&spans.iter().map(TestSpan::finished).collect::<Vec<_>>());
}

/// A memory with all of these, the good one twice.
pub(crate) fn filled() -> Arc<Recent> {
    let recent = Arc::new(Recent::new(Default::default()));
    for spans in [good(), in_trace(good(), 0xab_cdef), failed(), denied(), hostile()] {
        submit(&recent, spans);
    }
    recent
}

/// Serves the page of a memory until the test's runtime ends.
pub(crate) async fn serve(recent: Arc<Recent>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = spoa_otel::admin::traces::router(recent);
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

/// Microseconds of the tests' times, as OTLP has them.
pub(crate) fn nanos(micros: u64) -> u64 {
    (EPOCH + micros) * 1000
}
