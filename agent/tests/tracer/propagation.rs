//! Extract and inject, late binding, implicit inject.

use opentelemetry::trace::SpanId;
use spoa_otel::tracer::{Propagators, Sampler};
use spop_core::{Scope, Value};

use crate::message;
use crate::support::{Agent, Seen, Var, at, var};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NULL: Value<'static> = Value::Null;

fn is_child_of_the_caller(span: Seen<'_>) -> bool {
    span.trace_id().to_string() == TRACE
        && span.data.parent_span_id.to_string() == PARENT
        && span.data.parent_span_is_remote
}

fn names(vars: &[Var]) -> Vec<&str> {
    vars.iter().map(|var| var.name.as_str()).collect()
}

#[test]
fn an_explicit_inject_sets_what_exists() {
    let agent = Agent::new();
    let vars = agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "inject" = "A", "" = "surplus")]);
    assert_eq!(names(&vars), ["traceparent", "sampled", "trace_id", "span_id"]);
    assert!(vars.iter().all(|var| var.scope == Scope::Transaction));
    let (trace_id, span_id) = (var(&vars, "trace_id"), var(&vars, "span_id"));
    assert_eq!(var(&vars, "traceparent"), format!("00-{trace_id}-{span_id}-03"));
    assert_eq!(var(&vars, "sampled"), "true");

    assert_eq!(agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "B")]), [], "only when asked");
    agent.notify(2, &[message!("otel:c", "id" = "1", "finish" = "A", "inject" = "", "inject" = NULL)]);
    let spans = agent.take();
    assert_eq!((spans.one().trace_id().to_string(), spans.one().id().to_string()), (trace_id.into(), span_id.into()));
    assert_eq!((agent.stats().args_surplus, agent.stats().args_invalid), (1, 2));
}

#[test]
fn flags_go_on_as_they_came() {
    let ids = format!("{TRACE}-{PARENT}");
    // Those that nobody defined yet have to be cleared; so has a version that we do not know.
    for (version, flags, expected) in [
        ("00", "00", "00"),
        ("00", "01", "01"),
        ("00", "02", "02"),
        ("00", "03", "03"),
        ("00", "ff", "03"),
        ("00", "fc", "00"),
        ("cc", "03-more", "03"),
    ] {
        let agent = Agent::new();
        let traceparent = format!("{version}-{ids}-{flags}");
        let message = message!(
            "otel:a",
            "id" = "1",
            "extract" = traceparent.as_str(),
            "span" = "A",
            "span" = "B",
            "inject" = "A"
        );
        let vars = agent.notify(0, &[message, message!("otel:b", "id" = "1", "span" = "C", "follows-from" = "B")]);
        let told = format!("00-{TRACE}-{}-{expected}", var(&vars, "span_id"));
        assert_eq!(var(&vars, "traceparent"), told, "{traceparent}");
        agent.notify(1, &[message!("otel:c", "id" = "1", "finish" = "*")]);
        let flags = u8::from_str_radix(expected, 16).unwrap();
        let spans = agent.take();
        assert_eq!(spans.names().len(), if flags & 1 == 1 { 3 } else { 0 });
        for span in spans.iter() {
            assert_eq!(span.data.span_context.trace_flags().to_u8(), flags, "{traceparent}");
            assert!(span.data.links.iter().all(|link| link.span_context.trace_flags().to_u8() == flags));
            assert!(span.data.links.iter().all(|link| !link.span_context.is_remote()));
        }
    }
}

#[test]
fn a_trace_of_our_own_has_a_random_id() {
    for (sampler, expected) in [("always_on", "03"), ("always_off", "02")] {
        let agent = Agent::with(|config| config.sampler = Sampler::new(Some(sampler), None).unwrap());
        let vars = agent.notify(0, &[message!("otel:a", "id" = "1", "extract" = NULL, "span" = "A", "inject" = "A")]);
        assert_eq!(&var(&vars, "traceparent")[53..], expected);
        let vars = agent.notify(0, &[message!("opentracing:a", "id" = "2", "span" = "A")]);
        assert_eq!(&var(&vars, "traceparent")[53..], expected, "provisional");
        agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "*")]);
        assert!(agent.take().iter().all(|span| span.data.span_context.trace_flags().to_u8() == 3));
    }
}

#[test]
fn ids_of_b3_and_jaeger_are_not_known_to_be_random() {
    let b3 = format!("{TRACE}-{PARENT}-1");
    let jaeger = format!("{TRACE}:{PARENT}:0:1");
    for (key, header) in [("extract-b3", &b3), ("extract-jaeger", &jaeger)] {
        let agent =
            Agent::with(|config| config.propagators = Propagators::new(Some("tracecontext,b3,jaeger")).unwrap());
        let mut message = message!("otel:a", "id" = "1", "span" = "A", "finish" = "A");
        message.args.extend([(key, Value::from(header.as_str())), ("inject", "A".into())]);
        let vars = agent.notify(0, &[message]);
        assert_eq!(&var(&vars, "traceparent")[53..], "01", "{key}");
        assert_eq!(agent.take().one().data.span_context.trace_flags().to_u8(), 1);
    }
}

#[test]
fn tracestate_and_baggage_are_passed_on() {
    let agent = Agent::new();
    let vars = agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "baggage" = "own",
            "" = "x y",
            "" = 1,
            "extract" = TRACEPARENT,
            "" = "a=1, c=3",
            "" = "user=joe;p=1,own=theirs",
            "" = "surplus",
            "baggage" = "empty",
            "baggage" = "null",
            "" = NULL,
            "baggage" = "",
            "span" = "A",
            "inject" = "A",
        )],
    );
    assert_eq!(names(&vars), ["traceparent", "tracestate", "sampled", "trace_id", "span_id", "baggage"]);
    assert_eq!(var(&vars, "tracestate"), "a=1, c=3");
    assert_eq!(var(&vars, "baggage"), "own=x%20y1,user=joe;p=1,empty=");
    assert_eq!(var(&vars, "trace_id"), TRACE);
    agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    assert!(is_child_of_the_caller(spans.one()));
    assert_eq!(spans.one().tracestate.as_deref(), Some("a=1, c=3"), "as it came");
    assert!(spans.one().attributes().is_empty(), "baggage is no attribute");
    let stats = agent.stats();
    assert_eq!((stats.args_surplus, stats.args_invalid, stats.extracts_invalid), (1, 1, 0));
}

#[test]
fn baggage_comes_without_a_traceparent_too() {
    let agent = Agent::new();
    let message =
        message!("otel:a", "id" = "1", "extract" = NULL, "" = "a=1", "" = "k=v,broken", "span" = "A", "inject" = "A");
    let vars = agent.notify(0, &[message]);
    assert_eq!(names(&vars), ["traceparent", "sampled", "trace_id", "span_id", "baggage"]);
    assert_eq!(var(&vars, "baggage"), "k=v");
    assert_eq!((agent.stats().baggage_dropped, agent.stats().extracts_invalid), (1, 0));
}

#[test]
fn what_is_absent_or_invalid_makes_a_root() {
    let cases: [(Value<'_>, u64); 5] = [
        (NULL, 0),
        ("".into(), 0),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".into(), 1),
        (TRACE.into(), 1),
        (Value::Binary(b"\xff\x00"), 1),
    ];
    for (traceparent, invalid) in cases {
        let agent = Agent::new();
        agent.notify(
            0,
            &[message!("otel:a", "id" = "1", "extract" = traceparent, "" = "a=1", "span" = "A", "finish" = "A")],
        );
        let spans = agent.take();
        assert_eq!((spans.one().data.parent_span_id, spans.one().data.parent_span_is_remote), (SpanId::INVALID, false));
        assert_eq!(spans.one().tracestate, None);
        assert_eq!(agent.stats().extracts_invalid, invalid, "{traceparent:?}");
    }
}

#[test]
fn trace_ids_bind_late() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!("otel:a", "id" = "1", "span" = "HAProxy session", "span" = "B", "child-of" = "HAProxy session")],
    );
    agent.notify(
        1,
        &[message!("otel:b", "id" = "1", "span" = "C", "follows-from" = "HAProxy session", "extract" = TRACEPARENT)],
    );
    agent.notify(2, &[message!("otel:c", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    assert!(is_child_of_the_caller(spans.get("HAProxy session")), "though it opened before");
    assert!(is_child_of_the_caller(spans.get("C")), "with the same parent");
    assert_eq!(spans.get("B").data.parent_span_id, spans.get("HAProxy session").id());
    assert!(!spans.get("B").data.parent_span_is_remote);
    assert_eq!(spans.get("B").trace_id().to_string(), TRACE);
    assert_eq!(agent.stats().extracts_late, 0);
}

#[test]
fn a_late_extract_is_ignored_and_counted() {
    let binding = [
        message!("otel:a", "id" = "1", "extract" = NULL),
        message!("otel:a", "id" = "1", "inject" = "A"),
        message!("otel:a", "id" = "1", "span" = "B", "finish" = "B"),
    ];
    for first in binding {
        let agent = Agent::new();
        agent.notify(0, &[message!("otel:0", "id" = "1", "span" = "A"), first]);
        agent.notify(1, &[message!("otel:b", "id" = "1", "extract" = TRACEPARENT, "" = NULL, "" = "k=v")]);
        let vars = agent.notify(2, &[message!("otel:c", "id" = "1", "inject" = "A", "finish" = "A")]);
        assert_eq!(names(&vars), ["traceparent", "sampled", "trace_id", "span_id"]);
        let spans = agent.take();
        let span = spans.get("A");
        assert_ne!(span.trace_id().to_string(), TRACE);
        assert_eq!(span.data.parent_span_id, SpanId::INVALID);
        assert_eq!(agent.stats().extracts_late, 1);
    }
}

#[test]
fn a_reserved_span_starts_when_the_previous_notify_was_answered() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A")]);
    let vars = agent.notify(10, &[message!("otel:b", "id" = "1", "inject" = "S")]);
    agent.notify(20, &[message!("otel:other", "id" = "2", "span" = "X")]);
    assert_eq!(agent.notify(30, &[message!("otel:c", "id" = "1", "span" = "B")]), []);
    agent.notify(50, &[message!("otel:d", "id" = "1", "span" = "S", "child-of" = "A", "finish" = "*")]);
    let spans = agent.take();
    let span = spans.get("S");
    assert_eq!(span.id().to_string(), var(&vars, "span_id"));
    assert_eq!((span.data.start_time, span.data.end_time), (at(31), at(50)));
    assert_eq!(agent.stats().reserved_never_opened, 0);
}

#[test]
fn a_reserved_span_that_opens_in_the_same_notify_starts_with_it() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "inject" = "T")]);
    let vars = agent.notify(10, &[message!("otel:b", "id" = "1", "inject" = "S", "span" = "S")]);
    agent.notify(20, &[message!("otel:c", "id" = "1", "finish" = "S")]);
    let spans = agent.take();
    assert_eq!((spans.one().id().to_string(), spans.one().data.start_time), (var(&vars, "span_id").into(), at(10)));
}

#[test]
fn a_clock_that_steps_back_does_not_start_a_reserved_span_in_the_future() {
    let agent = Agent::new();
    agent.notify(10, &[message!("otel:a", "id" = "1", "inject" = "S")]);
    agent.notify(5, &[message!("otel:b", "id" = "1", "span" = "S", "finish" = "S")]);
    assert_eq!(agent.take().one().data.start_time, at(5));
    assert_eq!(agent.stats().times_adjusted, 0);
}

#[test]
fn an_inject_that_is_refused_injects_nothing() {
    let agent = Agent::with(|config| config.max_spans_per_id = 1);
    let vars = agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A", "inject" = "S")]);
    assert_eq!((vars, agent.stats().spans_refused), (vec![], 1));
}

#[test]
fn a_reserved_span_never_starts_before_its_parent() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "inject" = "S")]);
    agent.notify(20, &[message!("otel:b", "id" = "1", "span" = "B", "span" = "S", "child-of" = "B", "finish" = "*")]);
    let spans = agent.take();
    assert_eq!((spans.get("B").data.start_time, spans.get("S").data.start_time), (at(20), at(20)));
}

#[test]
fn the_same_reservation_is_injected_again() {
    let agent = Agent::new();
    let first = agent.notify(0, &[message!("otel:a", "id" = "1", "inject" = "S")]);
    assert_eq!(agent.notify(1, &[message!("otel:b", "id" = "1", "inject" = "S")]), first);
    let last = agent.notify(2, &[message!("otel:c", "id" = "1", "inject" = "T", "inject" = "S", "span" = "U")]);
    assert_eq!(last, first, "of several the last one");
    agent.notify(3, &[message!("otel:d", "id" = "1", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["U"]);
    agent.sweep(3_000_000);
    assert_eq!(agent.stats().reserved_never_opened, 2);
    assert_eq!(agent.stats().remembered_ids, 0);
}

#[test]
fn implicit_inject_of_the_span_opened_last() {
    let agent = Agent::new();
    let vars = agent.notify(
        0,
        &[
            message!("opentracing:a", "id" = "1", "span" = "A", "span" = "B"),
            message!("opentracing:b", "id" = "1", "span" = "A"),
            message!("otel:c", "id" = "1", "span" = "C"),
        ],
    );
    assert_eq!(names(&vars), ["traceparent"]);
    assert_eq!(vars[0].scope, Scope::Request);
    assert_eq!(agent.notify(1, &[message!("opentracing:d", "id" = "1", "span" = "A")]), [], "nothing opened");
    assert_eq!(agent.notify(2, &[message!("otel:e", "id" = "1", "span" = "D")]), [], "otel: never injects implicitly");
    agent.notify(3, &[message!("opentracing:f", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    let span = spans.get("B");
    assert_eq!(vars[0].value, format!("00-{}-{}-03", span.trace_id(), span.id()));
}

#[test]
fn an_implicit_inject_does_not_bind() {
    let agent = Agent::new();
    let provisional = agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A")]);
    assert!(!var(&provisional, "traceparent").contains(TRACE));
    let replaced = agent.notify(
        1,
        &[message!("opentracing:b", "id" = "1", "extract" = TRACEPARENT, "" = "a=1", "span" = "B", "child-of" = "A")],
    );
    assert_eq!(names(&replaced), ["traceparent", "tracestate"]);
    assert!(replaced.iter().all(|var| var.scope == Scope::Request));
    agent.notify(2, &[message!("opentracing:c", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    assert!(is_child_of_the_caller(spans.get("A")));
    assert_eq!(var(&replaced, "traceparent"), format!("00-{TRACE}-{}-01", spans.get("B").id()));
    assert_eq!(agent.stats().extracts_late, 0);
}

#[test]
fn the_next_answer_carries_the_new_trace_id_even_if_nothing_opens() {
    let agent = Agent::new();
    let provisional = agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A")]);
    assert_eq!(agent.notify(1, &[message!("otel:b", "id" = "1", "extract" = TRACEPARENT)]), []);
    let replaced = agent.notify(2, &[message!("opentracing:c", "id" = "1", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!(var(&replaced, "traceparent"), format!("00-{TRACE}-{}-01", spans.one().id()));
    assert_ne!(provisional, replaced);
    assert_eq!(agent.notify(3, &[message!("opentracing:d", "id" = "1")]), [], "once");
}

#[test]
fn the_provisional_trace_id_is_the_one_that_is_exported() {
    for binding in [message!("opentracing:b", "id" = "1", "extract" = NULL), message!("opentracing:b", "id" = "1")] {
        let agent = Agent::new();
        let vars = agent.notify(0, &[message!("opentracing:a", "id" = "1", "span" = "A")]);
        assert_eq!(agent.notify(1, &[binding]), []);
        agent.notify(2, &[message!("opentracing:c", "id" = "1", "finish" = "A")]);
        let spans = agent.take();
        assert_eq!(var(&vars, "traceparent"), format!("00-{}-{}-03", spans.one().trace_id(), spans.one().id()));
    }
}

#[test]
fn inject_ends_the_implicit_one() {
    let agent = Agent::new();
    let vars = agent.notify(
        0,
        &[
            message!("opentracing:a", "id" = "1", "span" = "A"),
            message!("opentracing:b", "id" = "1", "inject" = "A", "span" = "B"),
        ],
    );
    assert_eq!(names(&vars), ["traceparent", "sampled", "trace_id", "span_id"]);
    assert!(vars.iter().all(|var| var.scope == Scope::Transaction));
    assert_eq!(agent.notify(1, &[message!("opentracing:c", "id" = "1", "span" = "C")]), []);
    agent.notify(2, &[message!("opentracing:d", "id" = "1", "finish" = "A")]);
    assert_eq!(agent.take().one().id().to_string(), var(&vars, "span_id"));
}

#[test]
fn implicit_inject_never_carries_baggage() {
    let agent = Agent::new();
    let vars = agent.notify(0, &[message!("opentracing:a", "id" = "1", "baggage" = "a", "" = 1, "span" = "A")]);
    assert_eq!(names(&vars), ["traceparent"]);
}

#[test]
fn only_the_propagators_that_are_on() {
    let message = || {
        message!(
            "otel:a",
            "id" = "1",
            "extract" = TRACEPARENT,
            "" = "a=1",
            "" = "k=v",
            "span" = "A",
            "inject" = "A",
            "finish" = "A"
        )
    };
    let cases = [
        ("tracecontext", vec!["traceparent", "tracestate", "sampled", "trace_id", "span_id"], true),
        ("baggage", vec!["sampled", "trace_id", "span_id", "baggage"], false),
        ("none", vec!["sampled", "trace_id", "span_id"], false),
    ];
    for (list, expected, child) in cases {
        let agent = Agent::with(|config| config.propagators = Propagators::new(Some(list)).unwrap());
        let vars = agent.notify(0, &[message()]);
        assert_eq!(names(&vars), expected, "{list}");
        assert_eq!(is_child_of_the_caller(agent.take().one()), child, "{list}");
    }
}

#[test]
fn variables_that_do_not_fit_are_left_out_and_counted() {
    let agent = Agent::new();
    let message = || message!("otel:a", "id" = "1", "span" = "A", "inject" = "A");
    // The frame's header takes 7 bytes, traceparent 71, sampled 12.
    let vars = agent.notify_with_room(0, &[message()], 7 + 71 + 12 + 20);
    assert_eq!(names(&vars), ["traceparent", "sampled"]);
    assert_eq!(agent.stats().variables_dropped, 2);
    assert_eq!(agent.notify_with_room(1, &[message()], 16).len(), 0);
    assert_eq!(agent.stats().variables_dropped, 2 + 4, "nine bytes are not enough for any");
}
