//! The configuration for production: HTTP events only.

use crate::haproxy::programs;
use crate::setup::{trace_id, Chain, Setup};
use crate::spans::{assert_times, by_trace, find, names};

const HTTP_ONLY: Setup<'static> =
    Setup { spoe_cfg: "spoe-http.cfg", cache: true, spoa_args: &["--idle-timeout", "500ms"], spoa_env: &[] };

#[tokio::test]
async fn a_server_and_a_client_span_for_each_proxy() {
    for program in programs() {
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
    }
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
