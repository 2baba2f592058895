//! The metrics of requests, from lines of HAProxy's log to `/metrics` and to a collector.

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoints::promtool_accepts;
use crate::export_common::collector::{Answer, Collector};
use crate::export_common::until;
use crate::http::http_client;
use crate::program_support::{Session, json};
use crate::scrape::{Metrics, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SERVER: &str = "b7ad6b7169203331";
const CLIENT: &str = "00f067aa0ba902b7";

/// A line of a good request that took 40 ms, of which its server had 30, with other values of some parameters.
pub(crate) fn line(changed: &[(&str, &str)]) -> String {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let (accepted, end) = ((end - 40_000).to_string(), end.to_string());
    let context = format!("{TRACE}-{SERVER}-{CLIENT}--01");
    let good = [
        ("v", "1"),
        ("svc", "edge"),
        ("c", &context),
        ("au", &accepted),
        ("t0", &accepted),
        ("e", &end),
        ("Th", "0"),
        ("Ti", "0"),
        ("TR", "4"),
        ("Tw", "6"),
        ("Tc", "1"),
        ("Tr", "9"),
        ("Td", "20"),
        ("Ta", "40"),
        ("st", "200"),
        ("ss", "200"),
        ("ts", "--"),
        ("rc", "0"),
        ("f", "www"),
        ("b", "app"),
        ("s", "s1"),
        ("m", "GET"),
        ("u", "%2fa%3fq%3d1"),
        ("hv", "1.1"),
        ("tls", "1"),
        ("si", "192.0.2.3"),
        ("sp", "8080"),
    ];
    let params = good.iter().map(|(name, value)| {
        let other = changed.iter().find(|(changed, _)| changed == name);
        (*name, other.map_or(*value, |(_, value)| value))
    });
    let more = changed.iter().copied().filter(|(name, _)| !good.iter().any(|(known, _)| known == name));
    let params: String = params.chain(more).map(|(name, value)| format!("{name}=\"{value}\" ")).collect();
    format!("<134>1 2026-11-28T19:00:00.000000+00:00 - haproxy 4711 - [otel@32473 {params}z=\"1\"] -")
}

/// Where the program takes lines.
pub(crate) fn log_addr(session: &Session) -> String {
    let output = session.process.output();
    let listening = output.iter().map(|line| json(line)["fields"].clone()).find(|fields| fields["kind"] == "log");
    let addr = listening.unwrap()["addr"].as_str().unwrap().to_owned();
    addr.split_once("://").unwrap().1.to_owned()
}

/// Sends lines to the program in datagrams.
pub(crate) fn send(session: &Session, lines: &[String]) {
    let (addr, socket) = (log_addr(session), UdpSocket::bind("127.0.0.1:0").unwrap());
    for line in lines {
        socket.send_to(line.as_bytes(), &addr).unwrap();
    }
}

/// Waits until so many requests of clients are counted.
async fn measured(session: &Session, requests: usize) -> Metrics {
    Metrics::scrape_until(&session.admin, "all requests", |m| m.requests("server") == requests as f64).await
}

#[tokio::test]
async fn every_request_is_measured_whether_it_is_sampled_or_not() {
    let collector = Collector::http().await;
    let url = format!("http://{}", collector.addr);
    let args = ["--log-listen", "udp://127.0.0.1:0", "--otlp", &url];
    let env = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_SERVICE_NAME", "proxy")];
    let session = Session::start(&args, &env).await;
    let unsampled = format!("{TRACE}-{SERVER}-{CLIENT}--00");
    let bad = [("c", "-"), ("m", "-"), ("u", "-"), ("hv", "-"), ("t0", "-")];
    let bad_request = [&bad[..], &[("st", "400"), ("ss", "0"), ("ts", "PR"), ("s", "<NOSRV>"), ("Tw", "-1")]].concat();
    let lines = [
        line(&[]),
        line(&[("c", &unsampled)]),
        line(&[("svc", "-"), ("route", "%2fa%2f%7bid%7d")]),
        line(&[("st", "403"), ("ss", "0"), ("ts", "PR"), ("s", "<NOSRV>"), ("Tw", "-1"), ("m", "BREW")]),
        line(&[("st", "503"), ("ss", "0"), ("ts", "SC"), ("Tr", "-1")]),
        line(&bad_request),
    ];
    send(&session, &lines);
    let metrics = measured(&session, lines.len()).await;
    promtool_accepts(&metrics.text);

    let (server, client) = ("http_server_request_duration_seconds", "http_client_request_duration_seconds");
    let get = "http_request_method=\"GET\"";
    let common = "network_protocol_version=\"1.1\",url_scheme=\"https\"";
    let to_server = "server_address=\"192.0.2.3\",server_port=\"8080\",url_scheme=\"http\"";
    let expected = [
        (server, format!("service_name=\"edge\",{get},http_response_status_code=\"200\",{common}"), 2),
        (server, format!("service_name=\"proxy\",{get},http_response_status_code=\"200\",http_route=\"/a/{{id}}\",{common}"), 1),
        (server, format!("service_name=\"edge\",http_request_method=\"_OTHER\",http_response_status_code=\"403\",{common}"), 1),
        (server, format!("service_name=\"edge\",error_type=\"503\",{get},http_response_status_code=\"503\",{common}"), 1),
        (server, "service_name=\"edge\",http_request_method=\"_OTHER\",http_response_status_code=\"400\",url_scheme=\"https\"".to_owned(), 1),
        (client, format!("service_name=\"edge\",{get},http_response_status_code=\"200\",{to_server}"), 2),
        (client, format!("service_name=\"proxy\",{get},http_response_status_code=\"200\",{to_server}"), 1),
        (client, format!("service_name=\"edge\",error_type=\"connect_failed\",{get},{to_server}"), 1),
    ];
    for (family, labels, count) in &expected {
        let row = format!("\n{family}_count{{{labels}}} {count}\n");
        assert!(metrics.text.contains(&row), "{row}{}", metrics.text);
    }
    let rows = |text: &str| text.lines().filter(|row| row.starts_with("http_") && row.contains("_count{")).count();
    assert_eq!(rows(&metrics.text), expected.len(), "{}", metrics.text);
    assert_eq!(metrics.get("red_series"), expected.len() as f64);
    // 40 ms of the server's side, 30 of the client's.
    let row = |family: &str, labels: &str, le: &str| format!("\n{family}_bucket{{{labels},le=\"{le}\"}} ");
    let (_, labels, _) = &expected[0];
    for (le, count) in [("0.025", 0), ("0.05", 2)] {
        assert!(metrics.text.contains(&format!("{}{count}\n", row(server, labels, le))), "{le}: {}", metrics.text);
    }
    assert!(!metrics.text.contains("trace_id"), "{}", metrics.text);

    let request = http_client().get(format!("http://{}/metrics", session.admin));
    let answer = request.header("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").send().await;
    let answer = answer.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    let exemplar = |span: &str| format!(" # {{trace_id=\"{TRACE}\",span_id=\"{span}\"}} 0.0");
    for (span, count) in [(SERVER, 4), (CLIENT, 3)] {
        // The bad request has ids of its own; what was not sampled has none to look at.
        assert_eq!(text.matches(&exemplar(span)).count(), count, "{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");

    let log = session.stop().await;
    let requests: Vec<_> = collector.arrived().into_iter().filter_map(|arrived| arrived.metrics).collect();
    let points = requests.iter().flat_map(|request| &request.resource_metrics).flat_map(|of| &of.scope_metrics);
    let metrics: Vec<_> = points.flat_map(|of| &of.metrics).collect();
    assert_eq!((requests.len(), metrics.len()), (2, 4), "two services with two metrics each");
    told_by_us(&log);
    assert!(!log.iter().any(|line| line["level"] == "WARN"), "{log:#?}");
}

/// Nothing that the SDK says of itself.
fn told_by_us(log: &[Json]) {
    let target = |line: &Json| line["target"].as_str().unwrap().to_owned();
    let others: Vec<_> = log.iter().map(target).filter(|target| target.starts_with("opentelemetry")).collect();
    assert_eq!(others, [""; 0]);
}

#[tokio::test]
async fn the_methods_that_are_known_may_be_others() {
    let env = [("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PROPFIND"), ("OTEL_TRACES_EXPORTER", "none")];
    let session = Session::start(&["--log-listen", "udp://127.0.0.1:0"], &env).await;
    send(&session, &["GET", "PROPFIND", "POST"].map(|method| line(&[("m", method)])));
    let metrics = measured(&session, 3).await;
    for method in ["GET", "PROPFIND", "_OTHER"] {
        let label = format!("http_request_method=\"{method}\"");
        assert!(metrics.text.contains(&label), "{label}: {}", metrics.text);
    }
    let log = session.stop().await;
    assert!(!log.iter().any(|line| line["level"] == "WARN"), "{log:#?}");
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    const SERIES: usize = 2500;
    let args = ["--log-listen", "tcp://127.0.0.1:0", "--metrics-max-series", "10000"];
    let session = Session::start(&args, &[("OTEL_TRACES_EXPORTER", "none")]).await;
    let mut lines = TcpStream::connect(log_addr(&session)).await.unwrap();
    for n in 0..SERIES {
        let route = format!("{n:0>200}");
        lines.write_all(format!("{}\n", line(&[("route", &route)])).as_bytes()).await.unwrap();
    }
    measured(&session, SERIES).await;
    // Each answer is of more bytes than the system takes for a reader.
    let scrape = async || {
        let mut stuck = TcpStream::connect(&session.admin).await.unwrap();
        stuck.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        stuck
    };
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut one = scrape().await;
        one.read_exact(&mut [0; 1000]).await.unwrap();
        stuck.push(one);
    }
    let mut next = scrape().await;
    let answer = async |next: &mut TcpStream| next.read_exact(&mut [0; 1000]).await;
    tokio::time::timeout(Duration::from_millis(500), answer(&mut next)).await.unwrap_err();
    // Others are answered.
    assert_eq!(get(&session.admin, "/healthz").await.0, 200);
    drop(stuck.pop());
    answer(&mut next).await.unwrap();
}

#[tokio::test]
async fn a_collector_that_takes_no_metrics_is_told_once_in_a_while() {
    let collector = Collector::http().await;
    collector.answer([Answer::Hang]);
    collector.answer([Answer::Status(404); 100]);
    let url = format!("http://{}", collector.addr);
    let args = ["--log-listen", "udp://127.0.0.1:0", "--console"];
    let env = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &format!("{url}/own/v1/metrics")),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1000"),
    ];
    let session = Session::start(&args, &env).await;
    send(&session, &[line(&[])]);
    until("it was asked many times", || collector.arrived().len() >= 5).await;
    assert!(collector.arrived().iter().all(|arrived| arrived.path == "/own/v1/metrics"));
    let failed = |m: &Metrics| m.get("red_export_requests_total{result=\"failed\"}") >= 5.0;
    Metrics::scrape_until(&session.admin, "they failed", failed).await;
    let log = session.stop().await;
    told_by_us(&log);
    let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").map(|line| &line["fields"]).collect();
    let message = |fields: &Json| fields["message"].as_str().unwrap().to_owned();
    let [hangs, first, last] = &warnings[..] else { panic!("{warnings:#?}") };
    assert!(message(hangs).starts_with("OTLP export of metrics fails"), "{hangs}");
    assert!(hangs["error"].as_str().unwrap().contains("within"), "{hangs}");
    assert_eq!(first["url"], format!("{url}/own/v1/metrics"));
    assert!(message(first).starts_with("OTLP export of metrics fails; is this the URL"), "{first}");
    assert!(message(last).starts_with("not all metrics were exported"), "{last}");
}

#[tokio::test]
async fn what_is_wrong_with_the_export_of_metrics_is_told_at_the_start() {
    let run = crate::program_support::run;
    let otlp = ("OTEL_METRICS_EXPORTER", "otlp");
    let (status, output) = run(&[], &[otlp, ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector")]);
    assert!(status == Some(2) && output.contains("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: invalid URL"), "{output}");
    let session =
        Session::start(&["--console"], &[("OTEL_METRICS_EXPORTER", "console"), ("OTEL_METRIC_EXPORT_TIMEOUT", "1")]);
    let log = session.await.stop().await;
    let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "WARN").collect();
    let says = |text: &str| warnings.iter().any(|line| line["fields"]["message"].as_str().unwrap().starts_with(text));
    assert!(says("OTEL_METRICS_EXPORTER: unknown exporter \"console\""), "{warnings:#?}");
    assert!(says("OTEL_METRIC_EXPORT_TIMEOUT has no effect without OTEL_METRICS_EXPORTER=otlp"), "{warnings:#?}");
}
