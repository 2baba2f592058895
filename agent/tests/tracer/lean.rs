//! Messages without an id: they are answered, and nothing of them stays.

use spoa_otel::tracer::{Propagators, Sampler, SamplingRule};
use spop_core::{Scope, Value};

use crate::message;
use crate::support::{Agent, Var, var};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const NULL: Value<'static> = Value::Null;

fn names(vars: &[Var]) -> Vec<&str> {
    vars.iter().map(|var| var.name.as_str()).collect()
}

/// The fields of `ctx`.
fn context(vars: &[Var]) -> [String; 5] {
    let fields: Vec<_> = var(vars, "ctx").split('-').map(str::to_owned).collect();
    fields.try_into().unwrap()
}

#[test]
fn the_answer_has_the_ids_and_nothing_is_kept() {
    let agent = Agent::new();
    let vars =
        agent.notify(0, &[message!("otel:request", "extract" = NULL, "" = NULL, "method" = "GET", "path" = "/")]);
    assert_eq!(names(&vars), ["traceparent", "sampled", "ctx"]);
    assert!(vars.iter().all(|var| var.scope == Scope::Transaction));
    let [trace_id, server, client, parent, flags] = context(&vars);
    assert_eq!(var(&vars, "traceparent"), format!("00-{trace_id}-{client}-03"));
    assert_eq!((var(&vars, "sampled"), &*parent, &*flags), ("true", "", "03"));
    assert_ne!(server, client);
    let stats = agent.stats();
    assert_eq!((stats.messages, stats.messages_lean, stats.traces_sampled), (1, 1, 1));
    assert_eq!((stats.open_ids, stats.spans_started, stats.args_unknown, stats.args_misplaced), (0, 0, 0, 0));
    assert_eq!(agent.take().names(), [""; 0]);

    let again = context(&agent.notify(1, &[message!("otel:request")]));
    assert!(again[0] != trace_id && again[1] != server && again[2] != client);
}

#[test]
fn the_callers_trace_goes_on() {
    let agent = Agent::new();
    for (flags, sampled, expected) in [("01", "true", "01"), ("00", "false", "00"), ("03", "true", "03")] {
        let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
        let message = message!(
            "otel:request",
            "service" = "edge",
            "extract" = traceparent.as_str(),
            "" = "a=1",
            "" = "user=7",
            "baggage" = "proxy",
            "" = "one",
            "path" = "/x",
        );
        let vars = agent.notify(0, &[message]);
        let [trace_id, _, client, parent, own] = context(&vars);
        assert_eq!((&*trace_id, &*parent, &*own, var(&vars, "sampled")), (TRACE, PARENT, expected, sampled));
        assert_eq!(var(&vars, "traceparent"), format!("00-{TRACE}-{client}-{expected}"));
        assert_eq!((var(&vars, "tracestate"), var(&vars, "baggage")), ("a=1", "user=7,proxy=one"));
    }
    let broken = format!("00-{TRACE}-{PARENT}-0x");
    let vars = agent.notify(0, &[message!("otel:request", "extract" = broken.as_str(), "" = "a=1")]);
    assert_eq!(names(&vars), ["traceparent", "sampled", "ctx"]);
    assert_ne!(context(&vars)[0], TRACE);
    assert_eq!(agent.stats().extracts_invalid, 1);
}

#[test]
fn other_formats_and_rules_are_those_of_other_messages() {
    let agent = Agent::with(|config| {
        config.propagators = Propagators::new(Some("b3,b3multi,jaeger")).unwrap();
        let rules = ["service=edge,path=/health*,ratio=0", "service=edge,ratio=1"];
        config.sampling_rules = rules.map(|rule| rule.parse::<SamplingRule>().unwrap()).to_vec();
        config.sampler = Sampler::new(Some("always_off"), None).unwrap();
    });
    let request = |service, path| message!("otel:request", "service" = service, "path" = path);
    let vars = agent.notify(0, &[request("edge", "/")]);
    assert_eq!(names(&vars), ["b3", "x_b3_traceid", "x_b3_spanid", "x_b3_sampled", "uber_trace_id", "sampled", "ctx"]);
    let [trace_id, _, client, _, flags] = context(&vars);
    assert_eq!((var(&vars, "b3"), &*flags), (&*format!("{trace_id}-{client}-1"), "03"));
    for (service, path) in [("edge", "/healthz"), ("other", "/")] {
        let vars = agent.notify(1, &[request(service, path)]);
        // The line has to have them nevertheless: it may show that the request failed.
        assert_eq!((var(&vars, "sampled"), &*context(&vars)[4]), ("false", "02"));
    }
    assert_eq!((agent.stats().traces_sampled, agent.stats().traces_unsampled), (1, 2));
    let b3 = format!("{TRACE}-{PARENT}-1");
    let vars = agent.notify(2, &[message!("otel:request", "extract-b3" = b3.as_str())]);
    let [trace_id, _, _, parent, flags] = context(&vars);
    assert_eq!((&*trace_id, &*parent, &*flags), (TRACE, PARENT, "00"), "always_off, and it is not known to be random");
}

#[test]
fn a_disabled_agent_passes_on_what_came() {
    let agent = Agent::with(|config| config.disabled = true);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let vars = agent.notify(0, &[message!("otel:request", "extract" = traceparent.as_str(), "" = "a=1")]);
    assert_eq!(names(&vars), ["traceparent", "tracestate", "sampled", "trace_id", "span_id"]);
    assert_eq!((var(&vars, "traceparent"), var(&vars, "span_id")), (&*traceparent, PARENT));
    assert_eq!(names(&agent.notify(0, &[message!("otel:request")])), ["sampled"]);
}

#[test]
fn only_that_message_may_be_without_an_id() {
    let agent = Agent::new();
    assert_eq!(agent.notify(0, &[message!("otel:requests", "span" = "A", "inject" = "A")]), []);
    assert_eq!(agent.notify(0, &[message!("opentracing:request")]), []);
    assert_eq!((agent.stats().rejected_no_id, agent.stats().messages_lean), (2, 0));
    // With an id it is like any other, wherever the id stands.
    let vars = agent.notify(0, &[message!("otel:request", "path" = "/", "id" = "1", "span" = "A", "inject" = "A")]);
    assert_eq!(names(&vars), ["traceparent", "sampled", "trace_id", "span_id"]);
    assert_eq!((agent.stats().open_spans, agent.stats().args_misplaced), (1, 3));
    // What belongs to spans has no place here, and does no harm.
    let odd = message!(
        "otel:request",
        "" = "a",
        "span" = "A",
        "" = "b",
        "inject" = "A",
        "whatever" = 1,
        "service" = "",
        "baggage" = NULL,
    );
    assert_eq!(names(&agent.notify(0, &[odd])), ["traceparent", "sampled", "ctx"]);
    let stats = agent.stats();
    assert_eq!((stats.args_misplaced, stats.args_unknown, stats.baggage_dropped), (6, 1, 1));
    assert_eq!((stats.args_invalid, stats.args_surplus, stats.open_spans), (1, 0, 1));
    let surplus =
        message!("otel:request", "service" = "a", "" = "b", "method" = "GET", "" = 1, "" = 2, "path" = "/", "" = "x");
    agent.notify(0, &[surplus]);
    assert_eq!((agent.stats().args_invalid, agent.stats().args_surplus), (1, 4));
}

#[test]
fn an_answer_without_room_is_counted() {
    let agent = Agent::new();
    let vars = agent.notify_with_room(0, &[message!("otel:request")], 100);
    assert_eq!(names(&vars), ["traceparent", "sampled"]);
    assert_eq!(agent.stats().variables_dropped, 1);
}
