//! Many requests at once, and endless ids.

use futures_util::stream::{self, StreamExt};

use crate::haproxy::{extremes, programs};
use crate::process::eventually;
use crate::scrape::Metrics;
use crate::setup::{Chain, Setup, trace_id};
use crate::spans::{assert_nine, assert_times, by_trace, find};

/// Sends `n` requests, `at_once` at a time; the trace ids of the answers.
pub async fn flood(chain: &Chain, n: usize, at_once: usize) -> Vec<String> {
    let requests = (0..n).map(|i| async move {
        let answer = chain.get(&format!("/load/{i}"), &[]).await;
        assert_eq!(answer.status(), 200);
        trace_id(&answer)
    });
    stream::iter(requests).buffer_unordered(at_once).collect().await
}

#[tokio::test]
async fn five_hundred_requests_lose_and_double_nothing() {
    for program in programs() {
        let tested = program.tested("nine spans");
        let chain = Chain::start(&program, Setup::default()).await;
        let ids = flood(&chain, 500, 32).await;
        let traces = by_trace(chain.collector.wait_for(18 * 501).await);
        assert_eq!(traces.len(), 501, "{program:?}: the requests and the warm-up");
        for id in ids {
            let spans = &traces[&id];
            assert_nine(spans, "haproxy-1", "");
            assert_nine(spans, "haproxy-2", &find(spans, "haproxy-1", "Server session").span_id);
            assert_times(spans);
        }
        tested.passed();
    }
}

/// SIGHUP of the agent, again and again, each with another file: no request fails, no span is lost.
#[tokio::test]
async fn the_agent_reads_its_configuration_again_under_load() {
    for program in extremes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, "idle-timeout = \"2m\"\n").unwrap();
        let env = [("OTEL_BSP_SCHEDULE_DELAY", "20")];
        let args = ["--config", file.to_str().unwrap()];
        let mut chain = Chain::start(&program, Setup { spoa_args: &args, spoa_env: &env, ..Setup::default() }).await;
        let ok = "config_reloads_total{result=\"ok\"}";
        let reloads = async {
            for round in 1..=6 {
                std::fs::write(&file, format!("queue-spans = {}\nsample = \"ratio=1\"\n", 10_000 + round)).unwrap();
                chain.spoa.process.signal("-HUP");
                let read = |metrics: &Metrics| metrics.get(ok) >= f64::from(round);
                Metrics::scrape_until(&chain.spoa.admin, "it is read", read).await;
            }
        };
        let (ids, ()) = futures_util::join!(flood(&chain, 500, 16), reloads);
        let traces = by_trace(chain.collector.wait_for(18 * 501).await);
        for id in ids {
            assert_nine(&traces[&id], "haproxy-1", "");
        }
        chain.spoa.process.signal("-TERM");
        assert!(chain.spoa.process.ended().await.success());
        let account =
            chain.spoa.process.line("accounts", |line| line.contains("spans accounted for").then(|| line.to_owned()));
        let account = account.await;
        let figure = |name: &str| {
            let rest = account.split(&format!(" {name}=")).nth(1).unwrap();
            rest.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let started = figure("started");
        assert!(started >= 18 * 501 && figure("dropped") == 0, "{account}");
        assert_eq!((figure("ended"), figure("exported")), (started, started), "{account}");
    }
}

#[tokio::test]
async fn reload_under_load() {
    for program in extremes() {
        let mut chain = Chain::start(&program, Setup::default()).await;
        let (http, url) = (chain.http.clone(), chain.url.clone());
        let load = tokio::spawn(async move {
            let requests = (0..600).map(|i| {
                let request = http.get(format!("{url}/reload/{i}"));
                async move {
                    // What waits in the backlog of the old process when it closes its listener is reset by the kernel.
                    for _ in 0..5 {
                        if let Ok(answer) = request.try_clone().unwrap().send().await {
                            return trace_id(&answer);
                        }
                    }
                    panic!("request {i} failed five times");
                }
            });
            stream::iter(requests).buffer_unordered(16).collect::<Vec<_>>().await
        });
        for proxy in &mut chain.proxies {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            proxy.reload();
        }
        let ids = load.await.unwrap();
        for proxy in &mut chain.proxies {
            proxy.reloaded().await;
        }
        let traces = eventually("all traces are complete", || {
            let traces = by_trace(chain.collector.spans());
            ids.iter().all(|id| traces.get(id).is_some_and(|spans| spans.len() >= 18)).then_some(traces)
        })
        .await;
        for id in ids {
            assert_nine(&traces[&id], "haproxy-1", "");
        }
    }
}

#[tokio::test]
async fn ids_that_never_finish_stay_within_the_memory_bound() {
    let program = &programs()[0];
    let args = ["--max-memory", "64KiB"];
    let chain = Chain::start(program, Setup { spoa_args: &args, ..Setup::default() }).await;
    // Denied by HAProxy~2, so that its spans stay open.
    let requests = (0..500).map(|_| async { chain.get("/denied-2", &[]).await.status() });
    let statuses: Vec<_> = stream::iter(requests).buffer_unordered(8).collect().await;
    assert!(statuses.iter().all(|status| *status == 403));
    eventually("evicted spans at the collector", || {
        let evicted = |s: &&crate::spans::Span| s.tag("haproxy.span.end").as_deref() == Some("evicted");
        (chain.collector.spans().iter().filter(evicted).count() > 4 * 300).then_some(())
    })
    .await;
}
