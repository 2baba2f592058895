//! The agent or the collector goes away under load: HAProxy answers every request.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::haproxy::extremes;
use crate::load::flood;
use crate::setup::{Chain, Setup, Spoa};
use crate::spans::{assert_nine, by_trace};

#[tokio::test]
async fn agent_restarted_under_load() {
    for program in extremes() {
        let mut chain = Chain::start(&program, Setup::default()).await;
        let url = chain.url.clone();
        let http = chain.http.clone();
        let load = tokio::spawn(async move {
            let requests = (0..400).map(|i| {
                let request = http.get(format!("{url}/restart/{i}"));
                async move { request.send().await.unwrap().status() }
            });
            stream::iter(requests).buffer_unordered(8).collect::<Vec<_>>().await
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let addr = chain.spoa.addr.clone();
        chain.spoa.process.signal("-TERM");
        assert!(chain.spoa.process.ended().await.success(), "SIGTERM ends it with success");
        chain.spoa = Spoa::start(&addr, &["--otlp", &chain.collector.url], &[]).await;
        let statuses = load.await.unwrap();
        assert_eq!(statuses.len(), 400);
        assert!(statuses.iter().all(|status| *status == 200), "{program:?}: every request is answered");
        // And tracing goes on.
        let ids = loop {
            let answer = chain.get("/again", &[]).await;
            if answer.headers().contains_key("x-trace-id") {
                break flood(&chain, 10, 2).await;
            }
        };
        let mut complete = ids.len();
        let end = std::time::Instant::now() + crate::process::PATIENCE;
        while complete > 0 && std::time::Instant::now() < end {
            let traces = by_trace(chain.collector.spans());
            complete = ids.iter().filter(|id| traces.get(*id).is_none_or(|spans| spans.len() < 18)).count();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let traces = by_trace(chain.collector.spans());
        for id in ids {
            assert_nine(&traces[&id], "haproxy-1", "");
        }
    }
}

#[tokio::test]
async fn collector_down_under_load() {
    for program in extremes() {
        let chain = Chain::start(&program, Setup::default()).await;
        chain.collector.wait_for(18).await;
        chain.collector.set_down(true);
        let down = flood(&chain, 50, 8).await;
        chain.collector.set_down(false);
        let up = flood(&chain, 50, 8).await;
        let traces = by_trace(chain.collector.wait_for(18 * 101).await);
        for id in down.iter().chain(&up) {
            assert_nine(&traces[id], "haproxy-1", "");
        }
    }
}
