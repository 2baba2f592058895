//! The console as a user sees it.

use crate::export_common::{Output, TRACE, TestSpan, context, nineteen_spans, span, until};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanKind, Status, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as ProtoKeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spoa_otel::export::console::{Console, ConsoleConfig};
use spoa_otel::export::receiver::{ReceivedRequest, RequestSink};
use spoa_otel::export::{Exporter, Pipeline, QueueConfig};
use spoa_otel::span::OpenSpans;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

fn width(columns: usize) -> ConsoleConfig {
    ConsoleConfig { width: Some(columns), ..Default::default() }
}

/// What the console prints of these spans until it is shut down.
async fn printed(config: ConsoleConfig, spans: Vec<TestSpan>) -> String {
    let output = Output::default();
    let console = Arc::new(Console::start(config, output.clone()).unwrap());
    let pipeline = Pipeline::new(vec![console]);
    let count = spans.len() as u64;
    for span in spans {
        pipeline.submit(&[span.finished()]);
    }
    let stats = pipeline.shutdown(Duration::from_secs(20)).await;
    assert_eq!(stats[0].1.exported, count);
    assert_eq!(stats[0].1.dropped(), 0);
    output.text()
}

/// The lines without the header, which has tests of its own.
fn body(text: &str) -> Vec<&str> {
    text.lines().skip(1).take_while(|l| !l.is_empty()).collect()
}

#[tokio::test]
async fn nineteen_spans_of_three_services() {
    let text = printed(width(100), nineteen_spans()).await;
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736 · 19 spans · 3 services · 23.4 ms · 2026-11-21T03:50:35.123Z
haproxy-1    HAProxy session                ━━━━━━━━━━━━━━  23.4 ms
haproxy-1    ├ Client session               ━━━━━━━━━━━━━━  23.4 ms
haproxy-1    │ ├ Frontend TCP request       ╸                370 µs
haproxy-1    │ ├ Frontend HTTP request      ╸                410 µs  ↪ follows Frontend TCP request
haproxy-1    │ ├ Backend TCP request        ━                330 µs  ↪ follows Frontend HTTP request
haproxy-1    │ └ Backend HTTP request       ╺╸               750 µs  ↪ follows Backend TCP request
haproxy-1    └ Server session                ━━━━━━━━━━━━━  21.5 ms
haproxy-2      ├ HAProxy session             ╺━━━━━━━━━━━╸  19.2 ms
haproxy-2      │ ├ Client session            ╺━━━━━━━━━━━╸  19.2 ms
haproxy-2      │ │ ├ Frontend TCP request    ╺               370 µs
haproxy-2      │ │ ├ Frontend HTTP request   ╺╸              410 µs  ↪ follows Frontend TCP request
haproxy-2      │ │ ├ Backend TCP request      ╸              330 µs  ↪ follows Frontend HTTP request
haproxy-2      │ │ └ Backend HTTP request     ━              750 µs  ↪ follows Backend TCP request
haproxy-2      │ └ Server session             ╺━━━━━━━━━━╸  17.3 ms
fake-server    │   ├ GET /hello                ━━━━━━━━━╸   14.8 ms  server
haproxy-2      │   ├ TCP response                       ╺╸   880 µs
haproxy-2      │   └ HTTP response                       ╸  10.0 µs  ↪ follows TCP response
haproxy-1      ├ TCP response                            ━   880 µs
haproxy-1      └ HTTP response                           ╺  10.0 µs  ↪ follows TCP response

";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_trace_is_headed_by_its_request() {
    for (method, path, status) in [
        ("http.request.method", "url.path", "http.response.status_code"),
        // As configurations of older conventions have it, with a query.
        ("http.method", "http.url", "http.status_code"),
    ] {
        let mut spans = nineteen_spans();
        for span in &mut spans {
            let own = match (&*span.service, &*span.data.name) {
                ("haproxy-1", "Frontend HTTP request") => {
                    let url = if path == "http.url" { "/shop?token=secret" } else { "/shop" };
                    vec![KeyValue::new(method, "PUT"), KeyValue::new(path, url)]
                }
                ("haproxy-1", "HTTP response") => vec![KeyValue::new(status, 503)],
                // What came of it further on is not what the client saw.
                ("fake-server", _) => {
                    vec![KeyValue::new(method, "GET"), KeyValue::new(path, "/in"), KeyValue::new(status, 200)]
                }
                _ => Vec::new(),
            };
            span.data.attributes.extend(own);
        }
        let text = printed(width(100), spans).await;
        let header = "trace 4bf92f3577b34da6a3ce929d0e0e4736 · PUT /shop 503 · 19 spans · 3 services · 23.4 ms ·";
        assert!(text.starts_with(header), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let mut hostile = span("web", 1, 0, "root", 0, 1);
    hostile.data.attributes = vec![KeyValue::new("url.path", "/a\u{1b}[2J\n"), KeyValue::new("http.method", "GET")];
    let text = printed(width(100), vec![hostile]).await;
    assert!(text.contains(r" · GET /a\u{1b}[2J\n · 1 span · "), "{text}");
}

/// The two spans of a line of HAProxy's log.
fn of_a_line(path: &str) -> Vec<TestSpan> {
    let mut server = span("proxy", 1, 0, "GET", 0, 1_000);
    server.data.span_kind = SpanKind::Server;
    server.data.status = Status::error("");
    let attributes = [("http.request.method", "GET"), ("url.path", path), ("error.type", "503")];
    let attributes = attributes.map(|(name, value)| KeyValue::new(name, value.to_owned()));
    server.data.attributes = attributes.into();
    server.data.attributes.push(KeyValue::new("http.response.status_code", 503));
    let mut client = span("proxy", 2, 1, "GET", 0, 1_000);
    client.data.span_kind = SpanKind::Client;
    client.data.status = Status::error("");
    client.data.attributes = vec![KeyValue::new("error.type", "connect_failed")];
    vec![client, server]
}

#[tokio::test]
async fn a_failure_without_a_message_says_its_type() {
    let text = printed(width(120), of_a_line("/a")).await;
    assert!(text.contains(" · GET /a 503 · 2 spans · "), "{text}");
    assert!(text.contains("✗ 503  server") && text.contains("✗ connect_failed  client"), "{text}");
}

#[tokio::test]
async fn what_was_asked_is_no_wider_than_the_terminal() {
    let long = format!("/{}", "wide漢".repeat(30));
    for (columns, shown) in [(120, 120), (100, 100), (10, 24)] {
        let text = printed(width(columns), of_a_line(&long)).await;
        let (_, title) = text.lines().next().unwrap().split_once(" · ").unwrap();
        let (title, _) = title.split_once(" 503 · 2 spans · ").unwrap();
        assert!(title.starts_with("GET /wide漢") && title.ends_with('…'), "{title}");
        // A wide character may not fit.
        assert!((shown - 1..=shown).contains(&title.width()), "{columns}: {title}");
    }
}

#[tokio::test]
async fn width_decides_what_is_cut_first() {
    let wide = printed(width(140), nineteen_spans()).await;
    let line = wide.lines().nth(4).unwrap();
    let bar = format!("{:<54}", "╺━");
    let expected =
        format!("haproxy-1    │ ├ Frontend HTTP request      {bar}   410 µs  ↪ follows Frontend TCP request");
    assert_eq!(line, expected);

    // Notes are shortened, then cut.
    let narrow = printed(width(80), nineteen_spans()).await;
    assert_eq!(
        narrow.lines().nth(4).unwrap(),
        "haproxy-1    │ ├ Frontend HTTP request      ╸                410 µs  ↪ Frontend…"
    );
    // Then the tree is.
    let tiny = printed(width(56), nineteen_spans()).await;
    assert_eq!(tiny.lines().nth(4).unwrap(), "haproxy-1    │ ├ Frontend HTTP…  ╸                410 µs");
    for (columns, text) in [(140, wide), (80, narrow), (56, tiny)] {
        for line in body(&text) {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}

#[tokio::test]
async fn statuses_kinds_marks_and_links() {
    let mut root = span("web", 1, 0, "root", 0, 2_000_000);
    root.data.status = Status::Ok;
    root.data.span_kind = SpanKind::Server;
    let mut call = span("web", 2, 1, "call", 0, 1_000_000);
    call.data.status = Status::error("no route");
    call.data.span_kind = SpanKind::Client;
    call.data.attributes =
        vec![KeyValue::new("server.address", "not shown"), KeyValue::new("haproxy.span.end", "idle")];
    let mut linked = span("web", 3, 1, "linked", 1_000_000, 1_500_000);
    for target in [context(TRACE, 2), context(TRACE, 0xabc), context(7, 8)] {
        linked.data.links.links.push(Link::with_context(target));
    }
    let mut failed = span("web", 4, 1, "failed", 1_500_000, 1_400_000);
    failed.data.status = Status::error("");
    let spans = vec![root, call, linked, failed];
    let narrow = printed(width(70), spans.clone()).await;
    let expected = "web  ├ call    ━━━━━━━         1.00 s  ✗ no route  client  end=idle";
    assert_eq!(body(&narrow)[1], expected);
    let text = printed(width(160), spans).await;
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736 · 4 spans · 1 service · 2.00 s · 2 errors · 2026-11-21T03:50:35.123Z
web  root      ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  2.00 s  ✓ ok  server
web  ├ call    ━━━━━━━━━━━━━━━━━━━━                      1.00 s  ✗ no route  client  haproxy.span.end=idle
web  ├ linked                      ━━━━━━━━━━            500 ms  ↪ call  ↪ span 0000000000000abc  \
↪ trace 00000000000000000000000000000007 span 0000000000000008
web  └ failed                                ╸             0 ns  ✗ error  ends before it starts

";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn missing_parents_and_cycles() {
    let orphan = span("a", 2, 0xdead, "orphan", 10, 20);
    let second = span("b", 3, 0xdead, "second", 15, 25);
    let child = span("a", 4, 2, "child", 11, 12);
    let one = span("c", 5, 6, "one", 30, 40);
    let other = span("c", 6, 5, "other", 31, 32);
    let text = printed(width(100), vec![second, orphan, child, other, one]).await;
    let expected = [
        "   (parent 000000000000dead not seen)",
        "a  ├ orphan          ━━━━━━━━━━━━━━━━━━╸                                     10.0 µs",
        "a  │ └ child          ━━                                                    1.00 µs",
        "b  └ second                  ╺━━━━━━━━━━━━━━━━━━╸                           10.0 µs",
        "c  one                                                 ━━━━━━━━━━━━━━━━━━━  10.0 µs  its parent is a descendant",
        "c  └ other                                             ╺━╸                  1.00 µs",
    ];
    // Bars are the business of other tests.
    let squeeze = |line: &str| {
        let kept = line.replace(['━', '╸', '╺'], " ");
        kept.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<_> = body(&text).into_iter().map(squeeze).collect();
    assert_eq!(lines, expected.map(squeeze));
}

#[tokio::test]
async fn hostile_texts_cannot_reach_the_terminal() {
    let escape = "\x1b]0;owned\x07\x1b[2J\r\n\u{202e}\u{9b}31m";
    let mut bad = span(escape, 1, 0, escape, 0, 10);
    bad.data.status = Status::error(escape);
    bad.data.attributes = vec![KeyValue::new("haproxy.span.end", escape)];
    let text = printed(width(400), vec![bad]).await;
    let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(hostile), "{text:?}");
    assert_eq!(text.lines().count(), 3);
    let name = "\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\r\\n\\u{202e}\\u{9b}31m";
    assert!(text.contains(&format!("✗ {name}  haproxy.span.end={name}")), "{text}");

    // Wide characters count for two columns, long names are cut.
    let wide = "日本語".repeat(100);
    let text = printed(width(60), vec![span(&wide, 1, 0, &wide, 0, 10)]).await;
    let expected = "日本語日本語日本語…   日本語日本語日…   ━━━━━━━━━━━  10.0 µs";
    assert_eq!(body(&text), [expected]);
}

#[tokio::test]
async fn colours_are_escape_sequences_of_the_console_only() {
    let mut bad = span("s", 1, 0, "n", 0, 10);
    bad.data.status = Status::error("e");
    let config = ConsoleConfig { color: true, ..width(41) };
    let text = printed(config, vec![bad]).await;
    let expected = "\
\x1b[1mtrace 4bf92f3577b34da6a3ce929d0e0e4736\x1b[0m · 1 span · 1 service · 10.0 µs\
\x1b[31m · 1 error\x1b[0m\x1b[2m · 2026-11-21T03:50:35.123Z\x1b[0m
\x1b[36ms\x1b[0m  \x1b[31mn\x1b[0m  \x1b[31m━━━━━━━━━━━━━━━━━━━━━\x1b[0m  10.0 µs  \x1b[31m✗ e\x1b[0m

";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn long_traces_are_cut() {
    let config = ConsoleConfig { max_rows: 2, ..width(100) };
    let spans = (1..=5).map(|id| span("s", id, 0, "n", id, 9)).collect();
    let text = printed(config, spans).await;
    let lines = body(&text);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], "… 3 more");
}

fn received(service: &str, id: u8, parent: u64) -> Arc<ReceivedRequest> {
    let value = any_value::Value::StringValue(service.to_owned());
    let name = ProtoKeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    };
    let span = Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: vec![id; 8],
        parent_span_id: parent.to_be_bytes().to_vec(),
        name: "received".to_owned(),
        start_time_unix_nano: crate::export_common::EPOCH * 1000 + 5_000,
        end_time_unix_nano: crate::export_common::EPOCH * 1000 + 10_000,
        ..Default::default()
    };
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..Default::default() }],
            ..Default::default()
        }],
    };
    Arc::new(ReceivedRequest::decode(message.encode_to_vec().into(), 1 << 20).unwrap())
}

#[tokio::test]
async fn received_spans_join_the_trace() {
    let output = Output::default();
    let console = Arc::new(Console::start(width(60), output.clone()).unwrap());
    let pipeline = Pipeline::new(vec![console.clone()]);
    assert_eq!(console.accept(&received("backend", 7, 1)), 0);
    pipeline.submit(&[span("proxy", 1, 0, "own", 0, 10).finished()]);
    pipeline.shutdown(Duration::from_secs(20)).await;
    let text = output.text();
    let expected = [
        "proxy    own         ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  10.0 µs",
        "backend  └ received                 ━━━━━━━━━━━━━━━  5.00 µs",
    ];
    assert_eq!(body(&text), expected);
}

struct Table(AtomicUsize);

impl OpenSpans for Table {
    fn open_spans(&self, trace_id: TraceId) -> usize {
        assert_eq!(trace_id, TraceId::from(TRACE));
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_trace_waits_for_its_open_spans() {
    let output = Output::default();
    let config = ConsoleConfig { quiet: Duration::from_millis(1), ..width(60) };
    let console = Arc::new(Console::start(config, output.clone()).unwrap());
    let table = Arc::new(Table(AtomicUsize::new(1)));
    console.track_open_spans(Arc::downgrade(&table) as Weak<dyn OpenSpans>);
    console.submit(&[span("s", 2, 1, "child", 5, 10).finished()]);
    // Many quiet times pass; the trace has an open span.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(output.text(), "");
    console.submit(&[span("s", 1, 0, "root", 0, 10).finished()]);
    table.0.store(0, Ordering::SeqCst);
    until("the trace is printed", || output.text().contains("root")).await;
    assert!(output.text().contains("· 2 spans ·"));

    // What comes after that is a continuation.
    console.submit(&[span("s", 3, 1, "late", 5, 10).finished()]);
    until("the late span is printed", || output.text().contains("late")).await;
    assert!(output.text().contains("Z · continued\n"));
    assert_eq!(console.console_stats().traces, 2);

    // At shutdown an open span is no reason to wait.
    table.0.store(1, Ordering::SeqCst);
    console.submit(&[span("s", 4, 1, "last", 5, 10).finished()]);
    let pipeline = Pipeline::new(vec![console]);
    pipeline.shutdown(Duration::from_secs(20)).await;
    assert!(output.text().contains("· continued · printed early: shutdown\n"));
}

#[tokio::test]
async fn the_oldest_trace_makes_room() {
    for (max_traces, max_spans, max_bytes, why) in [
        (2, 100, 1 << 20, "too many traces are held back"),
        (100, 2, 1 << 20, "too many spans are held back"),
        // Two take less, and three more.
        (100, 100, 400, "the spans that are held back are too large"),
    ] {
        let output = Output::default();
        let config = ConsoleConfig { quiet: Duration::MAX, max_traces, max_spans, max_bytes, ..width(60) };
        let console = Console::start(config, output.clone()).unwrap();
        for trace in 1..=3 {
            let mut span = span("s", 1, 0, "n", 0, 10);
            span.data.span_context = context(trace, 1);
            console.submit(&[span.finished()]);
        }
        until("a trace is printed", || output.text().ends_with("\n\n")).await;
        let text = output.text();
        assert!(text.starts_with("trace 00000000000000000000000000000001 "), "{text}");
        assert!(text.contains(&format!("printed early: {why}\n")), "{text}");
        assert_eq!(console.console_stats().evicted, 1);
        assert_eq!(console.stats().exported, 1);
        assert_eq!(console.stats().pending(), 2);
    }
}

/// An output that is stuck until its other end is dropped.
struct Stuck(mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stuck_output_costs_spans_and_nothing_else() {
    let (release, stuck) = mpsc::channel();
    let config = ConsoleConfig {
        quiet: Duration::ZERO,
        queue: QueueConfig { max_spans: 10, batch_delay: Duration::ZERO, ..Default::default() },
        ..width(60)
    };
    let console = Arc::new(Console::start(config, Stuck(stuck)).unwrap());
    for trace in 1.. {
        let mut span = span("s", 1, 0, "n", 0, 10);
        span.data.span_context = context(trace, 1);
        console.submit(&[span.finished()]);
        tokio::task::yield_now().await;
        if console.stats().dropped_queue_full > 0 {
            break;
        }
    }
    // A shutdown does not wait for it longer than it may.
    let pipeline = Pipeline::new(vec![console.clone()]);
    let stats = pipeline.shutdown(Duration::from_millis(20)).await[0].1;
    assert_eq!(stats.exported, 0);
    assert_eq!(stats.pending(), 0);
    assert!(stats.dropped_shutdown > 0);
    drop(release);
}
