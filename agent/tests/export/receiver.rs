//! The OTLP receiver.

use crate::export_common::until;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spoa_otel::export::receiver::{ReceivedRequest, Receiver, ReceiverConfig, RequestSink};
use spop_agent::tls::TlsResult;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Takes requests; rejects a fixed number of spans of each.
#[derive(Default)]
struct Sink {
    requests: Mutex<Vec<Arc<ReceivedRequest>>>,
    rejects: usize,
}

impl RequestSink for Sink {
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        self.requests.lock().unwrap().push(request.clone());
        self.rejects
    }
}

pub async fn receiver(config: ReceiverConfig, sinks: Vec<Arc<dyn RequestSink>>) -> Receiver {
    let addr = "127.0.0.1:0";
    Receiver::bind(addr, config, sinks).await.unwrap()
}

/// An encoded request with this many spans, and a field that this version of
/// OTLP does not know.
pub fn request(spans: u8) -> Vec<u8> {
    let span = |id| Span {
        trace_id: vec![9; 16],
        span_id: vec![id; 8],
        name: format!("span {id}"),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Default::default()
    };
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: (1..=spans).map(span).collect(), ..Default::default() }],
            ..Default::default()
        }],
    };
    let mut bytes = message.encode_to_vec();
    // Field 1000, varint 1.
    bytes.extend([0xc0, 0x3e, 0x01]);
    bytes
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

async fn exchange(addr: SocketAddr, head: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    read_reply(&mut stream).await
}

async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: bytes[split + 4..].to_vec(),
    }
}

pub async fn post(addr: SocketAddr, headers: &[&str], body: &[u8]) -> Reply {
    let headers: String = headers.iter().map(|h| format!("\r\n{h}")).collect();
    let head = format!("POST /v1/traces HTTP/1.1\r\ncontent-length: {}{headers}", body.len());
    exchange(addr, &head, body).await
}

pub const PROTOBUF: &str = "content-type: application/x-protobuf";

/// Its browser says whose page it is.
#[tokio::test]
async fn pages_of_the_web_cannot_post() {
    let sink = Arc::new(Sink::default());
    let receiver = receiver(ReceiverConfig::default(), vec![sink.clone()]).await;
    let addr = receiver.addrs()[0];
    for origin in ["origin: https://evil.example", "origin: http://localhost:3000", "origin: null"] {
        assert_eq!(post(addr, &[PROTOBUF, origin], &request(1)).await.status, 403, "{origin}");
    }
    // A preflight is answered without leave.
    let head = "OPTIONS /v1/traces HTTP/1.1\r\naccess-control-request-method: POST\r\norigin: https://evil.example";
    let reply = exchange(addr, head, b"").await;
    assert!(reply.status == 403 && !reply.head.contains("access-control"), "{}", reply.head);
    assert_eq!(post(addr, &[PROTOBUF], &request(1)).await.status, 200);
    assert_eq!(sink.requests.lock().unwrap().len(), 1);
    assert_eq!(receiver.stats().http.cross_origin, 4);
}

/// TLS where there is none is told apart from broken HTTP.
#[tokio::test]
async fn tls_where_there_is_none_is_counted() {
    let receiver = receiver(ReceiverConfig::default(), Vec::new()).await;
    for (first, unexpected) in [(&b"\x16\x03\x01\x00\x05"[..], 1), (b"\x16\x04", 1), (b"\x16\x03", 2)] {
        let mut stream = TcpStream::connect(receiver.addrs()[0]).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        assert_eq!(receiver.tls_stats().get(TlsResult::Unexpected), unexpected);
    }
}

#[tokio::test]
async fn spans_are_taken_plain_and_compressed() {
    let sink = Arc::new(Sink::default());
    let receiver = receiver(ReceiverConfig::default(), vec![sink.clone()]).await;
    let addr = receiver.addrs()[0];
    let plain = request(2);
    let upper = "Content-Type: Application/X-Protobuf; v=1";
    for (headers, body) in [
        (&[PROTOBUF][..], plain.clone()),
        (&[upper, "content-encoding: identity"], plain.clone()),
        (&[PROTOBUF, "content-encoding: gzip"], gzip(&plain)),
    ] {
        let reply = post(addr, headers, &body).await;
        assert_eq!(reply.status, 200);
        assert!(reply.head.contains(PROTOBUF), "{}", reply.head);
        let response = ExportTraceServiceResponse::decode(&reply.body[..]).unwrap();
        assert_eq!(response.partial_success, None);
        let taken = sink.requests.lock().unwrap().pop().unwrap();
        assert_eq!(taken.body, plain);
        assert_eq!(taken.spans.len(), 2);
    }
    let stats = receiver.stats();
    assert_eq!((stats.requests, stats.spans), (3, 6));
    assert_eq!((stats.rejected_requests, stats.rejected_spans), (0, 0));
    receiver.shutdown(Duration::from_secs(20)).await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn bad_requests_get_the_error_that_says_why() {
    let config = ReceiverConfig { max_body: 1000, max_decoded: 20_000, ..Default::default() };
    let sink = Arc::new(Sink::default());
    let receiver = receiver(config, vec![sink.clone()]).await;
    let addr = receiver.addrs()[0];
    let gzipped = "content-encoding: gzip";
    let zeros = vec![0; 100_000];
    let empty_spans = [[0x12, 0]; 300].concat();
    let empty_spans = [&[0x0a, 0xdb, 4, 0x12, 0xd8, 4], &empty_spans[..]].concat();
    let cases: [(&[&str], &[u8], u16, &str); 10] = [
        (&[], &request(1), 415, "content type \"none\""),
        (&["content-type: text/plain"], b"{}", 415, "only application/x-protobuf and application/json"),
        (&[PROTOBUF, "content-encoding: br"], &request(1), 415, "only gzip and zstd"),
        (&[PROTOBUF], b"not protobuf", 400, "invalid ExportTraceServiceRequest"),
        (&[PROTOBUF], &request(1)[..10], 400, "invalid ExportTraceServiceRequest"),
        (&[PROTOBUF, gzipped], &request(1), 400, "invalid gzip data"),
        (&[PROTOBUF, gzipped], &gzip(&request(1))[..30], 400, "invalid gzip data"),
        (&[PROTOBUF], &zeros[..1001], 413, "exceeds 1000 bytes"),
        // Small until it is decoded.
        (&[PROTOBUF], &empty_spans, 413, "decoded request exceeds 20000 bytes"),
        // Small on the wire only.
        (&[PROTOBUF, gzipped], &gzip(&zeros), 413, "exceeds 1000 bytes"),
    ];
    let count = cases.len() as u64;
    for (headers, body, status, text) in cases {
        let reply = post(addr, headers, body).await;
        assert_eq!(reply.status, status, "{text}");
        assert!(reply.head.contains(PROTOBUF), "{}", reply.head);
        let error = tonic_types::Status::decode(&reply.body[..]).unwrap();
        assert!(error.message.contains(text), "{}", error.message);
        assert_eq!(error.code, tonic::Code::InvalidArgument as i32);
    }
    assert_eq!(receiver.stats().rejected_requests, count);
    for (head, status) in [
        ("GET /v1/traces HTTP/1.1", 405),
        ("POST /v1/logs HTTP/1.1\r\ncontent-length: 0", 404),
        ("GET / HTTP/1.1", 404),
        ("nonsense", 400),
    ] {
        assert_eq!(exchange(addr, head, b"").await.status, status, "{head}");
    }
    assert!(sink.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn dropped_spans_are_reported_to_the_sender() {
    let full = Arc::new(Sink { rejects: 2, ..Default::default() });
    let receiver = receiver(ReceiverConfig::default(), vec![Arc::<Sink>::default(), full]).await;
    let reply = post(receiver.addrs()[0], &[PROTOBUF], &request(2)).await;
    let response = ExportTraceServiceResponse::decode(&reply.body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!((reply.status, partial.rejected_spans), (200, 2));
    assert_eq!(partial.error_message, "the queue to the collector is full");
    assert_eq!(receiver.stats().rejected_spans, 2);
}

/// Sends the head of a request and a part of its body from this address.
async fn half_sent(from: [u8; 4], addr: SocketAddr, body: &[u8], of: usize) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let head = format!("POST /v1/traces HTTP/1.1\r\nhost: t\r\n{PROTOBUF}\r\ncontent-length: {of}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

const OTHER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test]
async fn half_sent_requests_keep_nobody_out() {
    let receiver = receiver(ReceiverConfig::default(), vec![]).await;
    let addr = receiver.addrs()[0];
    let mut half = Vec::new();
    for _ in 0..64 {
        half.push(half_sent(OTHER, addr, b"half", 10).await);
    }
    until("all are open", || receiver.stats().http.open == 64).await;
    assert_eq!(post(addr, &[PROTOBUF], &request(1)).await.status, 200);
    // As many as one address may have, all with requests under way: others have their places.
    for _ in 64..200 {
        half.push(half_sent(OTHER, addr, b"half", 10).await);
    }
    until("they are too many", || receiver.stats().http.refused == 200 - 128).await;
    assert_eq!(post(addr, &[PROTOBUF], &request(1)).await.status, 200);
    assert_eq!(receiver.stats().busy_requests, 0);
}

#[tokio::test]
async fn what_bodies_hold_is_bounded_and_shared() {
    let config = ReceiverConfig { max_body: 60_000, max_buffered: 100_000, ..Default::default() };
    let receiver = receiver(config, vec![]).await;
    let addr = receiver.addrs()[0];
    let _large = half_sent(OTHER, addr, &[0; 30_000], 40_000).await;
    let mut refused = half_sent(OTHER, addr, &[0; 30_000], 40_000).await;
    let mut reply = vec![0; 12];
    refused.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 503");
    until("it is counted", || receiver.stats().busy_requests == 1).await;
    // Another one has its half.
    assert_eq!(post(addr, &[PROTOBUF], &request(1)).await.status, 200);
}

#[tokio::test]
async fn a_shutdown_lets_the_request_under_way_finish() {
    let receiver = receiver(ReceiverConfig::default(), vec![]).await;
    let body = request(1);
    let mut slow = half_sent(OTHER, receiver.addrs()[0], &body[..5], body.len()).await;
    until("it is open", || receiver.stats().http.open == 1).await;
    let shutdown = tokio::spawn(async move { receiver.shutdown(Duration::from_secs(20)).await });
    slow.write_all(&body[5..]).await.unwrap();
    assert_eq!(read_reply(&mut slow).await.status, 200);
    shutdown.await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_makes_room() {
    let config = ReceiverConfig { max_connections: 2, max_per_peer: 2, ..Default::default() };
    let receiver = receiver(config, vec![]).await;
    let addr = receiver.addrs()[0];
    let mut first = TcpStream::connect(addr).await.unwrap();
    until("it is open", || receiver.stats().http.open == 1).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let _second = TcpStream::connect(addr).await.unwrap();
    until("it is open", || receiver.stats().http.open == 2).await;
    assert_eq!(post(addr, &[PROTOBUF], &request(1)).await.status, 200);
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0, "the one that was idle for longest");
    let stats = receiver.stats().http;
    assert_eq!((stats.evicted, stats.refused), (1, 0));
}

/// A sink that takes its time, and says when it begins.
struct Slow {
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl RequestSink for Slow {
    fn accept(&self, _: &Arc<ReceivedRequest>) -> usize {
        self.begun.send(()).unwrap();
        self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(10)).expect("nothing else goes on meanwhile");
        0
    }
}

/// This runtime has one thread: nothing would let the work go on that is done there.
#[tokio::test]
async fn requests_are_not_worked_on_where_haproxy_is_served() {
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (go, go_on) = std::sync::mpsc::channel();
    let receiver = receiver(Default::default(), vec![Arc::new(Slow { begun, go_on: Mutex::new(go_on) })]).await;
    let addr = receiver.addrs()[0];
    let posts = [1, 2].map(|spans| tokio::spawn(async move { post(addr, &[PROTOBUF], &request(spans)).await.status }));
    begins.recv().await.unwrap();
    assert!(begins.try_recv().is_err(), "one at a time");
    go.send(()).unwrap();
    begins.recv().await.unwrap();
    go.send(()).unwrap();
    for post in posts {
        assert_eq!(post.await.unwrap(), 200);
    }
}

/// A queue with one place.
#[derive(Default)]
struct OnePlace(Mutex<usize>);

impl RequestSink for OnePlace {
    fn is_busy(&self, _: &ReceivedRequest) -> bool {
        let taken = *self.0.lock().unwrap();
        // Time for another request to ask as well.
        std::thread::sleep(Duration::from_millis(20));
        taken > 0
    }

    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        let mut taken = self.0.lock().unwrap();
        *taken += 1;
        if *taken > 1 { request.spans.len() } else { 0 }
    }
}

#[tokio::test]
async fn two_requests_do_not_take_the_same_place() {
    let config = ReceiverConfig { threads: 4, ..Default::default() };
    let receiver = receiver(config, vec![Arc::<OnePlace>::default()]).await;
    let addr = receiver.addrs()[0];
    let posts = [1; 8].map(|spans| tokio::spawn(async move { post(addr, &[PROTOBUF], &request(spans)).await.status }));
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503, 503, 503, 503, 503, 503, 503]);
    assert_eq!(receiver.stats().rejected_spans, 0, "none that may not come again");
}

const JSON: &str = "content-type: application/json";

/// As a browser sends it: numbers as texts and as numbers, a field that nobody knows.
const IN_JSON: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},
    "scopeSpans":[{"scope":{"name":"js"},"spans":[{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"0001020304050607",
    "name":"click","kind":3,"startTimeUnixNano":"1795233035123000000","endTimeUnixNano":1795233035124000000,"unknown":[{}],
    "attributes":[{"key":"n","value":{"intValue":5}},{"key":"m","value":{"intValue":"6"}}]}]}]}]}"#;

#[tokio::test]
async fn json_is_taken_and_answered_in_json() {
    let sink = Arc::new(Sink::default());
    let receiver = receiver(ReceiverConfig::default(), vec![sink.clone()]).await;
    let addr = receiver.addrs()[0];
    let zstd = zstd::encode_all(IN_JSON.as_bytes(), 3).unwrap();
    for (headers, body) in [
        (&[JSON][..], IN_JSON.as_bytes().to_vec()),
        (&["content-type: Application/JSON; charset=utf-8", "content-encoding: GZIP"], gzip(IN_JSON.as_bytes())),
        (&[JSON, "content-encoding: zstd"], zstd),
    ] {
        let reply = post(addr, headers, &body).await;
        assert_eq!((reply.status, &*reply.body), (200, &b"{}"[..]), "{headers:?}");
        assert!(reply.head.contains(JSON), "{}", reply.head);
        let taken = sink.requests.lock().unwrap().pop().unwrap();
        let message = ExportTraceServiceRequest::decode(taken.body.clone()).unwrap();
        let span = &message.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(taken.spans[0].bytes(), span.encode_to_vec());
        assert_eq!((taken.spans.len(), &*span.name, span.kind, span.attributes.len()), (1, "click", 3, 2));
        assert_eq!(span.trace_id, (0..16).collect::<Vec<u8>>());
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1795233035123000000, 1795233035124000000));
    }
    let slash = exchange(addr, &format!("POST /v1/traces/ HTTP/1.1\r\n{JSON}\r\ncontent-length: 2"), b"{}").await;
    assert_eq!(slash.status, 200);

    let full = Arc::new(Sink { rejects: 2, ..Default::default() });
    let receiver = self::receiver(ReceiverConfig::default(), vec![full]).await;
    let reply = post(receiver.addrs()[0], &[JSON], b"{}").await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "2", "{answer}");
}

#[tokio::test]
async fn bad_json_gets_the_error_in_json() {
    let config = ReceiverConfig { max_body: 10_000, max_decoded: 20_000, ..Default::default() };
    let receiver = receiver(config, vec![]).await;
    let spans = |inner: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{inner}]}}]}}]}}"#).into_bytes();
    let many = spans(&vec!["{}"; 500].join(","));
    let bomb = zstd::encode_all(&vec![b' '; 1 << 20][..], 3).unwrap();
    let encoded = "content-encoding: zstd";
    let cases: [(&[&str], Vec<u8>, u16, &str); 8] = [
        (&[JSON], b"[]".to_vec(), 400, "invalid ExportTraceServiceRequest"),
        (&[JSON], b"{".to_vec(), 400, "invalid ExportTraceServiceRequest"),
        (&[JSON], spans(r#"{"traceId":"xyz"}"#), 400, "invalid ExportTraceServiceRequest"),
        // Small until it is decoded, and one that the library would take for a span.
        (&[JSON], many, 413, "decoded request exceeds 20000 bytes"),
        (&[JSON], spans("[]"), 400, "an array where an object is expected"),
        (&[JSON, encoded], bomb, 413, "exceeds 10000 bytes"),
        (&[JSON, encoded], b"no zstd".to_vec(), 400, "invalid zstd data"),
        (&[JSON, "content-encoding: br"], b"{}".to_vec(), 415, "only gzip and zstd"),
    ];
    for (headers, body, status, text) in cases {
        let reply = post(receiver.addrs()[0], headers, &body).await;
        let error: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, status, "{error}");
        assert!(reply.head.contains(JSON) && error["message"].as_str().unwrap().contains(text), "{error}");
        assert_eq!(error["code"], tonic::Code::InvalidArgument as i32);
    }
}

#[tokio::test]
async fn a_body_must_arrive_in_time() {
    let config = ReceiverConfig { body_timeout: Duration::from_millis(20), ..Default::default() };
    let receiver = receiver(config, vec![]).await;
    let head = format!("POST /v1/traces HTTP/1.1\r\ncontent-length: 5\r\n{PROTOBUF}");
    let reply = exchange(receiver.addrs()[0], &head, b"1234").await;
    assert_eq!(reply.status, 408);
    assert_eq!(receiver.stats().rejected_requests, 1);
    // Its connection is still open on this side, yet a shutdown ends.
    receiver.shutdown(Duration::from_millis(20)).await;
}
