//! Configurations in the manner of the project's seeds work unchanged: `opentracing:` messages, no extract, no inject.

use std::path::Path;

use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, programs};
use crate::http::http_client;
use crate::origin::Origin;
use crate::process::{eventually, free_port};
use crate::setup::Spoa;
use crate::spans::{assert_times, by_trace, find, names};

#[tokio::test]
async fn unchanged() {
    for program in programs() {
        works_at(&program, "127.0.0.1:0").await;
    }
}

/// HAProxy and the agent have the same address, as HAProxy writes it.
#[tokio::test]
async fn at_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    for program in programs() {
        works_at(&program, &format!("unix@{}", dir.path().join("spoa.sock").display())).await;
        works_at(&program, &format!("abns@spoa-otel-{}", std::process::id())).await;
    }
}

async fn works_at(program: &Program, agent: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seed-style");
    let spoe_cfg = dir.join("spoe.cfg");
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    let spoa = Spoa::start(agent, &["--otlp", &collector.url], &[]).await;
    let [with_spoa, without_spoa] = [(); 2].map(|()| free_port().to_string());
    let env = [
        ("PORT_WITH_SPOA", with_spoa.as_str()),
        ("PORT_WITHOUT_SPOA", &without_spoa),
        ("BACKEND_ADDRESS", &origin.addr),
        ("AGENT_ADDRESS", if agent.contains('@') { agent } else { &spoa.addr }),
        ("SPOE_CFG", spoe_cfg.to_str().unwrap()),
    ];
    let listens = format!("127.0.0.1:{with_spoa}");
    let _proxy = Haproxy::start(program, &dir.join("haproxy.cfg"), &env, &listens).await;
    let answer = http_client().get(format!("http://{listens}/seed")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-spoe-error"], "", "{:?}", answer.headers());

    let spans = eventually("nine spans", || {
        let spans = collector.spans();
        (spans.len() >= 9).then_some(spans)
    })
    .await;
    assert_eq!(spans.len(), 9, "{:#?}", names(&spans));
    let traces = by_trace(spans);
    assert_eq!(traces.len(), 1, "one trace");
    let spans = traces.values().next().unwrap();
    assert_times(spans);
    let session = find(spans, "haproxy", "HAProxy session");
    assert_eq!(session.parent, "");
    let response = find(spans, "haproxy", "HTTP response");
    assert_eq!(response.tag("http.status_code").as_deref(), Some("200"));

    // The headers are set when the frontend's rules run: the span opened last was `Frontend HTTP request`.
    let told = origin.hit("/seed").header("traceparent").unwrap();
    let current = find(spans, "haproxy", "Frontend HTTP request");
    assert_eq!(told, format!("00-{}-{}-03", current.trace_id, current.span_id));
}
