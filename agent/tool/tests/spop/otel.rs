//! `spop` against `spoa-otel`.

use crate::support::{RealAgent, spop};

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
fn flags_of_a_continued_trace_go_on() {
    let agent = RealAgent::start_spoa_otel();
    for (n, flags) in ["00", "01", "02", "03"].into_iter().enumerate() {
        let (id, ids) = (format!("id=string:flags-{n}"), "00-4bf92f3577b34da6a3ce929d0e0e4736");
        let extract = format!("extract=string:{ids}-00f067aa0ba902b7-{flags}");
        let text =
            spop(&["notify", &agent.addr, "otel:t", &id, &extract, "inject=string:s", "span=string:s"]).ok().stdout;
        let told = text.lines().find(|line| line.contains("txn.traceparent")).unwrap();
        let told = told.split('"').find(|part| part.starts_with("00-")).unwrap_or_else(|| panic!("{told}"));
        assert!(told.starts_with(ids) && told.ends_with(&format!("-{flags}")), "{told}");
    }
}

#[test]
fn messages_that_are_not_for_it_get_empty_acks_under_load() {
    let agent = RealAgent::start_spoa_otel();
    let report = spop(&["load", &agent.addr, "--preset", "trace", "--expect-nothing", "-n", "5000", "-c", "4"]).ok();
    assert!(report.stdout.contains("errors     none"), "{report:?}");
}
