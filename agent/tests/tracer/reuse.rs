//! Ids that come again, as they do where clients choose them.

use opentelemetry::trace::SpanId;
use spop_core::Value;

use crate::message;
use crate::support::{Agent, Message, var};

const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TWO: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NULL: Value<'static> = Value::Null;

/// A request in the manner of spoe-http.cfg, its first message and its last.
fn request<'a>(traceparent: Value<'a>) -> [Message<'a>; 2] {
    let args = [
        ("id", Value::from("X")),
        ("extract", traceparent),
        ("inject", "Server session".into()),
        ("span", "HAProxy session".into()),
    ];
    let response = message!(
        "otel:response",
        "id" = "X",
        "span" = "Server session",
        "status" = 200,
        "span" = "HAProxy session",
        "status" = 200,
        "finish" = "*"
    );
    [Message { name: "otel:request", args: args.to_vec() }, response]
}

#[test]
fn a_request_with_the_id_of_an_ended_one_is_a_trace_of_its_own() {
    let [one, two] = [ONE, TWO].map(Value::from);
    for (first, second) in [(one, two), (NULL, two), (one, NULL), (NULL, NULL), (one, one)] {
        let agent = Agent::new();
        let mut traces = Vec::new();
        for (at, traceparent) in [(0, first), (10, second)] {
            let [start, end] = request(traceparent);
            let vars = agent.notify(at, &[start]);
            agent.notify(at + 1, &[end]);
            let spans = agent.take();
            assert_eq!(spans.names(), ["HAProxy session", "Server session"]);
            let session = spans.get("HAProxy session");
            assert_eq!(spans.get("Server session").trace_id(), session.trace_id());
            assert_eq!(var(&vars, "trace_id"), session.trace_id().to_string());
            let parent = traceparent.as_str().map_or(SpanId::INVALID.to_string(), |text| text[36..52].to_owned());
            assert_eq!(session.data.parent_span_id.to_string(), parent);
            assert!(traceparent.as_str().is_none_or(|text| text.contains(&session.trace_id().to_string())));
            traces.push(session.trace_id());
        }
        assert_eq!(traces[0] == traces[1], first != NULL && first == second);
        let stats = agent.stats();
        assert_eq!((stats.ids_reused, stats.extracts_late, stats.ids_shared, stats.traces_sampled), (1, 0, 0, 2));
        assert_eq!((stats.open_ids, stats.remembered_ids, stats.open_spans), (0, 1, 0));
    }
}

#[test]
fn nothing_of_the_earlier_request_is_left() {
    let agent = Agent::new();
    let first =
        message!("otel:a", "id" = "X", "extract" = ONE, "" = "a=1", "" = "k=v", "inject" = "never", "span" = "A");
    agent.notify(0, &[first, message!("otel:b", "id" = "X", "finish" = "*")]);
    let vars = agent.notify(1, &[message!("otel:a", "id" = "X", "span" = "B", "inject" = "B")]);
    let names: Vec<_> = vars.iter().map(|var| var.name.as_str()).collect();
    assert_eq!(names, ["traceparent", "sampled", "trace_id", "span_id"], "no tracestate, no baggage");
    assert_eq!((agent.stats().ids_reused, agent.stats().reserved_never_opened), (1, 1));
    assert_eq!(agent.tracer.open_spans(opentelemetry::trace::TraceId::from_hex(var(&vars, "trace_id")).unwrap()), 1);
}

#[test]
fn an_implicit_inject_begins_anew_too() {
    let agent = Agent::new();
    let start = || message!("opentracing:a", "id" = "X", "span" = "A", "span" = "B", "child-of" = "A");
    let first = agent.notify(0, &[start()]);
    agent.notify(1, &[message!("opentracing:b", "id" = "X", "finish" = "*")]);
    let second = agent.notify(2, &[start()]);
    assert_ne!(var(&first, "traceparent")[..36], var(&second, "traceparent")[..36]);
}

#[test]
fn what_refers_to_spans_of_the_ended_request_joins_it() {
    let late: [Message<'_>; 5] = [
        message!("otel:b", "id" = "X", "span" = "B", "child-of" = "A", "span" = "B", "finish" = "*"),
        message!("otel:b", "id" = "X", "span" = "B", "tag" = "t", "follows-from" = "A", "finish" = "*"),
        message!("otel:b", "id" = "X", "span" = "B", "child-of" = "A", "extract" = ONE, "finish" = "*"),
        message!("otel:b", "id" = "X", "span" = "B", "child-of" = "A", "extract" = "garbage", "finish" = "*"),
        message!("otel:b", "id" = "X", "span" = "", "span" = "B", "child-of" = "A", "finish" = "*"),
    ];
    for message in late {
        let agent = Agent::new();
        agent.notify(0, &[message!("otel:a", "id" = "X", "extract" = ONE, "span" = "A", "finish" = "*")]);
        let ended = agent.take();
        agent.notify(1, &[message]);
        let spans = agent.take();
        assert_eq!(spans.one().trace_id(), ended.one().trace_id());
        assert_eq!(spans.one().data.parent_span_id, ended.one().id());
        assert_eq!(agent.stats().ids_reused, 0);
    }
}

#[test]
fn another_trace_begins_anew_without_a_root_too() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "X", "extract" = ONE, "span" = "A", "finish" = "*")]);
    agent.take();
    agent.notify(1, &[message!("otel:b", "id" = "X", "extract" = TWO, "span" = "B", "child-of" = "A", "finish" = "*")]);
    assert_eq!(agent.take().one().trace_id().to_string(), TWO[3..35]);
    assert_eq!((agent.stats().ids_reused, agent.stats().extracts_late), (1, 0));
}

#[test]
fn messages_of_one_notify_are_of_one_request() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[
            message!("otel:a", "id" = "X", "span" = "A", "finish" = "*"),
            message!("otel:b", "id" = "X", "span" = "B", "finish" = "*"),
        ],
    );
    let spans = agent.take();
    assert_eq!(spans.get("A").trace_id(), spans.get("B").trace_id());
    assert_eq!(agent.stats().ids_reused, 0);
}

/// The server was told of it: it is no other request's root, and it is waited for as long as for an open one.
#[test]
fn a_span_that_was_promised_is_of_the_request_that_promised_it() {
    for (later, child_of) in [(1, None), (100_000, None), (100_000, Some("Frontend"))] {
        let agent = Agent::new();
        let first = message!("otel:a", "id" = "1", "inject" = "Upstream", "span" = "Frontend", "finish" = "Frontend");
        let vars = agent.notify(0, &[first]);
        agent.sweep(later);
        assert_eq!(agent.stats().open_ids, 1);
        let mut second = message!("otel:b", "id" = "1", "span" = "Upstream");
        second.args.extend(child_of.map(|name| ("child-of", Value::from(name))));
        second.args.push(("finish", "*".into()));
        agent.notify(later, &[second]);
        let spans = agent.take();
        let (frontend, upstream) = (spans.get("Frontend"), spans.get("Upstream"));
        assert_eq!(
            (upstream.trace_id(), upstream.id().to_string()),
            (frontend.trace_id(), var(&vars, "span_id").into())
        );
        let parent = child_of.map_or(SpanId::INVALID, |_| frontend.id());
        assert_eq!(upstream.data.parent_span_id, parent);
        let stats = agent.stats();
        assert_eq!((stats.ids_reused, stats.reserved_never_opened, stats.open_ids), (0, 0, 0), "{later}");
    }
}

#[test]
fn what_was_promised_is_waited_for_until_all_is_finished() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "inject" = "Upstream", "span" = "Frontend")]);
    agent.notify(1, &[message!("otel:denied", "id" = "1", "finish" = "*")]);
    let stats = agent.stats();
    assert_eq!((stats.open_ids, stats.remembered_ids, stats.reserved_never_opened), (0, 1, 1));
    // Without that, until the id is idle.
    agent.notify(2, &[message!("otel:a", "id" = "2", "inject" = "Upstream", "span" = "A", "finish" = "A")]);
    agent.sweep(120_002);
    let stats = agent.stats();
    assert_eq!((stats.open_ids, stats.remembered_ids, stats.reserved_never_opened), (0, 1, 2));
    // No limit cut it: a root is another request's.
    agent.notify(121_000, &[message!("otel:a", "id" = "2", "span" = "A", "finish" = "A")]);
    let spans = agent.take();
    let traces: Vec<_> = spans.iter().filter(|span| span.data.name == "A").map(|span| span.trace_id()).collect();
    assert!(traces.len() == 2 && traces[0] != traces[1], "{traces:?}");
    assert_eq!(agent.stats().ids_reused, 1);
}

#[test]
fn after_a_limit_haproxy_may_still_be_at_the_request() {
    let agent = Agent::new();
    let [start, end] = request(ONE.into());
    agent.notify(0, &[start]);
    agent.sweep(120_000);
    assert_eq!(agent.take().one().end_cause().as_deref(), Some("idle"));
    // The server took more than two minutes: the last message takes up spans that it believes to be open.
    agent.notify(121_000, &[end]);
    let late = agent.take();
    assert_eq!(late.names(), ["Server session", "HAProxy session"]);
    assert!(late.iter().all(|span| span.trace_id().to_string() == ONE[3..35]));
    assert_eq!(agent.stats().ids_reused, 0);
}

#[test]
fn after_a_limit_a_root_with_an_extract_is_another_request() {
    for traceparent in [Value::from(TWO), NULL] {
        let agent = Agent::new();
        let [start, _] = request(ONE.into());
        agent.notify(0, &[start]);
        agent.sweep(120_000);
        agent.take();
        let [start, end] = request(traceparent);
        agent.notify(121_000, &[start]);
        agent.notify(121_001, &[end]);
        assert!(agent.take().iter().all(|span| span.trace_id().to_string() != ONE[3..35]));
        assert_eq!(agent.stats().ids_reused, 1);
    }
}

#[test]
fn requests_at_the_same_time_show_by_a_second_trace() {
    let [one, two] = [ONE, TWO].map(Value::from);
    for (first, second, shared) in
        [(one, two, 1), (NULL, two, 1), (one, one, 0), (one, NULL, 0), (one, "garbage".into(), 0)]
    {
        let agent = Agent::new();
        let [start, _] = request(first);
        agent.notify(0, &[start]);
        let [start, end] = request(second);
        agent.notify(1, &[start]);
        let stats = agent.stats();
        assert_eq!((stats.ids_shared, stats.extracts_late, stats.ids_reused), (shared, 1, 0), "{second:?}");
        agent.notify(2, &[end]);
        assert_eq!(agent.take().names().len(), 2, "they mix");
    }
}

#[test]
fn a_late_extract_alone_shows_nothing() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "X", "span" = "A", "inject" = "A")]);
    agent.notify(1, &[message!("otel:b", "id" = "X", "extract" = TWO)]);
    assert_eq!((agent.stats().extracts_late, agent.stats().ids_shared), (1, 0), "inject= came too early");
}
