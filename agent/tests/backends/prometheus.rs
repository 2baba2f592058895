//! A real Prometheus asks running agents under traffic: every expression of the dashboard and every rule has data.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;

use crate::chain::{Chain, Mode};
use crate::compare::traces;
use crate::haproxy::extremes;
use crate::http::http_client;
use crate::process::{PATIENCE, Process};
use crate::scrape::Metrics;
use crate::servers::{self, Certificates, Collector, assert_quiet, file, free_address, ready};
use crate::spoa::listening_address;

struct Prometheus {
    process: Process,
    addr: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// It asks these agents, the second one as the manual says for TLS and tokens.
    async fn start(program: &str, plain: &str, tls: &str, certificates: &Certificates, token: &str) -> Self {
        let (folder, addr) = (tempfile::tempdir().unwrap(), free_address());
        let [ca, cert, key] = ["ca.pem", "agent.pem", "agent-key.pem"].map(|name| certificates.path(name));
        let config = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [file("agent/monitoring/rules.yml")],
            "scrape_configs": [
                {"job_name": "spoa-otel", "static_configs": [{"targets": [plain]}]},
                {
                    "job_name": "tls",
                    "scheme": "https",
                    "tls_config": {"ca_file": ca, "cert_file": cert, "key_file": key},
                    "authorization": {"credentials_file": token},
                    "static_configs": [{"targets": [tls]}],
                    "relabel_configs": [{"target_label": "job", "replacement": "spoa-otel"}],
                },
            ],
        });
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config.to_string()).unwrap(); // JSON is YAML
        let mut command = Command::new(program);
        command.arg("--config.file").arg(&path).arg("--storage.tsdb.path").arg(folder.path().join("data"));
        command.args(["--web.listen-address", &addr, "--enable-feature=exemplar-storage"]);
        let mut process = Process::start("prometheus", &mut command);
        ready(&mut process, &format!("http://{addr}/-/ready")).await;
        Prometheus { process, addr, http: http_client(), _folder: folder }
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Json {
        let url = url::Url::parse_with_params(&format!("http://{}/api/v1/{path}", self.addr), parameters).unwrap();
        let answer: Json =
            serde_json::from_str(&self.http.get(url).send().await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The figures that an expression has now.
    async fn figures(&self, expression: &str) -> Vec<f64> {
        let data = self.get("query", &[("query", expression)]).await;
        let results = data["result"].as_array().unwrap();
        results.iter().map(|result| result["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Those that have not a single figure. What nobody asked of an agent is no number: it has no durations.
    async fn without_data(&self, expressions: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for expression in expressions {
            let figures = self.figures(expression).await;
            if !figures.iter().any(|figure| figure.is_finite()) {
                found.push(format!("{figures:?}: {expression}"));
            }
        }
        found
    }

    async fn rules(&self) -> Vec<Json> {
        let data = self.get("rules", &[]).await;
        data["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The alerts that fire, with their descriptions.
    async fn firing(&self) -> Vec<(String, String)> {
        let alerts = self.get("alerts", &[]).await;
        let firing = alerts["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing").cloned();
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        firing.map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["annotations"]["description"]))).collect()
    }
}

/// An agent whose every listener has TLS, and its admin endpoints a token: its process, their address.
async fn agent_with_tls(certificates: &Certificates, token: &str) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    command.args(["--listen", "127.0.0.1:0,tls", "--admin", "127.0.0.1:0,tls", "--admin-token-file", token]);
    // For servers: certificate and key in two files.
    for (option, name) in [("--tls-cert", "agent.pem"), ("--tls-key", "agent-key.pem"), ("--tls-client-ca", "ca.pem")] {
        command.args([option, &certificates.path(name)]);
    }
    let mut process = Process::start("spoa-otel with TLS", &mut command);
    let admin = process.line("listening", |line| listening_address(line, "admin")).await;
    (process, admin)
}

/// What the dashboard's panels ask for, with the choices of its user.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(file("agent/monitoring/spoa-otel.json")).unwrap();
    let board: Json = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let chosen = |expression: &str| {
        let choices = [("$job", "spoa-otel"), ("$instance", ".+"), ("$service", ".+"), ("$__rate_interval", "20s")];
        choices.iter().fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
    };
    targets.map(|target| chosen(target["expr"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn every_panel_and_every_rule_has_data() {
    let Some([program, collector]) = servers::programs(["SPOP_PROMETHEUS", "SPOP_COLLECTOR"]) else { return };
    let overlay = "
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [otlp], exporters: [debug]}, traces: {exporters: [debug]}}}
";
    let collector = Collector::start(&collector, "plain.yaml", &[], overlay).await;
    let url = format!("http://{}", collector.otlp.http);
    let env = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_METRIC_EXPORT_INTERVAL", "200")];
    let haproxy = extremes().pop().expect("an HAProxy");
    let chain = Chain::start(&haproxy, Mode::Lean, &["--otlp", &url, "--batch-delay", "50ms"], &env).await;
    let certificates = Certificates::new();
    let token = certificates.path("token");
    std::fs::write(&token, "long-enough-a-token-for-prometheus\n").unwrap();
    let (_secure, tls) = agent_with_tls(&certificates, &token).await;
    let prometheus = Prometheus::start(&program, &chain.spoa.admin, &tls, &certificates, &token).await;

    let mut expressions = dashboard();
    assert!(expressions.len() > 50, "{expressions:#?}");
    let rules = prometheus.rules().await;
    let records: Vec<_> = rules.iter().filter(|rule| rule["type"] == "recording").collect();
    assert!(records.len() >= 8 && rules.len() > 20, "{rules:#?}");
    expressions.extend(records.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()));
    // A DISCONNECT comes last here, with its alert.
    let (disconnects, expressions): (Vec<_>, Vec<_>) =
        expressions.into_iter().partition(|expression| expression.contains("spoa_disconnects_total"));
    assert_eq!(disconnects.len(), 1, "{disconnects:?}");
    let end = Instant::now() + PATIENCE;
    let mut sent = Vec::new();
    loop {
        sent.extend(chain.requests().await);
        let missing = prometheus.without_data(&expressions).await;
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "without data:\n{}", missing.join("\n"));
    }
    assert_eq!(prometheus.figures("count(up{job=\"spoa-otel\"} == 1)").await, [2.0]);
    // The figures are those of the requests.
    chain.settled(&sent).await;
    let exact = "sum(http_server_request_duration_seconds_count{service_name=\"haproxy-1\"})";
    let metrics = Metrics::scrape(&chain.spoa.admin).await;
    let family = "http_server_request_duration_seconds_count{";
    let rows = metrics.text.lines().filter(|row| row.starts_with(family) && row.contains("service_name=\"haproxy-1\""));
    let requests: f64 = rows.map(|row| row.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    let end = Instant::now() + PATIENCE;
    while prometheus.figures(exact).await != [requests] {
        assert!(Instant::now() < end, "{:?} is not {requests}", prometheus.figures(exact).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    exemplars(&prometheus, &chain).await;
    for rule in prometheus.rules().await {
        assert_eq!((&rule["health"], &rule["lastError"]), (&json!("ok"), &Json::Null), "{rule:#}");
    }
    assert_eq!(prometheus.firing().await, []);
    // One who speaks no SPOP, and the alert for it.
    let mut broken = tokio::net::TcpStream::connect(&chain.spoa.addr).await.unwrap();
    broken.write_all(b"\0\0\0\x07\x03\0\0\0\x01\x01\x01").await.unwrap();
    let end = Instant::now() + PATIENCE;
    let fired = loop {
        let (firing, missing) = (prometheus.firing().await, prometheus.without_data(&disconnects).await);
        if !firing.is_empty() && missing.is_empty() {
            break firing;
        }
        assert!(Instant::now() < end, "what fires: {firing:?}; without data: {missing:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(fired.len() == 1 && fired[0].0 == "SpoaOtelProtocolErrors", "{fired:?}");
    assert!(fired[0].1.ends_with(" connections in 15 minutes."), "{fired:?}");
    collector.assert_no_warnings();
    let mut warned = prometheus.process.output();
    warned.retain(|line| line.contains("level=warn") || line.contains("level=error"));
    assert!(warned.is_empty(), "{}", warned.join("\n"));
    assert_quiet(&chain.end().await.process, &["protocol error, connection closed"]);
}

/// The points in the panels of durations lead to traces that are there.
async fn exemplars(prometheus: &Prometheus, chain: &Chain) {
    let family = "http_server_request_duration_seconds_bucket";
    let data = prometheus.get("query_exemplars", &[("query", family), ("start", "0"), ("end", "99999999999")]).await;
    let exemplars = data.as_array().unwrap().iter().flat_map(|series| series["exemplars"].as_array().unwrap());
    let ids: Vec<_> = exemplars.map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned()).collect();
    let known = traces(&chain.said().await);
    assert!(!ids.is_empty() && ids.iter().all(|id| known.contains(id)), "{ids:?}");
}
