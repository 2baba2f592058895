//! client -> HAProxy~1 -> HAProxy~2 -> fake server, traced by one agent, in each mode of the shipped configurations.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::compare::{Spans, spans};
use crate::haproxy::{Haproxy, Program};
use crate::http::http_client;
use crate::process::{PATIENCE, Process};
use crate::scrape::{Metrics, get};
use crate::servers::free_address;
use crate::spoa::{Spoa, conf, listening_address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every event, nine spans of a proxy; the log line ends them.
    Nine,
    Lean,
    /// The same with its lines over TCP: under load a datagram may find the receive buffer full.
    LeanByRing,
    LogOnly,
}

pub const MODES: [Mode; 3] = [Mode::Nine, Mode::Lean, Mode::LogOnly];

impl Mode {
    /// Spans of a proxy in a request that its server answered, that it denied, and whose server closed without an answer.
    fn spans(self) -> [usize; 3] {
        if self == Mode::Nine { [9, 4, 7] } else { [2, 1, 2] }
    }
}

/// A server's span may end some microseconds after that of its client. Jaeger takes that for clocks of two hosts, and warns, unless told better:
/// its older API by `ip`, the newer one by `host.name`.
const ONE_HOST: (&str, &str) =
    ("OTEL_RESOURCE_ATTRIBUTES", "host.name=here,ip=127.0.0.1,deployment.environment.name=a%20test");

/// All spans of a test.
const KEEPS_ALL: [&str; 4] = ["--admin-traces", "10000", "--admin-traces-bytes", "256MiB"];

pub struct Chain {
    // Dropped in this order.
    _proxies: [Haproxy; 2],
    _server: Process,
    pub spoa: Spoa,
    mode: Mode,
    /// Base URL of the traced way.
    pub url: String,
    bears_close: bool,
    http: reqwest::Client,
    /// Where the agent takes the spans of others.
    receiver: String,
}

/// A request that was sent: its trace, and the spans that its services have in it at least.
#[derive(Clone)]
pub struct Sent {
    pub trace: String,
    pub spans: [(&'static str, usize); 3],
}

impl Chain {
    /// The agent gets these options and variables, beside those of its listeners.
    pub async fn start(program: &Program, mode: Mode, args: &[&str], env: &[(&str, &str)]) -> Self {
        let by_ring = mode == Mode::LeanByRing;
        let log = if by_ring { free_address() } else { free_udp_address() };
        let listener = format!("{}://{log}", if by_ring { "tcp" } else { "udp" });
        // What a system does not grant, unless it is told to, would be warned of.
        let own = ["--log-listen", &listener, "--log-recv-buffer", "200KiB", "--otlp-listen", "127.0.0.1:0"];
        let own = [&own[..], &KEEPS_ALL].concat();
        let env = [&[ONE_HOST], env].concat();
        let mut spoa = Spoa::start("127.0.0.1:0", &[&own[..], args].concat(), &env).await;
        let receiver = spoa.process.line("listening", |line| listening_address(line, "otlp")).await;
        let mut server = Command::new(crate::programs::program("fake-server"));
        server.args(["--listen", "127.0.0.1:0", "--otlp", &format!("http://{receiver}")]);
        let mut server = Process::start("fake-server", server.envs([ONE_HOST]));
        let origin = server.line("listening", |line| listening_address(line, "http")).await;
        let [one, one_plain, two, two_plain, stats] = [(); 5].map(|()| free_address());
        let (files, spoe_cfg) = match mode {
            Mode::Nine => (["haproxy-1.cfg", "haproxy-2.cfg"], "spoe.cfg"),
            Mode::Lean | Mode::LeanByRing => (["haproxy-lean.cfg"; 2], "spoe-lean.cfg"),
            Mode::LogOnly => (["haproxy-log-only.cfg"; 2], ""),
        };
        let proxy = async |number: usize, listen: &str, next: &str| {
            let service = format!("haproxy-{number}");
            let env = [
                ("SERVICE_NAME", service.as_str()),
                ("SPOE_CFG", spoe_cfg),
                ("SPOE_TIMEOUT", "10s"),
                ("SPOA_ADDRESS", &spoa.addr),
                ("LOG_ADDRESS", &log),
                ("LOG_TARGET", if by_ring { "ring@otel" } else { &log }),
                // Of the lean ones.
                ("LISTEN_ADDRESS", listen),
                ("SERVER_ADDRESS", next),
                // Of the nine spans.
                ("STATS_ADDRESS", if mode == Mode::Nine { &stats } else { "none" }),
                ("PROXY1_ADDRESS", &one),
                ("PROXY1_PLAIN_ADDRESS", &one_plain),
                ("PROXY2_ADDRESS", &two),
                ("PROXY2_PLAIN_ADDRESS", &two_plain),
                ("NINE_SPANS_ANYWAY", "1"),
            ];
            Haproxy::start(program, &conf(files[number - 1]), &env, listen).await
        };
        let inner = proxy(2, &two, &origin).await;
        let outer = proxy(1, &one, &two).await;
        let url = format!("http://{one}");
        // HAProxy 3.4 aborts, and 3.2.26 was seen to run in circles until its watchdog ended it.
        let bears_close = mode != Mode::Nine || program.version < (3, 2);
        let chain = Chain {
            _proxies: [outer, inner],
            _server: server,
            spoa,
            mode,
            url,
            bears_close,
            http: http_client(),
            receiver,
        };
        chain.wait_until_traced().await;
        chain
    }

    /// The first health check of `option spop-check` may come after the first request, of either proxy.
    async fn wait_until_traced(&self) {
        if self.mode == Mode::LeanByRing {
            // HAProxy 3.0 may forget lines that it wrote before.
            let connected = |metrics: &Metrics| metrics.get("log_connections_total") >= 2.0;
            Metrics::scrape_until(&self.spoa.admin, "the rings connect", connected).await;
        }
        let end = std::time::Instant::now() + PATIENCE;
        let of_both = if self.mode == Mode::Nine { 16.0 } else { 2.0 };
        let messages = async || Metrics::scrape(&self.spoa.admin).await.sum("messages_total", "");
        if self.mode == Mode::LogOnly {
            return;
        }
        loop {
            let before = messages().await;
            self.get("/warm-up", 200, &[]).await;
            if messages().await - before >= of_both {
                return;
            }
            assert!(std::time::Instant::now() < end, "HAProxy does not ask the agent");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request on a connection of its own, as it should be answered; its trace, if it is traced.
    pub async fn get(&self, path: &str, status: u16, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = http_client().get(format!("{}{path}", self.url));
        for &(name, value) in headers {
            request = request.header(name, reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        answer.headers().get("x-trace-id").map(|id| id.to_str().unwrap().to_owned())
    }

    /// The same on a connection that may have been used before, and nothing of its answer.
    pub async fn get_kept(&self, path: &str, status: u16) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }

    /// One request of each kind.
    pub async fn requests(&self) -> Vec<Sent> {
        let [all, denied, lost] = self.mode.spans();
        let of = |one, two, server| [("haproxy-1", one), ("haproxy-2", two), ("fake-server", server)];
        let mut sent = Vec::new();
        let mut kept = |trace: Option<String>, spans| sent.push(Sent { trace: trace.expect("a trace"), spans });
        kept(self.get("/hello", 200, &[]).await, of(all, all, 1));
        kept(self.get("/broken?status=503&token=secret", 503, &[]).await, of(all, all, 1));
        kept(self.get("/denied", 403, &[]).await, of(denied, 0, 0));
        if self.bears_close {
            kept(self.get("/lost?close", 502, &[]).await, of(all, lost, 1));
        }
        // What a caller brings, and what is not ASCII.
        let brought = traceparent("01");
        let begin = SystemTime::now();
        let headers = [
            ("traceparent", brought.as_str()),
            ("tracestate", "vendor=a:b,other=1"),
            ("baggage", "user=zo%C3%AB"),
            ("user-agent", "t\u{e9}st \u{1f600} \"quoted\\\""),
        ];
        let path = format!("/caf%C3%A9/%22%5C/{}", "long/".repeat(150));
        kept(self.get(&path, 200, &headers).await, of(all, all, 1));
        self.caller(&brought, begin).await;
        // A client that goes away gets no answer that would tell its trace.
        let brought = traceparent("01");
        let begin = SystemTime::now();
        let request = http_client().get(format!("{}/slow?delay=300ms", self.url)).timeout(Duration::from_millis(150));
        assert!(request.header("traceparent", &brought).send().await.is_err(), "it was answered before");
        self.caller(&brought, begin).await;
        kept(Some(brought[3..35].to_owned()), of(lost, lost, 1));
        sent
    }

    /// The span of a caller that brought this, from `begin` until now.
    async fn caller(&self, traceparent: &str, begin: SystemTime) {
        let nanos = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos().to_string();
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let event = json!({"name": "sent", "timeUnixNano": nanos(begin), "attributes": [text("what", "everything")]});
        let list = json!({"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 0.5}, {"boolValue": true}]}});
        let span = json!({
            "traceId": &traceparent[3..35], "spanId": &traceparent[36..52], "name": "caller", "kind": 3, "flags": 0x101,
            "startTimeUnixNano": nanos(begin), "endTimeUnixNano": nanos(SystemTime::now()),
            "attributes": [text("a", "b"), {"key": "list", "value": list}], "events": [event], "status": {"code": 1},
        });
        let resource =
            json!({"attributes": [text("service.name", "caller"), text("host.name", "here"), text("ip", "127.0.0.1")]});
        let scope = json!({"name": "test", "version": "1", "attributes": [text("of", "scope")]});
        let export =
            json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]});
        let post =
            self.http.post(format!("http://{}/v1/traces", self.receiver)).header("content-type", "application/json");
        let answer = post.body(export.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// A request that its caller does not record; its trace.
    pub async fn unsampled(&self) -> String {
        let brought = traceparent("00");
        self.get("/unsampled", 200, &[("traceparent", &brought)]).await;
        brought[3..35].to_owned()
    }

    /// Waits until nothing is under way any more: all that the agent says, among it the spans of these requests, and its figures, in which
    /// each of these spans has been exported or dropped.
    pub async fn settled(&self, sent: &[Sent]) -> (Spans, Metrics) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let (_, text) = get(&self.spoa.admin, "/traces.json").await;
            let said = spans(&serde_json::from_str(&text).unwrap());
            let metrics = Metrics::scrape(&self.spoa.admin).await;
            let whole = |sent: &&Sent| {
                let of_trace =
                    said.range((sent.trace.clone(), String::new())..).take_while(|(id, _)| id.0 == sent.trace);
                let services: Vec<_> = of_trace.map(|(_, span)| span["service"].as_str().unwrap()).collect();
                sent.spans.iter().all(|(service, least)| services.iter().filter(|of| *of == service).count() >= *least)
            };
            let missing: Vec<_> =
                sent.iter().filter(|sent| !whole(sent)).map(|sent| (&sent.trace, sent.spans)).collect();
            let settled = metrics.of_collector("exported_total") + metrics.of_collector("dropped_total");
            if missing.is_empty() && metrics.get("spans_open") == 0.0 && settled == said.len() as f64 {
                return (said, metrics);
            }
            let figures = metrics.about("export_spans") + &metrics.about("spans");
            assert!(
                std::time::Instant::now() < end,
                "{:?}: {} said, of these not: {missing:#?}\n{figures}",
                self.mode,
                said.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that the agent says.
    pub async fn said(&self) -> Spans {
        let (_, text) = get(&self.spoa.admin, "/traces.json").await;
        spans(&serde_json::from_str(&text).unwrap())
    }

    /// Ends the agent as a service is ended.
    pub async fn end(mut self) -> Spoa {
        self.spoa.process.signal("-TERM");
        assert!(self.spoa.process.ended().await.success());
        self.spoa
    }
}

fn free_udp_address() -> String {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Of a caller, with a trace of its own.
pub fn traceparent(flags: &str) -> String {
    format!("00-{:032x}-{:016x}-{flags}", fastrand::u128(1..), fastrand::u64(1..))
}

impl Metrics {
    /// Spans that were for the collector, the agent's own and those that it forwarded: `exported_total`, `dropped_total`.
    pub fn of_collector(&self, what: &str) -> f64 {
        ["otlp", "forward"]
            .map(|of| self.sum(&format!("export_spans_{what}"), &format!("exporter=\"{of}\"")))
            .iter()
            .sum()
    }
}
