//! The admin endpoints of `spoa-otel`: the figures against what was sent, readiness through its whole life.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::common::{Event, Peer};
use crate::program_support::Session;
use crate::scrape::{Metrics, get};
use spoa_otel::admin::health::{self, Health};
use spoa_otel::admin::{Admin, AdminConfig, Site};
use spop_core::{ClientConfig, Status, Value};
use tokio::io::AsyncWriteExt;

/// A rule with what must be escaped in a label; twice, which must not be two rows.
const RULE: &str = r#"path=/a"b\c,ratio=0"#;

#[tokio::test]
async fn figures_are_what_was_sent() {
    let collector = Collector::start().await;
    let args = ["--otlp", &collector.url, "--console", "--sample", RULE, "--sample", RULE];
    let mut session = Session::start(&args, &[]).await;
    for n in 0..10 {
        let id = format!("id-{n}");
        session.message(&id, &[("span", "a"), ("span", "b"), ("span", "c"), ("finish", "c")]).await;
        if n % 2 == 0 {
            session.message(&id, &[("finish", "*")]).await;
        }
    }
    let unsampled = [("span", "a"), ("tag", "url.path"), ("", r#"/a"b\c"#), ("finish", "*")];
    session.message("unsampled", &unsampled).await;
    session.notify("check-client-ip", &[("ip", "192.0.2.1")]).await;
    session.notify("otel:no-id", &[("span", "a")]).await;
    session.message("", &[("span", "a")]).await;
    session.message("", &[("span", "a")]).await;
    session.message("odd", &[("nonsense", "1"), ("tag", "too early"), ("finish", "nobody")]).await;
    session.message("odd", &[("extract", "malformed")]).await;
    let notifies = 15.0 + 7.0;

    let mut leaving = Peer::hello(&session.addr, ClientConfig::DEFAULT).await;
    leaving.client.close(Status::NORMAL);
    leaving.send_own().await;
    assert_eq!(leaving.event().await, Event::Disconnect(Status::NORMAL));
    let mut broken = Peer::connect(&session.addr, ClientConfig::DEFAULT).await;
    // A NOTIFY where HELLO was expected.
    broken.stream.write_all(b"\0\0\0\x07\x03\0\0\0\x01\x01\x01").await.unwrap();
    assert_eq!(broken.event().await, Event::Disconnect(Status::INVALID_FRAME));
    drop((leaving, broken));

    let settled = |m: &Metrics| {
        m.get("connections_open") == 1.0
            && m.get("export_spans_exported_total{exporter=\"otlp\"}") == 20.0
            && m.get("export_queue_spans{exporter=\"otlp\"}") == 0.0
            && m.get("export_queue_spans{exporter=\"console\"}") == 0.0
    };
    let metrics = Metrics::scrape_until(&session.admin, "20 spans are exported", settled).await;
    let expected = [
        ("connections_total", 3.0),
        ("connections_refused_total", 0.0),
        ("handshakes_total{kind=\"connection\"}", 2.0),
        ("handshakes_total{kind=\"healthcheck\"}", 0.0),
        ("frames_received_total{type=\"hello\"}", 2.0),
        ("frames_received_total{type=\"notify\"}", notifies),
        ("frames_received_total{type=\"fragment\"}", 0.0),
        ("frames_received_total{type=\"disconnect\"}", 1.0),
        ("frames_received_total{type=\"unknown\"}", 0.0),
        ("frames_sent_total{type=\"hello\"}", 2.0),
        ("frames_sent_total{type=\"ack\"}", notifies),
        ("frames_sent_total{type=\"disconnect\"}", 2.0),
        ("protocol_errors_total", 1.0),
        ("disconnects_total{side=\"haproxy\",status=\"0\",reason=\"normal\"}", 1.0),
        ("disconnects_total{side=\"agent\",status=\"0\",reason=\"normal\"}", 1.0),
        ("disconnects_total{side=\"agent\",status=\"4\",reason=\"invalid frame received\"}", 1.0),
        ("notifies_total", notifies),
        ("acks_total", notifies),
        ("notifies_in_flight", 0.0),
        ("handler_duration_seconds_count", notifies),
        ("handler_duration_seconds_bucket{le=\"+Inf\"}", notifies),
        ("messages_total", notifies - 1.0),
        ("messages_foreign_total", 1.0),
        ("messages_rejected_total{cause=\"no_id\"}", 1.0),
        ("messages_rejected_total{cause=\"empty_id\"}", 2.0),
        ("arguments_ignored_total{cause=\"unknown\"}", 1.0),
        // With the span of the message without an id.
        ("arguments_ignored_total{cause=\"misplaced\"}", 2.0),
        ("finishes_unknown_total", 1.0),
        ("extracts_ignored_total{cause=\"invalid\"}", 1.0),
        ("spans_started_total", 31.0),
        ("spans_open", 10.0),
        ("spans_ended_total{cause=\"finish\"}", 21.0),
        ("spans_sampled_total", 20.0),
        ("spans_unsampled_total", 1.0),
        ("sampling_decisions_total{decided_by=\"path=/a\\\"b\\\\c,ratio=0\",decision=\"unsampled\"}", 1.0),
        // Ten with spans, and the one of the malformed caller.
        ("sampling_decisions_total{decided_by=\"sampler\",decision=\"sampled\"}", 11.0),
        ("export_spans_dropped_total{exporter=\"otlp\",cause=\"queue_full\"}", 0.0),
        ("http_connections_refused_total{listener=\"admin\"}", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(metrics.get(series), value, "{series}");
    }
    assert!(metrics.get("ids_open") >= 5.0 && metrics.get("ids_bytes") > 0.0, "{}", metrics.text);
    assert!(metrics.get("handler_duration_seconds_sum") > 0.0);
    let requests = metrics.get("export_requests_total{exporter=\"otlp\"}");
    assert!(requests >= 1.0);
    assert_eq!(metrics.get("export_request_duration_seconds_count{exporter=\"otlp\"}"), requests);
    metrics.assert_spans_add_up("otlp", 0.0);
    let version = concat!("spoa_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",");
    assert!(metrics.text.contains(version), "{}", metrics.text);
    for family in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
        assert!(metrics.text.contains(&format!("\nprocess_{family} ")), "{family}: {}", metrics.text);
    }
    promtool_accepts(&metrics.text);
}

/// `promtool check metrics`, if there is one.
pub(crate) fn promtool_accepts(text: &str) {
    let Some(promtool) = std::env::var_os("SPOP_PROMTOOL") else {
        // Past the test runner's capture.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: promtool check metrics: SPOP_PROMTOOL does not name a promtool").unwrap();
        return;
    };
    let check = |text: &str| {
        let mut command = Command::new(&promtool);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{promtool:?}: {error}"));
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(check(text), (true, String::new()));
    let (accepted, said) = check(&format!("{text}nameless_count 1\n"));
    assert!(!accepted && said.contains("nameless_count"), "{said}");
}

/// The manual's table has every family, and nothing that is not there.
#[tokio::test]
async fn the_manual_names_every_family() {
    let files = tempfile::tempdir().unwrap();
    let all = ["--console", "--otlp-listen", "127.0.0.1:0", "--log-listen", "udp://127.0.0.1:0"];
    let tls = ["--listen", "127.0.0.1:0,tls", "--tls-cert", &crate::monitoring::certificate(files.path())];
    let session = Session::start(&[&all[..], &tls[..]].concat(), &[]).await;
    let metrics = Metrics::scrape(&session.admin).await;
    let families = metrics.text.lines().filter_map(|line| line.strip_prefix("# TYPE spoa_")?.split(' ').next());
    let families: BTreeSet<&str> = families.collect();
    assert!(families.contains("build_info") && families.len() > 50, "{families:?}");
    let manual = include_str!("../../docs/metrics.md");
    let names = manual.split("spoa_").skip(1).filter_map(|rest| {
        let name = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next()?;
        Some(name.strip_suffix("_bucket").unwrap_or(name))
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), families);
}

#[tokio::test]
async fn not_ready_before_listening_nor_while_draining() {
    let health = Arc::new(Health::default());
    let admin = Admin::bind("127.0.0.1:0", AdminConfig::default()).await.unwrap();
    let addr = admin.addrs()[0].to_string();
    let server = admin.serve(Site::new().with(health::ENDPOINTS, health::router(health.clone())));
    let ready = || async { get(&addr, "/readyz").await };
    assert_eq!(ready().await, (503, "starting: not all listeners are bound\n".to_owned()));
    health.ready();
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    health.draining();
    assert_eq!(ready().await, (503, "draining: the agent is stopping\n".to_owned()));
    assert_eq!(get(&addr, "/healthz").await, (200, "ok\n".to_owned()));
    server.shutdown(Duration::from_secs(20)).await;
    assert!(tokio::net::TcpStream::connect(&addr).await.is_err());
}

/// Sends NOTIFYs that open spans until the agent disconnects.
async fn load(addr: String, n: usize) {
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    for at in 0.. {
        let id = format!("{n}-{at}");
        let frame = peer.encode_notify(at, 1, |notify| {
            notify.message(b"otel:load").unwrap();
            for (name, value) in [("id", id.as_str()), ("span", "ended"), ("span", "open"), ("finish", "ended")] {
                notify.arg(name.as_bytes(), Value::from(value)).unwrap();
            }
        });
        if peer.stream.write_all(&frame).await.is_err() || !matches!(peer.event().await, Event::Ack { .. }) {
            return;
        }
    }
}

#[tokio::test]
async fn a_drain_under_load_can_be_watched_to_its_end() {
    // What nobody takes keeps the agent busy until the end of the grace time.
    let nobody = format!("http://127.0.0.1:{}", crate::process::free_port());
    let grace = Duration::from_secs(6);
    let mut session = Session::start(&["--otlp", &nobody, "--grace", "6s"], &[]).await;
    let admin = session.admin.clone();
    assert_eq!(get(&admin, "/readyz").await, (200, "ready\n".to_owned()));
    let loads: Vec<_> = (0..4).map(|n| tokio::spawn(load(session.addr.clone(), n))).collect();
    Metrics::scrape_until(&admin, "there is load", |m| m.get("connections_open") == 5.0 && m.get("acks_total") > 100.0)
        .await;

    session.process.signal("-TERM");
    let stopping = Instant::now();
    while get(&admin, "/readyz").await != (503, "draining: the agent is stopping\n".to_owned()) {
        assert!(stopping.elapsed() < crate::process::PATIENCE, "ready for ever");
    }
    for load in loads {
        load.await.unwrap();
    }
    let all_ended = |m: &Metrics| m.get("connections_open") == 0.0 && m.get("spans_open") == 0.0;
    Metrics::scrape_until(&admin, "all connections and spans have ended", all_ended).await;
    assert_eq!(get(&admin, "/healthz").await.0, 200);
    assert_eq!(get(&admin, "/readyz").await.0, 503);
    // The last of them are on their way to the exporter when the table is empty.
    let metrics = Metrics::scrape(&admin).await;
    assert!(stopping.elapsed() < grace, "all this was seen before the end");
    let ended = |cause: &str| metrics.get(&format!("spans_ended_total{{cause=\"{cause}\"}}"));
    // Each NOTIFY opened two spans, of which it ended one.
    let notifies = metrics.get("notifies_total");
    assert_eq!((ended("finish"), ended("shutdown")), (notifies, notifies));
    assert_eq!(metrics.get("acks_total"), notifies);
    metrics.assert_spans_add_up("otlp", 0.0);

    assert!(session.process.ended().await.success());
    assert!(tokio::net::TcpStream::connect(&admin).await.is_err());
}
