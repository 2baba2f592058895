//! The program itself, with a real OTLP receiver and plain HTTP clients over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;

const TIMEOUT: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The server under test; killed when dropped, so that a failing test leaves nothing behind.
struct FakeServer {
    process: Child,
    address: SocketAddr,
}

impl FakeServer {
    fn start(otlp: Option<SocketAddr>, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fake-server"));
        for name in
            ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES"]
        {
            command.env_remove(name);
        }
        if let Some(receiver) = otlp {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{receiver}"));
        }
        let mut process = command
            .args(["--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line of text");
        let address = line
            .trim()
            .strip_prefix("listening addr=")
            .and_then(|rest| rest.strip_suffix(" kind=http"))
            .expect("the ready line")
            .parse()
            .expect("an address");
        Self { process, address }
    }

    /// Sends one request on a connection of its own and returns all that comes back.
    fn request(&self, target: &str, headers: &[(&str, &str)]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let mut request =
            format!("GET {target} HTTP/1.1\r\nHost: demo.test:8080\r\nUser-Agent: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "\r\n").as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.process.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
    }

    /// SIGTERM, and the exit status.
    fn terminate(mut self) -> std::process::ExitStatus {
        self.signal("-TERM");
        self.process.wait().expect("the server ends")
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// An OTLP receiver: what is posted to /v1/traces, decoded.
fn receiver() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some((head, body)) = read_request(&mut reader) {
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
                    assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
                    let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("protobuf");
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
                    if sender.send(request).is_err() || reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, received)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>()))?
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Waits until `count` spans came, and returns them with the service name of the last.
fn spans(received: &Receiver<ExportTraceServiceRequest>, count: usize) -> (Vec<Span>, String) {
    let (mut spans, mut service) = (Vec::new(), String::new());
    while spans.len() < count {
        for resource_spans in received.recv_timeout(TIMEOUT).expect("an export in time").resource_spans {
            service = text(&resource_spans.resource.expect("a resource").attributes, "service.name");
            spans.extend(resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    assert_eq!(spans.len(), count);
    (spans, service)
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

fn status_of(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[test]
fn a_request_gives_a_server_span_below_the_callers() {
    let (otlp, received) = receiver();
    let server = FakeServer::start(Some(otlp), &[]);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let answer = server.request(
        "/shop/cart?item=1",
        &[("traceparent", &traceparent), ("tracestate", "a=1,b=2"), ("baggage", "user=jane%20doe,tier=gold")],
    );
    assert_eq!(status_of(&answer), "HTTP/1.1 200 OK");
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(body["received"]["traceparent"], traceparent);
    assert_eq!(body["received"]["tracestate"], "a=1,b=2");
    assert_eq!(body["received"]["baggage"], "user=jane%20doe,tier=gold");
    assert_eq!(body["baggage"], serde_json::json!({"user": "jane doe", "tier": "gold"}));
    assert_eq!(body["trace_id"], TRACE);
    assert_eq!(body["parent_span_id"], PARENT);

    let (spans, service) = spans(&received, 1);
    let span = &spans[0];
    assert_eq!(service, "fake-server");
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(body["span_id"], hex(&span.span_id));
    assert_eq!(span.trace_state, "a=1,b=2");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(span.name, "GET");
    let attribute = |key| text(&span.attributes, key);
    assert_eq!(attribute("http.request.method"), "GET");
    assert_eq!(attribute("url.path"), "/shop/cart");
    assert_eq!(attribute("url.query"), "item=1");
    assert_eq!(attribute("server.address"), "demo.test");
    assert_eq!(attribute("user_agent.original"), "test");
    assert_eq!(attribute("network.protocol.version"), "1.1");
    assert_eq!(value(&span.attributes, "server.port"), Some(Value::IntValue(8080)));
    assert_eq!(value(&span.attributes, "http.response.status_code"), Some(Value::IntValue(200)));
    assert!(span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
    assert!(server.terminate().success());
}

#[test]
fn without_a_caller_the_span_is_a_root() {
    let (otlp, received) = receiver();
    let server = FakeServer::start(Some(otlp), &[]);
    let answer = server.request("/", &[("traceparent", "00-nonsense-01")]);
    assert!(answer.contains("\"parent_span_id\": null"), "{answer}");
    let (spans, _) = spans(&received, 1);
    assert_eq!(spans[0].parent_span_id, [] as [u8; 0]);
    assert!(server.terminate().success());
}

#[test]
fn answers_as_asked_and_tells_failures_in_the_span() {
    let (otlp, received) = receiver();
    let server = FakeServer::start(Some(otlp), &["--max-delay", "1s"]);
    assert_eq!(status_of(&server.request("/a?status=503", &[])), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(server.request("/b?close", &[]), "");
    assert_eq!(status_of(&server.request("/c?delay=2s", &[])), "HTTP/1.1 400 Bad Request");
    assert!(server.request("/d?cache=60", &[]).contains("cache-control: public, max-age=60\r\n"));
    assert_eq!(status_of(&server.request("/e?delay=50ms", &[])), "HTTP/1.1 200 OK");
    // No span for this one.
    assert_eq!(status_of(&server.request("/healthz", &[])), "HTTP/1.1 200 OK");
    // What was not exported yet leaves at the end.
    assert!(server.terminate().success());

    let (spans, _) = spans(&received, 5);
    let span = |path: &str| {
        let found = spans.iter().find(|span| text(&span.attributes, "url.path") == path);
        found.unwrap_or_else(|| panic!("no span for {path}"))
    };
    let code = |path| span(path).status.as_ref().map_or(StatusCode::Unset, |status| status.code());
    assert_eq!(code("/a"), StatusCode::Error);
    assert_eq!(text(&span("/a").attributes, "error.type"), "503");
    assert_eq!(code("/b"), StatusCode::Error);
    assert_eq!(text(&span("/b").attributes, "error.type"), "closed_without_answer");
    assert_eq!(value(&span("/b").attributes, "http.response.status_code"), None);
    // A client's mistake is no error of the server.
    assert_eq!(code("/c"), StatusCode::Unset);
    assert_eq!(value(&span("/c").attributes, "http.response.status_code"), Some(Value::IntValue(400)));
    let waited = span("/e").end_time_unix_nano - span("/e").start_time_unix_nano;
    assert!(waited >= 50_000_000, "the span is as long as the delay: {waited} ns");
}

#[test]
fn works_without_a_receiver_and_names_a_busy_port() {
    let server = FakeServer::start(None, &[]);
    assert_eq!(status_of(&server.request("/", &[])), "HTTP/1.1 200 OK");
    let second = Command::new(env!("CARGO_BIN_EXE_fake-server"))
        .args(["--listen", &server.address.to_string()])
        .output()
        .expect("runs");
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains(&format!("cannot listen on {}", server.address)), "{message}");
    assert!(server.terminate().success());
}

#[test]
fn each_signal_to_stop_flushes_and_sighup_does_nothing() {
    for signal in ["-TERM", "-INT", "-USR1"] {
        let (otlp, received) = receiver();
        let mut server = FakeServer::start(Some(otlp), &[]);
        server.signal("-HUP");
        assert_eq!(status_of(&server.request("/", &[])), "HTTP/1.1 200 OK");
        server.signal(signal);
        assert!(server.process.wait().expect("it ends").success(), "{signal}");
        spans(&received, 1);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
