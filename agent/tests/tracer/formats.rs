//! B3 and Jaeger beside W3C: extract in the order of `OTEL_PROPAGATORS`, inject the same set.

use opentelemetry::trace::SpanId;
use spoa_otel::tracer::Propagators;
use spop_core::{Scope, Value};

use crate::message;
use crate::support::{Agent, Message, Var, var};

const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const W3C_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const B3_TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const B3_SPAN: &str = "e457b5a2e4d86bd1";
const JAEGER_TRACE: &str = "00000000000000004bf92f3577b34da6";
const JAEGER: &str = "4bf92f3577b34da6%3Aa3ce929d0e0e4736%3A0%3A1";
const NULL: Value<'static> = Value::Null;

fn agent(propagators: &str) -> Agent {
    Agent::with(|config| config.propagators = Propagators::new(Some(propagators)).unwrap())
}

fn names(vars: &[Var]) -> Vec<&str> {
    assert!(vars.iter().all(|var| var.scope == Scope::Transaction));
    vars.iter().map(|var| var.name.as_str()).collect()
}

/// A request of a caller that used all formats, each with a trace of its own.
fn all_formats(b3: &str) -> Message<'_> {
    message!(
        "otel:a",
        "id" = "1",
        "extract-jaeger" = JAEGER,
        "extract-b3" = b3,
        "extract" = W3C,
        "" = "a=1",
        "" = "k=v",
        "span" = "A",
        "inject" = "A",
        "finish" = "A"
    )
}

#[test]
fn the_order_of_the_list_decides() {
    let b3 = format!("{B3_TRACE}-{B3_SPAN}-1");
    for (list, trace, parent) in [
        ("tracecontext,b3,jaeger", W3C_TRACE, "b7ad6b7169203331"),
        ("b3,tracecontext,jaeger", B3_TRACE, B3_SPAN),
        ("jaeger,tracecontext", JAEGER_TRACE, "a3ce929d0e0e4736"),
    ] {
        let agent = agent(list);
        agent.notify(0, &[all_formats(&b3)]);
        let spans = agent.take();
        let span = spans.one();
        assert_eq!((span.trace_id().to_string(), span.data.parent_span_id.to_string()), (trace.into(), parent.into()));
        assert!(span.data.parent_span_is_remote);
        let off = agent.stats().extracts_off;
        assert_eq!(off, 3 - list.split(',').count() as u64, "{list}: arguments whose format is off");
    }
}

#[test]
fn each_format_has_its_variables() {
    let b3 = format!("{B3_TRACE}-{B3_SPAN}-1");
    let agent = agent("b3,b3multi,jaeger,tracecontext,baggage");
    let vars = agent.notify(0, &[all_formats(&b3)]);
    let expected =
        "b3 x_b3_traceid x_b3_spanid x_b3_sampled uber_trace_id traceparent sampled trace_id span_id baggage";
    assert_eq!(names(&vars), expected.split(' ').collect::<Vec<_>>(), "no tracestate: that is of another trace");
    let span = agent.take().one().id();
    assert_eq!(var(&vars, "b3"), format!("{B3_TRACE}-{span}-1"));
    assert_eq!((var(&vars, "x_b3_traceid"), var(&vars, "x_b3_sampled")), (B3_TRACE, "1"));
    assert_eq!(var(&vars, "x_b3_spanid"), span.to_string());
    assert_eq!(var(&vars, "uber_trace_id"), format!("{B3_TRACE}:{span}:0:1"));
    assert_eq!(var(&vars, "traceparent"), format!("00-{B3_TRACE}-{span}-01"));
    assert_eq!(var(&vars, "baggage"), "k=v");
}

#[test]
fn several_headers_of_b3() {
    let agent = agent("b3multi");
    let vars = agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "extract-b3multi" = "64fe8b2a57d3eff7",
            "" = B3_SPAN,
            "" = "0",
            "" = NULL,
            "" = "surplus",
            "span" = "A",
            "inject" = "A",
        )],
    );
    assert_eq!(names(&vars), ["x_b3_traceid", "x_b3_spanid", "x_b3_sampled", "sampled", "trace_id", "span_id"]);
    assert_eq!(var(&vars, "x_b3_traceid"), "000000000000000064fe8b2a57d3eff7", "64 bits are the low half");
    assert_eq!((var(&vars, "x_b3_sampled"), var(&vars, "sampled")), ("0", "false"));
    let stats = agent.stats();
    assert_eq!((stats.args_surplus, stats.extracts_invalid, stats.traces_unsampled), (1, 0, 1));
}

#[test]
fn a_debug_request_stays_one() {
    let agent = agent("b3,b3multi,jaeger,tracecontext");
    let b3 = format!("{B3_TRACE}-{B3_SPAN}-d");
    let vars = agent.notify(0, &[message!("otel:a", "id" = "1", "extract-b3" = b3.as_str(), "inject" = "A")]);
    assert!(var(&vars, "b3").ends_with("-d"));
    assert_eq!(var(&vars, "x_b3_flags"), "1");
    assert!(!names(&vars).contains(&"x_b3_sampled"), "debug implies it");
    assert!(var(&vars, "uber_trace_id").ends_with(":0:3"));
    assert!(var(&vars, "traceparent").ends_with("-01"));
    assert_eq!(var(&vars, "sampled"), "true");
}

#[test]
fn a_decision_without_a_trace_begins_one() {
    for (b3, sampled) in [("0", "false"), ("1", "true"), ("d", "true")] {
        let agent = agent("b3,tracecontext");
        let vars = agent.notify(
            0,
            &[message!("otel:a", "id" = "1", "extract-b3" = b3, "span" = "A", "inject" = "A", "finish" = "A")],
        );
        assert_eq!(var(&vars, "sampled"), sampled);
        let flags = if sampled == "true" { "-03" } else { "-02" };
        assert!(var(&vars, "traceparent").ends_with(flags), "our own trace id is random: {vars:?}");
        assert_eq!(var(&vars, "b3"), format!("{}-{}-{b3}", var(&vars, "trace_id"), var(&vars, "span_id")));
        let spans = agent.take();
        assert_eq!(spans.names().len(), usize::from(sampled == "true"));
        assert!(spans.iter().all(|span| span.data.parent_span_id == SpanId::INVALID));
        assert_eq!(agent.stats().extracts_invalid, 0);
    }
}

#[test]
fn a_deferred_decision_is_ours() {
    let b3 = format!("{B3_TRACE}-{B3_SPAN}");
    let agent = agent("b3");
    let vars = agent.notify(0, &[message!("otel:a", "id" = "1", "extract-b3" = b3.as_str(), "inject" = "A")]);
    assert_eq!((var(&vars, "trace_id"), var(&vars, "sampled")), (B3_TRACE, "true"));
    assert!(var(&vars, "b3").ends_with("-1"));
}

#[test]
fn malformed_headers_make_a_root_and_are_counted() {
    let agent = agent("b3,b3multi,jaeger");
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "extract-b3" = "garbage",
            "extract-b3multi" = B3_TRACE,
            "extract-jaeger" = "1:2:3",
            "span" = "A",
            "finish" = "A",
        )],
    );
    assert_eq!(agent.take().one().data.parent_span_id, SpanId::INVALID);
    assert_eq!(agent.stats().extracts_invalid, 3);
}

#[test]
fn extracts_of_one_message_count_together_those_after_an_inject_are_late() {
    let agent = agent("tracecontext,jaeger");
    agent.notify(0, &[message!("otel:a", "id" = "1", "extract-jaeger" = JAEGER, "span" = "A", "extract" = W3C)]);
    agent.notify(1, &[message!("otel:b", "id" = "1", "extract-jaeger" = JAEGER, "finish" = "*")]);
    assert_eq!(agent.take().one().trace_id().to_string(), W3C_TRACE);
    assert_eq!(agent.stats().extracts_late, 1);
    let late = message!("otel:a", "id" = "2", "span" = "A", "inject" = "A", "extract" = W3C, "finish" = "A");
    agent.notify(2, &[late]);
    assert_ne!(agent.take().one().trace_id().to_string(), W3C_TRACE);
    assert_eq!(agent.stats().extracts_late, 2);
}

#[test]
fn an_implicit_inject_uses_the_same_formats() {
    let agent = agent("jaeger");
    let provisional = agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A")]);
    assert_eq!((provisional.len(), provisional[0].scope), (1, Scope::Request));
    assert!(var(&provisional, "uber_trace_id").ends_with(":0:1"));
    // The caller's decision changes what was told.
    let agent = self::agent("b3");
    agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A")]);
    let told = agent.notify(1, &[message!("opentracing:b", "id" = "1", "extract-b3" = "0")]);
    assert!(var(&told, "b3").ends_with("-0"), "{told:?}");
}

mod disabled {
    use super::*;

    fn agent() -> Agent {
        Agent::with(|config| {
            config.disabled = true;
            config.propagators = Propagators::new(Some("tracecontext,baggage,b3")).unwrap();
        })
    }

    #[test]
    fn the_callers_context_is_passed_on_as_it_came() {
        let agent = agent();
        let vars = agent.notify(
            0,
            &[message!(
                "otel:a",
                "id" = "1",
                "extract" = W3C,
                "" = "a=1",
                "" = "k=v",
                "baggage" = "own",
                "" = 1,
                "span" = "A",
                "tag" = "t",
                "inject" = "A",
            )],
        );
        let expected = ["traceparent", "tracestate", "b3", "sampled", "trace_id", "span_id", "baggage"];
        assert_eq!(names(&vars), expected);
        assert_eq!((var(&vars, "traceparent"), var(&vars, "tracestate")), (W3C, "a=1"));
        assert_eq!(var(&vars, "b3"), format!("{W3C_TRACE}-b7ad6b7169203331-1"));
        assert_eq!((var(&vars, "sampled"), var(&vars, "baggage")), ("false", "k=v,own=1"));
        agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "B", "finish" = "*")]);
        assert_eq!(agent.take().names(), [""; 0]);
        let stats = agent.stats();
        assert_eq!((stats.spans_exported, stats.open_spans, stats.open_ids), (0, 0, 0));
    }

    #[test]
    fn flags_pass_as_they_came() {
        let ids = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        for flags in ["00", "01", "02", "03"] {
            let traceparent = format!("{ids}-{flags}");
            let message = message!("otel:a", "id" = "1", "extract" = traceparent.as_str(), "inject" = "A");
            assert_eq!(var(&agent().notify(0, &[message]), "traceparent"), traceparent);
        }
    }

    #[test]
    fn without_a_caller_there_is_nothing_to_pass_on() {
        let agent = agent();
        let vars = agent.notify(0, &[message!("otel:a", "id" = "1", "extract" = NULL, "span" = "A", "inject" = "A")]);
        assert_eq!((names(&vars), var(&vars, "sampled")), (vec!["sampled"], "false"));
        assert_eq!(agent.notify(1, &[message!("opentracing:a", "id" = "2", "span" = "A")]), []);
        agent.tracer.shut_down(agent.timestamp(2));
        assert_eq!(agent.take().names(), [""; 0]);
        let by: Vec<_> = agent.tracer.sampling_stats().into_iter().map(|s| (s.decided_by, s.unsampled)).collect();
        assert!(by.contains(&("disabled".to_owned(), 2)), "{by:?}");
    }

    #[test]
    fn a_deferred_decision_stays_deferred() {
        let b3 = format!("{B3_TRACE}-{B3_SPAN}");
        let vars = agent().notify(0, &[message!("otel:a", "id" = "1", "extract-b3" = b3.as_str(), "inject" = "A")]);
        assert_eq!(var(&vars, "b3"), b3);
    }
}
