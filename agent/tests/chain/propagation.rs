//! Trace context in and out.

use crate::haproxy::programs;
use crate::setup::{Chain, Setup, trace_id};
use crate::spans::{by_trace, find};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[tokio::test]
async fn the_callers_trace_is_joined_with_its_state_and_baggage() {
    for program in programs() {
        let chain = Chain::start(&program, Setup::default()).await;
        let traceparent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [
            ("traceparent", traceparent.as_str()),
            ("tracestate", "vendor1=one,vendor2=two:2;x"),
            ("baggage", "tenant=acme,user=j%C3%BCrgen"),
        ];
        let answer = chain.get("/joined", &headers).await;
        assert_eq!(trace_id(&answer), TRACE);
        let traces = by_trace(chain.collector.wait_for(18 * 2).await);
        let spans = &traces[TRACE];
        assert_eq!(spans.len(), 18);
        let session = find(spans, "haproxy-1", "HAProxy session");
        assert_eq!(session.parent, PARENT);
        assert_eq!(session.proto.trace_state, "vendor1=one,vendor2=two:2;x");
        let hit = chain.origin.hit("/joined");
        assert_eq!(hit.header("tracestate").as_deref(), Some("vendor1=one,vendor2=two:2;x"));
        let baggage = hit.header("baggage").unwrap();
        for member in ["tenant=acme", "user=j%C3%BCrgen", "haproxy_id="] {
            assert!(baggage.contains(member), "{baggage}");
        }
    }
}

#[tokio::test]
async fn flags_go_on_and_are_exported() {
    /// Of OTLP: it is known whether the parent, or the linked span, is remote; it is.
    const KNOWN: u32 = 0x100;
    const REMOTE: u32 = 0x200;
    for program in programs() {
        let chain = Chain::start(&program, Setup::default()).await;
        for (n, flags) in [0u32, 1, 2, 3].into_iter().enumerate() {
            let trace = format!("{:032x}", 0xabc0 + n);
            let path = format!("/flags/{flags}");
            chain.get(&path, &[("traceparent", &format!("00-{trace}-{PARENT}-{flags:02x}"))]).await;
            let told = chain.origin.hit(&path).header("traceparent").unwrap();
            assert!(told.starts_with(&format!("00-{trace}-")) && told.ends_with(&format!("-{flags:02x}")), "{told}");
        }
        let root = trace_id(&chain.get("/flags/none", &[]).await);
        assert!(chain.origin.hit("/flags/none").header("traceparent").unwrap().ends_with("-03"), "our ids are random");

        let traces = by_trace(chain.collector.wait_for(18 * 4).await);
        for (trace, flags, parent) in [
            (format!("{:032x}", 0xabc1), 1, KNOWN | REMOTE),
            (format!("{:032x}", 0xabc3), 3, KNOWN | REMOTE),
            (root, 3, KNOWN),
        ] {
            let spans = &traces[&trace];
            let of = |service, name| find(spans, service, name).proto.flags;
            assert_eq!(of("haproxy-1", "HAProxy session"), flags | parent, "{program:?}");
            assert_eq!(of("haproxy-2", "HAProxy session"), flags | KNOWN | REMOTE);
            assert_eq!(of("haproxy-2", "Server session"), flags | KNOWN);
            let links: Vec<_> = spans.iter().flat_map(|span| &span.proto.links).map(|link| link.flags).collect();
            assert_eq!(links, [flags | KNOWN; 8], "four links of each proxy");
        }
    }
}

#[tokio::test]
async fn a_malformed_caller_begins_a_new_trace() {
    for program in programs() {
        let chain = Chain::start(&program, Setup::default()).await;
        let bad = [
            "garbage",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ];
        let mut ids = Vec::new();
        for (n, traceparent) in bad.iter().enumerate() {
            let path = format!("/malformed/{n}");
            ids.push(trace_id(&chain.get(&path, &[("traceparent", traceparent), ("tracestate", "a=1")]).await));
            // The client's tracestate belonged to a trace that is not ours.
            assert_eq!(chain.origin.hit(&path).header("tracestate"), None, "{traceparent}");
        }
        let traces = by_trace(chain.collector.wait_for(18 * (1 + bad.len())).await);
        for id in ids {
            assert_eq!(find(&traces[&id], "haproxy-1", "HAProxy session").parent, "", "a root");
            assert_ne!(id.to_lowercase(), TRACE);
        }
    }
}

#[tokio::test]
async fn an_unsampled_caller_is_respected() {
    for program in programs() {
        let chain = Chain::start(&program, Setup::default()).await;
        let traceparent = format!("00-{TRACE}-{PARENT}-00");
        chain.get("/unsampled", &[("traceparent", &traceparent)]).await;
        let told = chain.origin.hit("/unsampled").header("traceparent").unwrap();
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
        // A later request's spans come after those that would have come.
        let id = trace_id(&chain.get("/sampled", &[]).await);
        let traces = by_trace(chain.collector.wait_for(18 * 2).await);
        assert_eq!(traces[&id].len(), 18);
        assert!(!traces.contains_key(TRACE), "spans of an unsampled trace");
    }
}

#[tokio::test]
async fn the_sampler_of_the_environment_decides_about_roots() {
    let program = &programs()[0];
    let env = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let chain = Chain::start(program, Setup { spoa_env: &env, ..Setup::default() }).await;
    chain.get("/root", &[]).await;
    assert!(chain.origin.hit("/root").header("traceparent").unwrap().ends_with("-02"));
    chain.get("/child", &[("traceparent", &sampled)]).await;
    assert!(chain.origin.hit("/child").header("traceparent").unwrap().ends_with("-01"));
    let spans = chain.collector.wait_for(18).await;
    assert!(spans.iter().all(|span| span.trace_id == TRACE));
}

#[tokio::test]
async fn the_rules_of_the_command_line_come_before_the_sampler() {
    let program = &programs()[0];
    let args = ["--sample", "service=haproxy-1,path=/quiet/*,ratio=0", "--sample", "path=/never,ratio=0,parent=ignore"];
    let env = [("OTEL_SPAN_EVENT_COUNT_LIMIT", "many"), ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "11")];
    let mut chain = Chain::start(program, Setup { spoa_args: &args, spoa_env: &env, ..Setup::default() }).await;
    let warning = "OTEL_SPAN_EVENT_COUNT_LIMIT: \"many\" is not a number";
    chain.spoa.process.line("a warning", |line| line.contains(warning).then_some(())).await;

    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let told = |path: &str| chain.origin.hit(path).header("traceparent").unwrap()[53..].to_owned();
    chain.get("/quiet/root", &[]).await;
    assert_eq!(told("/quiet/root"), "02");
    chain.get("/never", &[("traceparent", &sampled)]).await;
    assert_eq!(told("/never"), "00", "the rule ignores the caller");
    chain.get("/quiet/child", &[("traceparent", &sampled)]).await;
    assert_eq!(told("/quiet/child"), "01", "the caller is respected");

    let traces = by_trace(chain.collector.wait_for(18 * 2).await);
    assert_eq!(traces[TRACE].len(), 18);
    let session = find(&traces[TRACE], "haproxy-1", "HAProxy session");
    assert_eq!(session.tag("url.path").as_deref(), Some("/quiet/chil"), "cut");
    chain.spoa.process.signal("-TERM");
    assert!(chain.spoa.process.ended().await.success());
    let log = chain.spoa.process.output().join("\n");
    // HAProxy~2 was told by HAProxy~1, and respects it but for the second rule.
    let count = "decided_by=\"service=haproxy-1,path=/quiet/*,ratio=0\" sampled=0 unsampled=1";
    assert!(log.contains(count), "{log}");
    assert!(log.contains("decided_by=\"path=/never,ratio=0,parent=ignore\" sampled=0 unsampled=2"), "{log}");
}

#[test]
fn a_malformed_rule_is_an_error_of_the_command_line() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_spoa-otel"))
        .args(["--listen", "127.0.0.1:0", "--sample", "path=/x,rate=10"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("rate=10: write it as a positive number of traces in a second, such as 10/s"),
        "{message}"
    );
}
