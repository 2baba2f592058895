//! The Collector goes away under load: what the agent's figures say is what Jaeger holds.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use crate::chain::{Chain, Mode};
use crate::compare::{Spans, differences, traces};
use crate::haproxy::extremes;
use crate::process::PATIENCE;
use crate::scrape::Metrics;
use crate::servers::{self, Collector, Jaeger, assert_quiet};

/// The Collector answers when Jaeger has answered: what it acknowledged cannot be lost with it.
const NOTHING_IN_BETWEEN: &str = "
exporters: {otlp: {sending_queue: {enabled: false}, retry_on_failure: {enabled: false}}}
service: {pipelines: {traces: {processors: [memory_limiter]}}}
";
/// What the agent says of a Collector that is away, and of what it could not keep for so long.
const OUTAGE: &str = "OTLP export fails, spans are kept";
const LOSS: [&str; 3] =
    ["spans not exported to the collector", "received spans not forwarded", "some spans were not exported"];

struct Setup {
    chain: Chain,
    collector: Collector,
    jaeger: Jaeger,
}

impl Setup {
    async fn start(programs: &[String; 2], overlay: &str, args: &[&str]) -> Self {
        let jaeger = Jaeger::start(&programs[0], None).await;
        let env = [("JAEGER_ENDPOINT", jaeger.otlp.grpc.as_str())];
        let collector = Collector::start(&programs[1], "plain.yaml", &env, overlay).await;
        let url = format!("http://{}", collector.otlp.http);
        let args = [&["--otlp", &url, "--batch-delay", "20ms"], args].concat();
        let program = extremes().pop().expect("an HAProxy");
        Setup { chain: Chain::start(&program, Mode::LeanByRing, &args, &[]).await, collector, jaeger }
    }

    /// Requests for so long as `during` takes, and some after it.
    async fn load_during<T>(&mut self, during: impl AsyncFnOnce(&mut Collector, &str) -> T) -> T {
        let over = std::cell::Cell::new(false);
        let chain = &self.chain;
        let requests = stream::iter(0..).take_while(|_| std::future::ready(!over.get())).map(|n| async move {
            chain.get_kept(&format!("/load/{n}"), 200).await;
            // Two hundred a second at most: the agent is to remember them all, however long a Collector takes to come back.
            tokio::time::sleep(Duration::from_millis(40)).await;
        });
        let load = requests.buffer_unordered(8).for_each(|()| std::future::ready(()));
        let done = async {
            let done = during(&mut self.collector, &self.chain.spoa.admin).await;
            over.set(true);
            done
        };
        let ((), done) = futures_util::join!(load, done);
        for n in 0..50 {
            self.chain.get_kept(&format!("/after/{n}"), 200).await;
        }
        done
    }

    /// All that the agent says, and the figures that belong to it.
    async fn said(&self) -> (Spans, Metrics) {
        // The last requests' spans are there when those of the next ones are.
        let last = self.chain.requests().await;
        let (said, metrics) = self.chain.settled(&last).await;
        metrics.assert_spans_add_up("otlp", 0.0);
        (said, metrics)
    }

    /// Waits until Jaeger has so many of these spans.
    async fn held(&self, said: &Spans, count: usize) -> Spans {
        let traces = traces(said);
        let end = Instant::now() + PATIENCE;
        loop {
            let held = self.jaeger.spans(&traces).await;
            if held.len() >= count || Instant::now() > end {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A figure of the agent's own spans in the last lines of its log.
fn accounted(log: &[String], name: &str) -> f64 {
    let line = log
        .iter()
        .find(|line| line.contains("spans accounted for") && line.contains("exporter=\"otlp\""))
        .expect("an account");
    let rest = line.split(&format!(" {name}=")).nth(1).expect("the figure");
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// They end with what the figures were before, and each span that was begun has ended.
fn assert_account(log: &[String], metrics: &Metrics) {
    let [started, ended, exported, dropped] =
        ["started", "ended", "exported", "dropped"].map(|name| accounted(log, name));
    assert_eq!((started, ended), (ended, exported + dropped));
    let of = |family: &str| metrics.sum(family, "exporter=\"otlp\"");
    assert_eq!(exported, of("export_spans_exported_total"));
    assert_eq!(dropped, of("export_spans_dropped_total"));
}

/// The Collector ends by this signal and starts again, both under load.
async fn nothing_is_lost(programs: &[String; 2], overlay: &str, signal: &str) {
    let mut setup = Setup::start(programs, overlay, &[]).await;
    let retried = "export_request_failures_total{exporter=\"otlp\",outcome=\"retried\"}";
    setup
        .load_during(async |collector, admin| {
            for round in 1..=2 {
                let exported = Metrics::scrape(admin).await.sum("export_spans_exported_total", "exporter=\"otlp\"");
                let goes_on =
                    |m: &Metrics| m.sum("export_spans_exported_total", "exporter=\"otlp\"") > exported + 200.0;
                let failures = Metrics::scrape_until(admin, "spans are exported", goes_on).await.get(retried);
                collector.process.signal(signal);
                collector.process.ended().await;
                let failing =
                    |m: &Metrics| m.get(retried) > failures + 1.0 && m.sum("export_queue_spans", "otlp") > 100.0;
                Metrics::scrape_until(admin, &format!("round {round}: the export fails"), failing).await;
                collector.start_again().await;
            }
        })
        .await;
    let (said, metrics) = setup.said().await;
    assert_eq!(metrics.of_collector("dropped_total"), 0.0);
    assert_eq!(metrics.of_collector("exported_total"), said.len() as f64);
    let held = setup.held(&said, said.len()).await;
    let found = differences(&said, &held);
    assert!(found.is_empty(), "{signal}: {} differences of {}:\n{}", found.len(), said.len(), found.join("\n"));
    setup.collector.assert_no_warnings();
    // Of a Collector that was killed it had to say that the answer could not be written.
    if signal == "-TERM" {
        setup.jaeger.assert_no_warnings();
    }
    let agent = setup.chain.end().await.process;
    assert_quiet(&agent, &[OUTAGE]);
    assert_account(&agent.output(), &metrics);
}

#[tokio::test]
async fn a_collector_killed_under_load_loses_nothing_that_it_had_not_acknowledged() {
    let Some(programs) = servers::programs(["SPOP_JAEGER", "SPOP_COLLECTOR"]) else { return };
    nothing_is_lost(&programs, NOTHING_IN_BETWEEN, "-KILL").await;
}

#[tokio::test]
async fn a_collector_restarted_under_load_loses_nothing() {
    let Some(programs) = servers::programs(["SPOP_JAEGER", "SPOP_COLLECTOR"]) else { return };
    nothing_is_lost(&programs, "", "-TERM").await;
}

/// Longer than --export-max-age: what Jaeger lacks is what was counted as dropped.
#[tokio::test]
async fn a_collector_away_for_too_long_costs_what_is_counted() {
    let Some(programs) = servers::programs(["SPOP_JAEGER", "SPOP_COLLECTOR"]) else { return };
    let mut setup = Setup::start(&programs, NOTHING_IN_BETWEEN, &["--export-max-age", "1s"]).await;
    setup
        .load_during(async |collector, admin| {
            let exported = |m: &Metrics| m.sum("export_spans_exported_total", "exporter=\"otlp\"") > 200.0;
            Metrics::scrape_until(admin, "spans are exported", exported).await;
            collector.process.signal("-KILL");
            collector.process.ended().await;
            let expired =
                |m: &Metrics| m.sum("export_spans_dropped_total", "exporter=\"otlp\",cause=\"expired\"") > 100.0;
            Metrics::scrape_until(admin, "spans are given up", expired).await;
            collector.start_again().await;
            let before = Metrics::scrape(admin).await.sum("export_spans_exported_total", "exporter=\"otlp\"");
            let again = |m: &Metrics| m.sum("export_spans_exported_total", "exporter=\"otlp\"") > before + 200.0;
            Metrics::scrape_until(admin, "spans are exported again", again).await;
        })
        .await;
    let (said, metrics) = setup.said().await;
    let (exported, dropped) = (metrics.of_collector("exported_total"), metrics.of_collector("dropped_total"));
    assert!(dropped > 100.0);
    assert_eq!(exported + dropped, said.len() as f64);
    let held = setup.held(&said, exported as usize).await;
    let found = differences(&said, &held);
    assert!(found.iter().all(|line| line.ends_with(": missing")), "{}", found.join("\n"));
    assert_eq!((held.len() as f64, found.len() as f64), (exported, dropped));
    let agent = setup.chain.end().await.process;
    assert_quiet(&agent, &[&[OUTAGE], &LOSS[..]].concat());
    assert_account(&agent.output(), &metrics);
}
