//! TLS with certificates of both sides between HAProxy and the agent: NOTIFYs, health checks, and log lines by a ring.

use std::time::Duration;

use tokio::sync::watch;

use super::client::get;
use super::handover::load;
use super::with_each;
use crate::authority::Authority;
use crate::certificates::Files;
use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, extremes};
use crate::origin::Origin;
use crate::process::{eventually, free_port};
use crate::scrape::Metrics;
use crate::setup::{Chain, Setup, Spoa, conf, trace_id};
use crate::spans::{assert_nine, by_trace};

/// The name in the agent's certificate.
const AGENT: &str = "agent.internal";

/// Of HAProxy: files in PEM beside the agent's.
fn certificates() -> Files {
    let files = Files::new();
    replace(&files);
    files.write("servers.pem", &files.servers.pem());
    for (name, (cert, key)) in [
        ("haproxy.pem", files.clients.certificate("haproxy")),
        ("expired.pem", files.clients.expired("haproxy")),
        ("stranger.pem", Authority::new().certificate("haproxy")),
    ] {
        files.write(name, &(cert + &key));
    }
    files
}

/// Another certificate for the agent.
fn replace(files: &Files) {
    let (cert, key) = files.servers.certificate(AGENT);
    files.write("cert.pem", &cert);
    files.write("key.pem", &key);
}

/// What stands behind a server's address.
fn words(files: &Files, own: Option<&str>, host: &str) -> String {
    let path = |name: &str| files.path(name).display().to_string();
    let own = own.map_or_else(String::new, |own| format!(" crt {}", path(own)));
    format!("ssl verify required ca-file {} verifyhost {host}{own}", path("servers.pem"))
}

struct Proxy {
    // Dropped in this order.
    _haproxy: Haproxy,
    spoa: Spoa,
    collector: Collector,
    _origin: Origin,
    addr: String,
}

impl Proxy {
    async fn start(program: &Program, files: &Files, tls: &str, agent_has_tls: bool) -> Self {
        let (collector, origin) = (Collector::start().await, Origin::start().await);
        let (log, suffix) = (format!("127.0.0.1:{}", free_port()), if agent_has_tls { ",tls" } else { "" });
        let (listener, options) = (format!("tcp://{log}{suffix}"), files.options());
        let mut args = vec!["--otlp", &collector.url, "--log-listen", &listener];
        args.extend(options.iter().map(String::as_str).filter(|_| agent_has_tls));
        let spoa = Spoa::start(&format!("127.0.0.1:{}{suffix}", free_port()), &args, &[]).await;
        let addr = format!("127.0.0.1:{}", free_port());
        let env = [
            ("SPOA_ADDRESS", spoa.addr.as_str()),
            ("SPOA_TLS", tls),
            ("SPOE_TIMEOUT", "10s"),
            ("LOG_ADDRESS", &log),
            ("LOG_TARGET", "ring@otel"),
            ("LISTEN_ADDRESS", &addr),
            ("SERVER_ADDRESS", &origin.addr),
        ];
        let haproxy = Haproxy::start(program, &conf("haproxy-lean.cfg"), &env, &addr).await;
        Proxy { _haproxy: haproxy, spoa, collector, _origin: origin, addr }
    }

    async fn request(&self, path: &str) {
        let seen = get(&self.addr, path).await;
        assert_eq!(seen.status, Some(200), "{path}");
        assert!(seen.trace_id.is_some(), "{path}");
    }

    /// Sends requests until the figures are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        let end = std::time::Instant::now() + crate::process::PATIENCE;
        loop {
            self.request("/until").await;
            let metrics = Metrics::scrape(&self.spoa.admin).await;
            if wanted(&metrics) {
                return metrics;
            }
            assert!(std::time::Instant::now() < end, "timed out: {what}\n{}", metrics.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn handshakes(metrics: &Metrics, listener: &str, result: &str) -> f64 {
    metrics.get(&format!("tls_handshakes_total{{listener=\"{listener}\",result=\"{result}\"}}"))
}

#[tokio::test]
async fn notifys_and_lines_go_by_mutual_tls() {
    with_each(async |program| {
        let files = certificates();
        let proxy = Proxy::start(&program, &files, &words(&files, Some("haproxy.pem"), AGENT), true).await;
        let metrics = proxy
            .until("asked, and told of it", |metrics| {
                metrics.sum("messages_total", "") > 2.0 && metrics.get("log_lines_total{result=\"ours\"}") > 2.0
            })
            .await;
        assert!(metrics.get("handshakes_total{kind=\"healthcheck\"}") > 0.0, "{program:?}");
        for listener in ["spop", "log"] {
            assert!(handshakes(&metrics, listener, "accepted") > 0.0, "{program:?} {listener}");
        }

        // Other certificates under load: no request fails, and what is connected stays so.
        let lines = |metrics: &Metrics| metrics.get("log_connections_total");
        let before = lines(&metrics);
        let (stop, over) = watch::channel(false);
        let load = tokio::spawn(load(proxy.addr.clone(), over));
        let done = "tls_reloads_total{result=\"done\"}";
        for round in 1..=3 {
            replace(&files);
            proxy.spoa.process.signal("-HUP");
            let read = |metrics: &Metrics| metrics.get(done) >= f64::from(round);
            Metrics::scrape_until(&proxy.spoa.admin, "the change is seen", read).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stop.send(true).unwrap();
        let ids = load.await.unwrap();
        let whole = || {
            let traces = by_trace(proxy.collector.spans());
            ids.iter().all(|id| traces.get(id).is_some_and(|spans| spans.len() == 2)).then_some(())
        };
        eventually("two spans of each request", whole).await;
        let metrics = Metrics::scrape(&proxy.spoa.admin).await;
        assert_eq!(lines(&metrics), before, "{program:?}: the ring's connection stays");
        for wrong in ["no_certificate", "unknown_authority", "plain", "failed", "refused"] {
            assert_eq!(handshakes(&metrics, "spop", wrong), 0.0, "{program:?} {wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn nine_spans_go_by_mutual_tls() {
    for program in extremes() {
        let files = certificates();
        let (tls, options) = (words(&files, Some("haproxy.pem"), AGENT), files.options());
        let spoa_args: Vec<_> = options.iter().map(String::as_str).collect();
        let setup = Setup { tls: Some(&tls), spoa_args: &spoa_args, ..Setup::default() };
        let chain = Chain::start(&program, setup).await;
        let id = trace_id(&chain.get("/nine", &[]).await);
        let traces = by_trace(chain.collector.wait_for(18 * 2).await);
        assert_nine(&traces[&id], "haproxy-1", "");
        let metrics = Metrics::scrape(&chain.spoa.admin).await;
        assert!(handshakes(&metrics, "spop", "accepted") > 0.0, "{program:?}");
    }
}

/// HAProxy serves its clients meanwhile; the agent has heard of none of them.
#[tokio::test]
async fn who_has_no_valid_certificate_is_not_heard() {
    with_each(async |program| {
        let files = certificates();
        for (tls, result) in [
            (words(&files, None, AGENT), "no_certificate"),
            (words(&files, Some("stranger.pem"), AGENT), "unknown_authority"),
            (words(&files, Some("expired.pem"), AGENT), "expired"),
            (words(&files, Some("haproxy.pem"), "other.internal"), "refused"),
            ("no-ssl".to_owned(), "plain"),
        ] {
            let proxy = Proxy::start(&program, &files, &tls, true).await;
            let counted =
                |metrics: &Metrics| ["spop", "log"].iter().all(|listener| handshakes(metrics, listener, result) > 0.0);
            let metrics = proxy.until(result, counted).await;
            for silent in ["notifies_total", "received_bytes_total", "protocol_errors_total", "log_connections_open"] {
                let value = metrics.get(silent);
                assert!(
                    value == 0.0 || (silent == "log_connections_open" && value <= 1.0),
                    "{program:?} {result}: {silent} {value}"
                );
            }
            assert_eq!(metrics.get("log_lines_received_total{transport=\"tcp\"}"), 0.0, "{program:?} {result}");
            assert_eq!(handshakes(&metrics, "spop", "accepted"), 0.0, "{program:?} {result}");
        }
        let proxy = Proxy::start(&program, &files, &words(&files, Some("haproxy.pem"), AGENT), false).await;
        let unexpected = |metrics: &Metrics| {
            ["spop", "log"].iter().all(|listener| handshakes(metrics, listener, "unexpected") > 0.0)
        };
        let metrics = proxy.until("TLS where there is none", unexpected).await;
        assert_eq!(metrics.get("notifies_total"), 0.0, "{program:?}");
    })
    .await;
}
