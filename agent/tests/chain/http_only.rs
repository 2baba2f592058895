//! The configuration for production: HTTP events only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::haproxy::{Program, extremes, programs};
use crate::lines::client::{Client, h2_get, hello};
use crate::process::PATIENCE;
use crate::setup::{Chain, Setup, Spoa, trace_id};
use crate::spans::{assert_times, by_trace, find, names};

const HTTP_ONLY: Setup<'static> = Setup {
    spoe_cfg: "spoe-http.cfg",
    spoe_timeout: "10s",
    cache: true,
    lines: false,
    tls: None,
    spoa_args: &["--idle-timeout", "500ms"],
    spoa_env: &[],
};

#[tokio::test]
async fn a_server_and_a_client_span_for_each_proxy() {
    for program in programs() {
        let tested = program.tested("HTTP events");
        let chain = Chain::start(&program, HTTP_ONLY).await;
        let id = trace_id(&chain.get("/two", &[]).await);
        let traces = by_trace(chain.collector.wait_for(4 * 2).await);
        let spans = &traces[&id];
        assert_eq!(spans.len(), 4, "{:#?}", names(spans));
        let [outer, call, inner, last] = [
            ("haproxy-1", "HAProxy session", 2),
            ("haproxy-1", "Server session", 3),
            ("haproxy-2", "HAProxy session", 2),
            ("haproxy-2", "Server session", 3),
        ]
        .map(|(service, name, kind)| {
            let span = find(spans, service, name);
            assert_eq!(span.proto.kind, kind, "{service}/{name}");
            span
        });
        assert_eq!(
            [&outer.parent, &call.parent, &inner.parent, &last.parent],
            ["", &outer.span_id, &call.span_id, &inner.span_id]
        );
        assert_times(spans);
        assert_eq!(outer.tag("network.protocol.version").as_deref(), Some("1.1"));

        // HAProxy~1 speaks HTTP/2 with who begins with it, and HTTP/1 with HAProxy~2.
        let mut client = Client::connect(chain.url.trim_start_matches("http://")).await;
        client.send(&[hello(), h2_get(1, "/over-http2")].concat()).await;
        assert!(client.until_streams_end(1, PATIENCE).await, "{program:?}");
        let spans = chain.collector.wait_for(4 * 3).await;
        let of_request: Vec<_> =
            spans.iter().filter(|span| span.tag("url.path").as_deref() == Some("/over-http2")).collect();
        assert_eq!(
            ["haproxy-1", "haproxy-2"].map(|service| {
                let span = of_request.iter().find(|span| span.service == service).unwrap();
                span.tag("network.protocol.version")
            }),
            ["2", "1.1"].map(|version| Some(version.to_owned()))
        );
        tested.passed();
    }
}

/// Up to 2.6.16, 2.8.7 and 2.9.6 HAProxy may forget `timeout processing`; `option contstats` wakes it. The agent stays away until all
/// are answered: its return would wake them too.
#[tokio::test]
async fn an_agent_that_goes_away_leaves_no_request_hanging() {
    let of_program = |program: Program| async move {
        let mut chain = Chain::start(&program, Setup { spoe_timeout: "500ms", cache: false, ..HTTP_ONLY }).await;
        let addr = chain.spoa.addr.clone();
        for round in 0..10 {
            let away = Arc::<AtomicBool>::default();
            let client = |n: usize| {
                let (http, url, away) = (chain.http.clone(), format!("{}/away/{n}", chain.url), away.clone());
                async move {
                    while !away.load(Relaxed) {
                        let answer = http.get(&url).timeout(PATIENCE).send().await;
                        assert_eq!(answer.map(|answer| answer.status().as_u16()).map_err(|e| e.is_timeout()), Ok(200));
                    }
                }
            };
            let clients: Vec<_> = (0..8).map(|n| tokio::spawn(client(n))).collect();
            tokio::time::sleep(Duration::from_millis(300)).await;
            chain.spoa.process.signal("-TERM");
            assert!(chain.spoa.process.ended().await.success());
            tokio::time::sleep(Duration::from_millis(100)).await;
            away.store(true, Relaxed);
            for client in clients {
                client.await.unwrap_or_else(|error| panic!("{program:?}, round {round}: {error}"));
            }
            chain.spoa = Spoa::start(&addr, &["--otlp", &chain.collector.url], &[]).await;
            chain.wait_until_traced().await;
        }
    };
    futures_util::future::join_all(extremes().into_iter().map(of_program)).await;
}

#[tokio::test]
async fn cache_hits_stay_200_and_closing_servers_do_no_harm() {
    for program in programs() {
        let chain = Chain::start(&program, HTTP_ONLY).await;
        let first = chain.get("/cached", &[]).await;
        let id = trace_id(&first);
        assert_eq!(first.bytes().await.unwrap(), "ok");
        for _ in 0..20 {
            let hit = chain.get("/cached", &[]).await;
            assert_eq!(hit.status(), 200, "{program:?}");
            assert_eq!(hit.bytes().await.unwrap(), "ok");
        }
        chain.origin.hit("/cached"); // once: the others were hits
        for _ in 0..5 {
            assert_eq!(chain.get_alone("/close").await.status(), 502);
        }
        assert_eq!(chain.get("/after", &[]).await.status(), 200);
        let spans = chain.collector.wait_for(4).await;
        assert!(spans.iter().any(|span| span.trace_id == id));
    }
}
