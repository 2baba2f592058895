//! `spop` against `spoa-otel`.

use crate::support::{spop, RealAgent};

#[test]
fn it_is_healthy() {
    let agent = RealAgent::start_spoa_otel();
    spop(&["check", &agent.addr]).ok();
    let report = spop(&["check", "--handshake", "--json", &agent.addr]).ok().json_lines().remove(0);
    assert_eq!(report["negotiated"]["capabilities"], serde_json::json!(["pipelining", "fragmentation"]));
}

#[test]
fn a_message_that_injects_gets_the_trace_context() {
    let agent = RealAgent::start_spoa_otel();
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("extract=string:00-{trace_id}-b7ad6b7169203331-01");
    let message =
        ["otel:request", "id=string:1", &traceparent, "inject=string:call", "span=string:call", "finish=string:*"];
    let args = [&["notify", &agent.addr][..], &message].concat();
    let text = spop(&args).ok().stdout;
    for line in ["set-var  txn.sampled", "set-var  txn.span_id", "set-var  txn.traceparent"] {
        assert!(text.contains(line), "{text}");
    }
    let line = text.lines().find(|line| line.contains("txn.trace_id")).unwrap();
    assert!(line.contains(trace_id), "{text}");
    let expected = [&["notify", &agent.addr, "--expect", "txn.sampled=bool:true"][..], &message].concat();
    spop(&expected).ok();
}

#[test]
fn messages_that_are_not_for_it_get_empty_acks_under_load() {
    let agent = RealAgent::start_spoa_otel();
    let report = spop(&["load", &agent.addr, "--preset", "trace", "--expect-nothing", "-n", "5000", "-c", "4"]).ok();
    assert!(report.stdout.contains("errors     none"), "{report:?}");
}
