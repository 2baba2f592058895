//! agent -> gateway -> sampler -> Jaeger, as agent/collector has them: whole traces of what failed, and some of the rest.

use crate::chain::{Chain, Mode};
use crate::compare::{Spans, traces};
use crate::haproxy::extremes;
use crate::process::PATIENCE;
use crate::servers::{self, Collector, Jaeger, assert_quiet};

#[tokio::test]
async fn a_sampler_behind_a_gateway_keeps_whole_traces() {
    let Some([jaeger, collector]) = servers::programs(["SPOP_JAEGER", "SPOP_COLLECTOR"]) else { return };
    let jaeger = Jaeger::start(&jaeger, None).await;
    let env = [("JAEGER_ENDPOINT", jaeger.otlp.grpc.as_str()), ("DECISION_WAIT", "2s")];
    let sampler = Collector::start(&collector, "sampler.yaml", &env, "").await;
    let (host, port) = sampler.otlp.grpc.rsplit_once(':').unwrap();
    let gateway =
        Collector::start(&collector, "gateway.yaml", &[("SAMPLERS", host), ("SAMPLERS_PORT", port)], "").await;
    let url = format!("http://{}", gateway.otlp.http);
    let program = extremes().pop().expect("an HAProxy");
    let chain = Chain::start(&program, Mode::Lean, &["--otlp", &url, "--batch-delay", "50ms"], &[]).await;
    let sent = chain.requests().await;
    for n in 0..60 {
        chain.get_kept(&format!("/fine/{n}"), 200).await;
    }
    let last = [chain.requests().await, sent].concat();
    let (said, _) = chain.settled(&last).await;
    let of_traces = |failed: bool| -> Spans {
        let is_failed =
            |trace: &str| said.iter().any(|(id, told)| id.0 == trace && told["span"]["status"]["code"] == 2);
        let chosen = said.iter().filter(|(id, _)| is_failed(&id.0) == failed);
        chosen.map(|(id, told)| (id.clone(), told.clone())).collect()
    };
    let failed = of_traces(true);
    assert!(traces(&failed).len() >= 4, "{:?}", traces(&failed));
    let end = std::time::Instant::now() + PATIENCE;
    while jaeger.spans(&traces(&failed)).await.len() < failed.len() && std::time::Instant::now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    jaeger.assert_holds(&failed, "what failed").await;
    // Decided about at the same time; what is kept of the rest is kept whole. That a tenth is everything has a chance of 1 in 10^60.
    let rest = of_traces(false);
    let kept = traces(&jaeger.spans(&traces(&rest)).await);
    assert!(kept.len() < traces(&rest).len(), "all {} are kept", kept.len());
    let kept = rest.into_iter().filter(|(id, _)| kept.contains(&id.0)).collect();
    jaeger.assert_holds(&kept, "what is kept of the rest").await;
    sampler.assert_no_warnings();
    gateway.assert_no_warnings();
    jaeger.assert_no_warnings();
    assert_quiet(&chain.end().await.process, &[]);
}
