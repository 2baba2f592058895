//! Spans of messages, ended by the line of their request: at the true end, in every case.

use std::time::Duration;

use super::cases::{end, start};
use super::with_each;
use crate::haproxy::Program;
use crate::process::eventually;
use crate::scrape::Metrics;
use crate::setup::{Chain, Setup, trace_id};
use crate::spans::{Span, assert_nine, find, names};

/// The nine spans where HAProxy bears them, else the two of HTTP events.
fn messages(program: &Program) -> Setup<'static> {
    let spoe_cfg = if program.bears_nine_spans() { "spoe.cfg" } else { "spoe-http.cfg" };
    Setup { spoe_cfg, lines: true, ..Setup::default() }
}

async fn trace(chain: &Chain, id: &str, complete: impl Fn(&[Span]) -> bool) -> Vec<Span> {
    eventually(&format!("the spans of {id}"), || {
        let mut spans = chain.collector.spans();
        spans.retain(|span| span.trace_id == id);
        complete(&spans).then_some(spans)
    })
    .await
}

fn of_service(spans: &[Span], service: &str) -> usize {
    spans.iter().filter(|span| span.service == service).count()
}

/// With the agent's idle timeout of two minutes: what is there in time was ended by its line.
#[tokio::test]
async fn denied_lost_and_aborted_requests_are_complete_at_once() {
    with_each(async |program| {
        let chain = Chain::start(&program, messages(&program)).await;
        // Spans of a proxy that denied, that lost its server, that had an answer.
        let (denied, lost, answered) = if program.bears_nine_spans() { (4, 7, 9) } else { (1, 2, 2) };

        for (path, status, of_1, of_2) in [
            ("/denied", 403, denied, 0),
            ("/denied-2", 403, answered, denied),
            ("/close", 502, answered, lost),
            ("/status/404", 404, answered, answered),
        ] {
            let answer = chain.get_alone(path).await;
            assert_eq!(answer.status(), status, "{program:?} {path}");
            let id = trace_id(&answer);
            let complete =
                |spans: &[Span]| of_service(spans, "haproxy-1") >= of_1 && of_service(spans, "haproxy-2") >= of_2;
            let spans = trace(&chain, &id, complete).await;
            let what = format!("{program:?} {path}: {:#?}", names(&spans));
            // HAProxy tells of a response that never came, sometimes.
            let more = if path == "/close" { 1 } else { 0 };
            assert!((of_1 + of_2..=of_1 + of_2 + more).contains(&spans.len()), "{what}");
            assert!(spans.iter().all(|span| span.tag("haproxy.span.end").is_none()), "{what}");
            let session = find(&spans, "haproxy-1", "HAProxy session");
            assert_eq!(session.tag("http.response.status_code"), Some(status.to_string()), "{what}");
            assert!(session.tag("http.response.size").is_some(), "{what}");
            if path == "/close" {
                let inner = find(&spans, "haproxy-2", "HAProxy session");
                assert_eq!(inner.tag("haproxy.termination_state").as_deref(), Some("SH"), "{what}");
                assert_eq!(inner.tag("error.type").as_deref(), Some("502"), "{what}");
                let call = find(&spans, "haproxy-2", "Server session");
                assert_eq!(call.tag("error.type").as_deref(), Some("server_closed"), "{what}");
            }
        }

        // Its client goes away, and tells its trace by itself.
        let id = "0af7651916cd43dd8448eb211c80319c";
        let request = chain.http.get(format!("{}/slow", chain.url)).timeout(Duration::from_millis(200));
        let request = request.header("traceparent", format!("00-{id}-b7ad6b7169203331-01"));
        assert!(request.send().await.unwrap_err().is_timeout());
        let least = if program.bears_nine_spans() { 7 } else { 2 };
        let complete = |spans: &[Span]| {
            ["haproxy-1", "haproxy-2"].iter().all(|service| {
                of_service(spans, service) >= least
                    && spans.iter().any(|span| span.service == *service && span.name == "HAProxy session")
            })
        };
        let spans = trace(&chain, id, complete).await;
        assert!(spans.iter().all(|span| span.tag("haproxy.span.end").is_none()), "{program:?}: {:#?}", names(&spans));

        let none_open = |metrics: &Metrics| metrics.get("spans_open") == 0.0;
        let metrics = Metrics::scrape_until(&chain.spoa.admin, "no span is left open", none_open).await;
        assert!(metrics.get("log_requests_total{outcome=\"completed\"}") >= 10.0, "{}", metrics.text);
        metrics.assert_spans_add_up("otlp", 0.0);
    })
    .await;
}

#[tokio::test]
async fn sessions_last_as_long_as_the_body() {
    with_each(async |program| {
        let chain = Chain::start(&program, messages(&program)).await;
        let answer = chain.get_alone("/drip").await;
        let id = trace_id(&answer);
        let sent = std::time::Instant::now();
        answer.bytes().await.unwrap();
        let body = sent.elapsed();
        let all = if program.bears_nine_spans() { 18 } else { 4 };
        let spans = trace(&chain, &id, |spans| spans.len() >= all).await;
        let of = |service, name| {
            let span = find(&spans, service, name);
            end(span).duration_since(start(span)).unwrap()
        };
        // The server takes about two seconds for it.
        for service in ["haproxy-1", "haproxy-2"] {
            assert!(of(service, "HAProxy session") + Duration::from_millis(500) >= body, "{program:?}");
            if program.bears_nine_spans() {
                assert!(of(service, "HTTP response") > Duration::from_secs(1), "{program:?}: {body:?}");
            }
        }
        if program.bears_nine_spans() {
            assert_nine(&spans, "haproxy-1", "");
            assert_nine(&spans, "haproxy-2", &find(&spans, "haproxy-1", "Server session").span_id);
        }
    })
    .await;
}
