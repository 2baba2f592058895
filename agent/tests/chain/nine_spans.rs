//! One trace for each request: nine spans of each proxy, joined.

use crate::haproxy::{Program, check, programs};
use crate::setup::{Chain, Setup, conf, trace_id};
use crate::spans::{assert_nine, assert_times, by_trace, find};

#[tokio::test]
async fn one_trace_of_nine_and_nine_spans() {
    for program in programs() {
        let tested = program.tested("nine spans");
        let chain = Chain::start(&program, Setup::default()).await;
        let answer = chain.get("/hello", &[]).await;
        assert_eq!(answer.status(), 200);
        let id = trace_id(&answer);
        let traces = by_trace(chain.collector.wait_for(18 * 2).await);
        let spans = &traces[&id];
        assert_nine(spans, "haproxy-1", "");
        assert_nine(spans, "haproxy-2", &find(spans, "haproxy-1", "Server session").span_id);
        assert_times(spans);

        // The server is told the span of the last proxy that stands for its call.
        let server_session = find(spans, "haproxy-2", "Server session");
        let hit = chain.origin.hit("/hello");
        assert_eq!(hit.header("traceparent"), Some(format!("00-{id}-{}-03", server_session.span_id)));

        let session = find(spans, "haproxy-1", "HAProxy session");
        assert_eq!(session.tag("url.path").as_deref(), Some("/hello"));
        assert_eq!(session.tag("http.response.status_code").as_deref(), Some("200"));
        assert_eq!(session.tag("haproxy.span.end"), None);
        assert_eq!((session.proto.kind, server_session.proto.kind), (2, 3), "SERVER and CLIENT");
        let host = session.tag("server.address");
        assert_eq!(host.as_deref(), Some("127.0.0.1"));
        tested.passed();
    }
}

#[tokio::test]
async fn requests_of_one_connection_are_traces_of_their_own() {
    for program in programs() {
        let tested = program.tested("nine spans");
        let chain = Chain::start(&program, Setup::default()).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            // The client keeps its connection.
            ids.push(trace_id(&chain.get(&format!("/keep-alive/{n}"), &[]).await));
        }
        let traces = by_trace(chain.collector.wait_for(18 * 6).await);
        for id in ids {
            assert_nine(&traces[&id], "haproxy-1", "");
        }
        assert_eq!(traces.len(), 6, "five requests and the warm-up");
        tested.passed();
    }
}

#[tokio::test]
async fn no_warning_about_the_configurations() {
    for program in programs() {
        for spoe_cfg in ["spoe.cfg", "spoe-http.cfg"] {
            for lines in [false, true] {
                let chain = Chain::start(&program, Setup { spoe_cfg, lines, ..Setup::default() }).await;
                for proxy in &chain.proxies {
                    assert_silent(&proxy.check(), &program, spoe_cfg);
                }
            }
        }
        for config in ["haproxy-lean.cfg", "haproxy-log-only.cfg"] {
            let all =
                [("LOG_TARGET", "ring@otel"), ("PLAIN_ADDRESS", "127.0.0.1:8001"), ("STATS_ADDRESS", "127.0.0.1:7004")];
            for env in [&[][..], &all] {
                let (valid, said) = check(&program, &conf(config), env);
                assert!(valid, "{program:?} {config}: {said}");
                assert_silent(&said, &program, config);
            }
        }
    }
}

fn assert_silent(said: &str, program: &Program, config: &str) {
    assert!(!said.to_lowercase().contains("warning"), "{program:?} {config}: {said}");
}

#[test]
fn refused_where_they_take_haproxy_down_unless_asked_for() {
    for program in programs() {
        for proxy in ["haproxy-1.cfg", "haproxy-2.cfg"] {
            let (valid, said) = check(&program, &conf(proxy), &[]);
            assert_eq!(valid, program.bears_nine_spans(), "{program:?}: {said}");
            if !valid {
                for word in ["a server closes without an answer", "take spoe-http.cfg", "NINE_SPANS_ANYWAY"] {
                    assert!(said.contains(word), "{said}");
                }
            }
            for env in [("NINE_SPANS_ANYWAY", "1"), ("SPOE_CFG", "spoe-http.cfg")] {
                let (valid, said) = check(&program, &conf(proxy), &[env]);
                assert!(valid, "{program:?} {env:?}: {said}");
            }
        }
    }
}
