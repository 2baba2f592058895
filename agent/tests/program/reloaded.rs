//! SIGHUP: the configuration is read again while HAProxy is served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value as Json;

use crate::collector::Collector;
use crate::configuration::File;
use crate::process::eventually;
use crate::program_support::Session;
use crate::scrape::Metrics;
use crate::{account, assert_figures};

/// Writes the file anew, sends SIGHUP, and waits until the agent has read it.
async fn reload(session: &Session, file: &File, text: &str, result: &str) -> Metrics {
    let series = format!("config_reloads_total{{result=\"{result}\"}}");
    let before = Metrics::scrape(&session.admin).await.get(&series);
    fs::write(&file.path, text).unwrap();
    session.process.signal("-HUP");
    Metrics::scrape_until(&session.admin, "it is read", |metrics| metrics.get(&series) > before).await
}

/// So many ids with a span each.
async fn spans(session: &mut Session, ids: std::ops::Range<u32>) {
    for id in ids {
        session.message(&id.to_string(), &[("span", "a"), ("finish", "a")]).await;
    }
}

fn messages<'l>(lines: &'l [Json], level: &str) -> Vec<&'l str> {
    let lines = lines.iter().filter(|line| line["level"] == level);
    lines.map(|line| line["fields"]["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn another_collector_takes_over_under_load() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let text =
        |collector: &Collector| format!("otlp = \"{}\"\nbatch-delay = \"5ms\"\nbatch-spans = 20\n", collector.url);
    let file = File::new(&text(&a));
    let mut session = Session::start(&["--config", file.arg()], &[]).await;
    for (round, to) in [&b, &a, &b].into_iter().enumerate() {
        let first = 300 * round as u32;
        spans(&mut session, first..first + 150).await;
        fs::write(&file.path, text(to)).unwrap();
        session.process.signal("-HUP");
        // Without waiting for it.
        spans(&mut session, first + 150..first + 300).await;
        let ok = "config_reloads_total{result=\"ok\"}";
        let read = |metrics: &Metrics| metrics.get(ok) > round as f64;
        Metrics::scrape_until(&session.admin, "it is read", read).await;
    }
    spans(&mut session, 900..1_000).await;
    let metrics = Metrics::scrape(&session.admin).await;
    assert_eq!(metrics.get("spans_started_total"), 1_000.0);
    assert_eq!(metrics.get("connections_total"), 1.0);
    let lines = session.stop().await;
    let figures = [("started", 1_000), ("ended", 1_000), ("exported", 1_000), ("dropped", 0)];
    assert_figures(account(&lines, "otlp"), &figures);
    let (at_a, at_b) = (a.spans().len(), b.spans().len());
    assert!(at_a + at_b == 1_000 && at_a > 150 && at_b > 250, "{at_a} and {at_b}");
    assert_eq!(messages(&lines, "ERROR"), [""; 0]);
}

/// Spans that wait for a collector that is away go to the next one.
#[tokio::test]
async fn what_a_dead_collector_did_not_take_goes_to_the_next() {
    let b = Collector::start().await;
    let text = |url: &str| format!("otlp = \"{url}\"\nbatch-delay = \"5ms\"\n");
    let file = File::new(&text(&format!("http://127.0.0.1:{}", crate::process::free_port())));
    let mut session = Session::start(&["--config", file.arg()], &[]).await;
    spans(&mut session, 0..50).await;
    let failing = |m: &Metrics| m.sum("export_request_failures_total", "retried") > 0.0;
    Metrics::scrape_until(&session.admin, "it fails", failing).await;
    reload(&session, &file, &text(&b.url), "ok").await;
    b.wait_for(50).await;
    let figures = [("started", 50), ("exported", 50), ("dropped", 0)];
    assert_figures(account(&session.stop().await, "otlp"), &figures);
}

#[tokio::test]
async fn a_wrong_file_changes_nothing() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let right = format!("otlp = \"{}\"\nbatch-delay = \"5ms\"\n", a.url);
    let file = File::new(&right);
    let mut session = Session::start(&["--config", file.arg()], &[]).await;
    let used_since = Metrics::scrape(&session.admin).await.get("config_last_success_timestamp_seconds");
    assert!(used_since > 1.7e9, "{used_since}");
    let wrong = format!("otlp = \"{}\"\nsample = \"ratio=0\"\nqueue-spans = 0\nlog-level = \"loud\"\nx = 1\n", b.url);
    let metrics = reload(&session, &file, &wrong, "failed").await;
    assert_eq!(metrics.get("config_reloads_total{result=\"ok\"}"), 0.0);
    assert_eq!(metrics.get("config_last_success_timestamp_seconds"), used_since);
    fs::remove_file(&file.path).unwrap();
    session.process.signal("-HUP");
    let failed = "config_reloads_total{result=\"failed\"}";
    Metrics::scrape_until(&session.admin, "it is missed", |metrics| metrics.get(failed) == 2.0).await;
    spans(&mut session, 0..30).await;
    let lines = session.stop().await;
    assert_figures(account(&lines, "otlp"), &[("started", 30), ("exported", 30), ("unsampled", 0)]);
    assert_eq!((a.spans().len(), b.spans().len()), (30, 0));
    let errors = messages(&lines, "ERROR");
    for expected in
        ["toml:3: invalid value '0'", "toml:4: invalid value 'loud'", "toml:5: there is no option x", "No such file"]
    {
        assert_eq!(errors.iter().filter(|error| error.contains(expected)).count(), 1, "{expected}: {errors:#?}");
    }
    assert_eq!(errors.iter().filter(|error| error.ends_with("nothing changes")).count(), 2, "{errors:#?}");
}

#[tokio::test]
async fn sampling_limits_and_the_log_change_and_what_cannot_is_named() {
    let a = Collector::start().await;
    let head = format!("otlp = \"{}\"\nbatch-delay = \"5ms\"\n", a.url);
    let file = File::new(&head);
    let mut session = Session::start(&["--config", file.arg()], &[]).await;
    spans(&mut session, 0..10).await;
    let text = format!(
        "{head}workers = 2\nmax-spans-per-id = 1\nlog-level = \"error\"\nsample = \"ratio=0\"\nmax-connections = 1\n\
         [environment]\nOTEL_SERVICE_NAME = \"other\"\n"
    );
    reload(&session, &file, &text, "ok").await;
    spans(&mut session, 10..30).await;
    session.message("30", &[("span", "a"), ("span", "b"), ("finish", "*")]).await;
    // The log says why, and nobody else comes in.
    let refused = |metrics: &Metrics| metrics.get("connections_refused_total") > 0.0;
    let (addr, admin) = (session.addr.clone(), session.admin.clone());
    let end = std::time::Instant::now() + crate::process::PATIENCE;
    while !refused(&Metrics::scrape(&admin).await) {
        assert!(std::time::Instant::now() < end, "another connection is refused");
        drop(tokio::net::TcpStream::connect(&addr).await);
    }
    reload(&session, &file, &head, "ok").await;
    spans(&mut session, 31..41).await;
    let lines = session.stop().await;
    let figures = [("started", 20), ("ended", 20), ("exported", 20), ("dropped", 0), ("unsampled", 21)];
    assert_figures(account(&lines, "otlp"), &figures);
    assert!(a.spans().iter().all(|span| span.service == "haproxy"));
    let fixed = |name: &str| {
        messages(&lines, "WARN").iter().filter(|text| text.starts_with(&format!("{name} cannot change"))).count()
    };
    assert_eq!(
        (fixed("workers"), fixed("OTEL_SERVICE_NAME"), fixed("sample"), fixed("log-level")),
        (1, 1, 0, 0),
        "{lines:#?}"
    );
    // Those between were below the level.
    for text in ["SIGHUP: the configuration is read again", "the configuration is in use"] {
        assert_eq!(messages(&lines, "INFO").iter().filter(|told| **told == text).count(), 1, "{text}: {lines:#?}");
    }
}

#[tokio::test]
async fn many_signals_at_once_and_without_a_file() {
    let a = Collector::start().await;
    let mut session = Session::start(&["--otlp", &a.url, "--batch-delay", "5ms"], &[]).await;
    for id in 0..100 {
        if id % 10 == 0 {
            session.process.signal("-HUP");
        }
        spans(&mut session, id..id + 1).await;
    }
    let ok = "config_reloads_total{result=\"ok\"}";
    Metrics::scrape_until(&session.admin, "some were read", |metrics| metrics.get(ok) > 0.0).await;
    for _ in 0..10 {
        session.process.signal("-HUP");
    }
    let lines = session.stop().await;
    assert_figures(account(&lines, "otlp"), &[("started", 100), ("exported", 100), ("dropped", 0)]);
    assert_eq!(a.spans().len(), 100);
    assert_eq!(messages(&lines, "ERROR"), [""; 0]);
}

/// Certificates, too, without any configuration file.
#[tokio::test]
async fn files_that_are_named_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&ca, made.cert.pem()).unwrap();
    let env = [("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().unwrap())];
    let session = Session::start(&["--otlp", "https://127.0.0.1:1"], &env).await;
    let figure = |result| format!("config_reloads_total{{result=\"{result}\"}}");
    session.process.signal("-HUP");
    Metrics::scrape_until(&session.admin, "read", |metrics| metrics.get(&figure("ok")) == 1.0).await;
    fs::write(&ca, "nothing").unwrap();
    session.process.signal("-HUP");
    Metrics::scrape_until(&session.admin, "refused", |metrics| metrics.get(&figure("failed")) == 1.0).await;
    let named = eventually("it is named", || {
        session.process.output().into_iter().find(|line| line.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: "))
    });
    assert!(named.await.contains("no PEM certificate in this file"));
    session.stop().await;
}

/// What is fixed stays as it was read, although its file is gone, and everything else changes.
#[tokio::test]
async fn a_secret_that_moved_does_not_stand_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let [former, latter] = ["former", "latter"].map(|name| {
        let path = dir.path().join(name);
        fs::write(&path, "token\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    });
    let text = |token: &Path, ratio: u8| {
        format!(
            "otlp-listen = \"127.0.0.1:0\"\notlp-token-file = \"{}\"\nsample = [\"ratio={ratio}\"]\n",
            token.display()
        )
    };
    let file = File::new(&text(&former, 1));
    let mut session = Session::start(&["--config", file.arg()], &[]).await;
    spans(&mut session, 0..10).await;
    fs::remove_file(&former).unwrap();
    for round in 0..2 {
        let metrics = reload(&session, &file, &text(&latter, 0), "ok").await;
        assert_eq!(metrics.get("config_reloads_total{result=\"failed\"}"), 0.0, "{round}");
    }
    spans(&mut session, 10..30).await;
    let lines = session.stop().await;
    let warnings = messages(&lines, "WARN");
    let told = warnings.iter().filter(|warning| warning.starts_with("otlp-token-file cannot change")).count();
    assert_eq!((told, messages(&lines, "ERROR")), (2, vec![]), "{warnings:#?}");
    assert_figures(account(&lines, "console"), &[("exported", 10), ("unsampled", 20)]);
}

#[tokio::test]
async fn the_export_of_metrics_begins_with_the_agent() {
    let collector = Collector::start().await;
    let text = |disabled: bool| {
        let url = &collector.url;
        format!("otlp = \"{url}\"\n[environment]\nOTEL_METRICS_EXPORTER = \"otlp\"\nOTEL_SDK_DISABLED = {disabled}\n")
    };
    let file = File::new(&text(true));
    // It has an effect, if not now.
    let session = Session::start(&["--config", file.arg()], &[("OTEL_METRIC_EXPORT_INTERVAL", "60000")]).await;
    reload(&session, &file, &text(false), "ok").await;
    let lines = session.stop().await;
    let warnings = messages(&lines, "WARN");
    let said = |text: &str| warnings.iter().filter(|warning| warning.contains(text)).count();
    assert_eq!((said("the export of metrics does not begin"), said("has no effect")), (1, 0), "{warnings:#?}");
}
