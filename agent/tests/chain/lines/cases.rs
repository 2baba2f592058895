//! Each row of the table: HAProxy's versions, who makes the ids, how the lines travel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

use super::client::{Client, Seen, get, headers, hello};
use super::table::{How, Row, Side, rows};
use super::{Mode, Proxy, Setup, Transport, case, with_each};
use crate::haproxy::Program;
use crate::process::PATIENCE;
use crate::scrape::Metrics;
use crate::spans::{Span, names};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;

/// No clock is so far from another one, however busy the machine.
const SLACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn with_ids_of_the_agent() {
    of_all_versions(Mode::Lean, Transport::Udp).await;
    of_all_versions(Mode::Lean, Transport::Ring).await;
}

#[tokio::test]
async fn with_ids_of_haproxy() {
    of_all_versions(Mode::LogOnly, Transport::Udp).await;
    of_all_versions(Mode::LogOnly, Transport::Ring).await;
}

#[tokio::test]
async fn with_ids_of_haproxy_while_the_agent_is_away() {
    of_all_versions(Mode::Fallback, Transport::Udp).await;
}

async fn of_all_versions(mode: Mode, transport: Transport) {
    with_each(async |program| of_version(program, mode, transport).await).await;
}

async fn of_version(program: Program, mode: Mode, transport: Transport) {
    let tested = program.tested(mode.suite());
    let proxy = Proxy::start(&program, Setup::of(mode, transport)).await;
    let rows = rows(program.version);
    let (seen, unread) =
        futures_util::future::join(join_all(rows.iter().map(|row| case::run(&proxy, row))), unread(&proxy)).await;
    let requests = proxy.warm_up + rows.iter().map(|row| 1 + row.beside()).sum::<usize>();

    // Everything is counted: each line, and what became of it.
    let of_unread = if program.version >= (3, 2) { unread.lines + 1 } else { unread.lines };
    let lines = (requests + of_unread) as f64;
    let arrived = |metrics: &Metrics| metrics.get("log_lines_total{result=\"ours\"}") >= lines;
    let what = format!("{program:?} {mode:?} {transport:?}: {lines} lines");
    let metrics = Metrics::scrape_until(&proxy.spoa.admin, &what, arrived).await;
    let what = format!("{what}\n{}", metrics.about("log_"));
    assert_eq!(metrics.get("log_lines_total{result=\"ours\"}"), lines, "{what}");
    assert_eq!(metrics.sum("log_requests_total", ""), lines, "{what}");
    assert_eq!(metrics.get("log_requests_total{outcome=\"traced\"}"), requests as f64, "{what}");
    assert_eq!(metrics.get("log_requests_total{outcome=\"no_request\"}"), of_unread as f64, "{what}");
    for result in ["cut", "malformed"] {
        assert_eq!(metrics.sum("log_lines_total", result), 0.0, "{what}: {result}");
    }

    let spans = proxy.collector.wait_for(metrics.get("log_spans_total") as usize).await;
    assert_eq!(spans.iter().filter(|span| span.proto.kind == SERVER).count(), requests, "{what}");
    // Each request over HTTP is measured as well, and those to servers.
    let measured = Metrics::scrape(&proxy.spoa.admin).await;
    for (side, kind) in [("server", SERVER), ("client", CLIENT)] {
        let is_http = |span: &&Span| span.proto.kind == kind && span.tag("network.transport").is_none();
        assert_eq!(measured.requests(side), spans.iter().filter(is_http).count() as f64, "{what}: {side}");
    }
    for (row, seen) in rows.iter().zip(&seen) {
        check(&proxy, row, seen, &spans, &format!("{program:?} {mode:?} {transport:?} {row:?}"));
    }
    tested.passed();
}

/// What HAProxy logs, or does not, without a request.
struct Unread {
    /// Lines of it; one more from 3.2 on.
    lines: usize,
}

async fn unread(proxy: &Proxy) -> Unread {
    let Proxy { addresses, .. } = proxy;
    // A line each.
    assert_eq!(get(&addresses.http, "/tcp-reject").await.status, None);
    let mut no_path = Client::connect(&addresses.h2).await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "cases.test")];
    no_path.send(&[hello(), headers(1, &fields)].concat()).await;
    no_path.until(b"never", Duration::from_millis(200)).await;
    no_path.close();
    get(&addresses.h2, "/http1-here").await;
    // A handshake that fails: a line with our element from 3.2 on.
    get(&addresses.tls, "/no-handshake").await;
    // None at all.
    Client::connect(&addresses.http).await.close();
    assert_eq!(get(&addresses.http, "/monitor").await.status, Some(200));
    Unread { lines: 3 }
}

fn check(proxy: &Proxy, row: &Row, seen: &Seen, spans: &[Span], what: &str) {
    assert_eq!(seen.status, row.answer, "{what}");
    let port = Some(seen.port.to_string());
    let path = (!row.path.is_empty()).then(|| row.path.to_owned());
    let is_it =
        |span: &&Span| span.proto.kind == SERVER && span.tag("client.port") == port && span.tag("url.path") == path;
    let found: Vec<_> = spans.iter().filter(is_it).collect();
    let [server] = found[..] else { panic!("{what}: {} SERVER spans of it: {:#?}", found.len(), names(spans)) };
    assert_side(server, row.server, what);
    assert_eq!(server.service, "proxy", "{what}");
    assert_eq!(server.parent, "", "{what}");
    assert_eq!(server.name, name(row), "{what}");
    assert_eq!(server.tag("network.protocol.version").as_deref(), http_version(row), "{what}");
    let termination = (row.ts != "--").then(|| row.ts.to_owned());
    assert_eq!(server.tag("haproxy.termination_state"), termination, "{what}");
    if let Some(told) = &seen.trace_id {
        assert_eq!(*told, server.trace_id, "{what}");
    }
    let of_trace = || spans.iter().filter(|span| span.trace_id == server.trace_id);
    let client = of_trace().find(|span| span.proto.kind == CLIENT);
    assert_eq!(of_trace().count(), 1 + usize::from(row.client.is_some()), "{what}: {:#?}", names(spans));
    assert_eq!(client.is_some(), row.client.is_some(), "{what}");
    if let (Some(client), Some(side)) = (client, row.client) {
        assert_side(client, side, what);
        assert_eq!(client.parent, server.span_id, "{what}");
        assert_eq!(client.name, name(row).split(' ').next().unwrap(), "{what}");
        let resends = row.resends.map(|n| n.to_string());
        assert_eq!(client.tag("http.request.resend_count"), resends, "{what}");
        check_server(proxy, row, client, what);
    }
    check_times(row, seen, server, client, what);
}

fn name(row: &Row) -> &'static str {
    match row.how {
        How::Tcp => "TCP",
        _ if !row.was_read() => "HTTP",
        How::Post | How::HalfBody | How::Http2HalfBody => "POST",
        _ if row.path.starts_with("/orders/") => "GET /orders/{id}",
        _ => "GET",
    }
}

fn http_version(row: &Row) -> Option<&'static str> {
    match row.how {
        _ if !row.was_read() => None,
        How::Http2 | How::Http2HalfBody | How::ResetStream => Some("2"),
        _ => Some("1.1"),
    }
}

fn assert_side(span: &Span, (status, error): Side, what: &str) {
    let code = span.proto.status.as_ref().map_or(0, |status| status.code);
    assert_eq!(span.tag("http.response.status_code"), status.map(|n| n.to_string()), "{}: {what}", span.proto.kind);
    assert_eq!(span.tag("error.type").as_deref(), error, "{}: {what}", span.proto.kind);
    assert_eq!(code == ERROR, error.is_some(), "{}: {what}", span.proto.kind);
}

/// The server was told whose child its span is.
fn check_server(proxy: &Proxy, row: &Row, client: &Span, what: &str) {
    let of_request =
        |hit: &crate::origin::Hit| hit.header("traceparent").is_some_and(|value| value.contains(&client.trace_id));
    let hits = proxy.origin.hits();
    let Some(hit) = hits.iter().rfind(|hit| of_request(hit)) else {
        // Whom no server answered, and TCP.
        assert!(["/refuse", "/full"].contains(&row.path) || row.how == How::Tcp, "{what}");
        return;
    };
    let traceparent = format!("00-{}-{}-03", client.trace_id, client.span_id);
    assert_eq!(hit.header("traceparent"), Some(traceparent), "{what}");
    assert!(start(client) <= hit.at + SLACK && hit.at <= end(client) + SLACK, "{what}");
}

/// Each instant where it belongs; `times.rs` says how exactly.
fn check_times(row: &Row, seen: &Seen, server: &Span, client: Option<&Span>, what: &str) {
    assert!(start(server) < end(server), "{what}");
    assert!(seen.sent <= start(server) + SLACK, "{what}");
    assert!(start(server) <= seen.done + SLACK && end(server) <= seen.done + SLACK, "{what}");
    if let Some(client) = client {
        assert!(start(server) <= start(client) && start(client) <= end(client), "{what}");
        assert_eq!(end(client), end(server), "{what}");
    }
    let least = match row.how {
        How::WebSocket | How::Dropped => Duration::from_millis(200),
        How::HalfBody | How::Http2HalfBody => Duration::from_millis(300),
        How::Queued => Duration::from_millis(400),
        How::HalfRequest => Duration::from_millis(500),
        _ if row.path.starts_with("/short/stall") => Duration::from_millis(400),
        _ => return,
    };
    let took = end(server).duration_since(start(server)).unwrap();
    // A drop is over at once for HAProxy, and only its client waits.
    assert!(took + Duration::from_millis(50) >= least || row.how == How::Dropped, "{took:?}: {what}");
    assert!(took < PATIENCE, "{took:?}: {what}");
}

pub fn start(span: &Span) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(span.proto.start_time_unix_nano)
}

pub fn end(span: &Span) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(span.proto.end_time_unix_nano)
}
