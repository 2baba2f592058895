//! The message language: ids, services, spans, references, `finish=`, and what is misplaced.

use std::net::{Ipv4Addr, Ipv6Addr};

use opentelemetry::Value as Attribute;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use spop_core::Value;

use crate::message;
use crate::support::{Agent, at};

const NULL: Value<'static> = Value::Null;

#[test]
fn a_message_of_somebody_else_is_counted_and_left_alone() {
    let agent = Agent::new();
    let vars = agent.notify(0, &[message!("get-ip-reputation", "id" = "1", "span" = "A", "finish" = "A")]);
    assert_eq!(vars, []);
    agent.notify(0, &[message!("opentracing", "id" = "1"), message!("xotel:", "id" = "1")]);
    let stats = agent.stats();
    assert_eq!((stats.messages, stats.messages_foreign, stats.open_ids), (0, 3, 0));
    assert_eq!(agent.take().names(), [""; 0]);
}

#[test]
fn ids_of_all_types_are_texts() {
    let same: [(Value<'_>, &str); 6] = [
        (Value::Int64(42), "42"),
        (Value::UInt64(u64::MAX), "18446744073709551615"),
        (Value::Bool(true), "true"),
        (Value::Ipv4(Ipv4Addr::LOCALHOST), "127.0.0.1"),
        (Value::Ipv6(Ipv6Addr::LOCALHOST), "::1"),
        (Value::Binary(b"\xC0\x01"), "c001"),
    ];
    for (id, text) in same {
        let agent = Agent::new();
        agent.notify(0, &[message!("otel:a", "id" = id, "span" = "A")]);
        agent.notify(1, &[message!("otel:b", "id" = text, "finish" = "A")]);
        assert_eq!(agent.take().names(), ["A"], "{text}");
    }
}

#[test]
fn messages_without_a_usable_id_are_rejected() {
    let agent = Agent::new();
    let long = "x".repeat(257);
    let messages = [
        message!("otel:none", "span" = "A", "finish" = "A"),
        message!("otel:null", "id" = NULL, "span" = "A", "finish" = "A"),
        message!("otel:empty", "id" = "", "span" = "A", "finish" = "A"),
        message!("otel:long", "id" = &*long, "span" = "A", "finish" = "A"),
        message!("otel:long", "id" = Value::Binary(&[0; 129]), "span" = "A", "finish" = "A"),
        message!("otel:no-arguments"),
    ];
    assert_eq!(agent.notify(0, &messages), []);
    let stats = agent.stats();
    assert_eq!(stats.messages, 6);
    assert_eq!((stats.rejected_no_id, stats.rejected_null_id), (2, 1));
    assert_eq!((stats.rejected_empty_id, stats.rejected_long_id), (1, 2));
    assert_eq!((stats.spans_started, stats.open_ids), (0, 0));

    let longest = "x".repeat(256);
    agent.notify(0, &[message!("otel:a", "id" = &*longest, "span" = "A", "finish" = "A")]);
    agent.notify(0, &[message!("otel:a", "id" = Value::Binary(&[0; 128]), "span" = "B", "finish" = "B")]);
    assert_eq!(agent.take().names(), ["A", "B"]);
}

#[test]
fn what_stands_before_the_id_is_skipped() {
    let agent = Agent::new();
    let message =
        message!("otel:a", "" = 1, "" = 2, "what" = 3, "" = 4, "span" = "B", "id" = "1", "" = 5, "span" = "A");
    agent.notify(0, &[message, message!("otel:b", "id" = "1", "finish" = "*", "id" = "2", "" = "3")]);
    assert_eq!(agent.take().names(), ["A"]);
    let stats = agent.stats();
    // The two unnamed ones, the first span= and the second id=.
    assert_eq!((stats.args_misplaced, stats.args_unknown, stats.args_surplus), (4, 1, 1));
}

#[test]
fn the_service_is_part_of_the_key() {
    let agent = Agent::with(|config| config.default_service = "edge".into());
    agent.notify(
        0,
        &[
            message!("otel:a", "id" = "1", "service" = "shop", "span" = "A"),
            message!("otel:a", "id" = "1", "span" = "B"),
            message!("otel:a", "id" = "1", "service" = "", "span" = "C"),
            message!("otel:a", "id" = "1", "service" = NULL, "span" = "D"),
            message!("otel:a", "id" = "1", "span" = "E", "service" = "shop"),
            message!("otel:a", "id" = "1", "service" = "edge", "" = "x", "span" = "F"),
        ],
    );
    agent.notify(1, &[message!("otel:b", "id" = "1", "service" = "shop", "finish" = "*")]);
    let spans = agent.take();
    assert_eq!((spans.names(), &*spans.one().service), (vec!["A"], "shop"));
    agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    assert_eq!(spans.names(), ["B", "C", "D", "E", "F"]);
    assert!(spans.iter().all(|span| &*span.service == "edge"));
    let stats = agent.stats();
    assert_eq!((stats.args_invalid, stats.args_misplaced, stats.args_surplus), (2, 1, 1));
    assert_eq!((stats.open_ids, stats.remembered_ids), (0, 2));
}

#[test]
fn a_span_opens_once_and_is_taken_up_again() {
    let agent = Agent::new();
    agent.notify(5, &[message!("otel:a", "id" = "1", "span" = "A", "tag" = "t", "" = 1)]);
    agent.notify(7, &[message!("otel:b", "id" = "1", "span" = "A", "tag" = "u", "" = 2, "finish" = "A")]);
    let spans = agent.take();
    let span = spans.one();
    assert_eq!(span.attributes(), [("t", Attribute::I64(1)), ("u", Attribute::I64(2))]);
    assert_eq!((span.data.start_time, span.data.end_time), (at(5), at(7)));
    assert_eq!((span.data.parent_span_id, span.data.parent_span_is_remote), (SpanId::INVALID, false));
    assert_eq!((&span.data.span_kind, &span.data.status), (&SpanKind::Internal, &Status::Unset));
    assert!(span.data.span_context.is_sampled() && span.data.span_context.is_valid());
    assert_eq!(&*span.service, "haproxy");
}

#[test]
fn a_finished_name_can_be_opened_again() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "root", "span" = "A", "tag" = "t", "finish" = "A")]);
    agent.notify(9, &[message!("otel:b", "id" = "1", "span" = "A")]);
    agent.notify(10, &[message!("otel:c", "id" = "1", "finish" = "*")]);
    let spans = agent.take();
    let both: Vec<_> = spans.iter().filter(|span| span.data.name == "A").collect();
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].id(), both[1].id());
    assert_eq!(both[0].trace_id(), both[1].trace_id());
    assert_eq!((both[1].data.start_time, both[1].attributes()), (at(9), vec![]));
}

#[test]
fn a_span_without_a_name_is_none() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "",
            "tag" = "t",
            "span" = NULL,
            "tag" = "t",
            "finish" = "*"
        )],
    );
    assert_eq!(agent.take().one().attributes(), []);
    let stats = agent.stats();
    assert_eq!((stats.args_invalid, stats.args_misplaced), (2, 2));
}

#[test]
fn child_of_an_open_span() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "span" = "B", "child-of" = "A", "" = "x")]);
    agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "C", "tag" = "t", "child-of" = "B", "finish" = "*")]);
    let spans = agent.take();
    assert_eq!(spans.get("B").data.parent_span_id, spans.get("A").id());
    assert_eq!(spans.get("C").data.parent_span_id, spans.get("B").id());
    assert!(spans.iter().all(|span| span.links().is_empty() && !span.data.parent_span_is_remote));
    assert!(spans.iter().all(|span| span.trace_id() == spans.get("A").trace_id()));
    assert_eq!(agent.stats().args_surplus, 1);
}

#[test]
fn a_reference_to_an_unknown_span_is_one_to_the_root() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "root",
            "child-of" = "nobody",
            "span" = "A",
            "child-of" = "nobody",
            "span" = "B",
            "follows-from" = NULL,
            "span" = "C",
            "child-of" = "C",
            "finish" = "root",
        )],
    );
    agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "D", "child-of" = "root", "finish" = "*")]);
    let spans = agent.take();
    let root = spans.get("root");
    assert_eq!(root.data.parent_span_id, SpanId::INVALID);
    for name in ["A", "B", "C", "D"] {
        assert_eq!((spans.get(name).data.parent_span_id, spans.get(name).links()), (root.id(), vec![]), "{name}");
    }
    assert_eq!(agent.stats().references_unknown, 5);
}

#[test]
fn follows_from_has_the_same_parent_and_a_link() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "B",
            "child-of" = "A",
            "span" = "C",
            "follows-from" = "B",
            "span" = "D",
            "follows-from" = "A",
            "finish" = "*",
        )],
    );
    let spans = agent.take();
    assert_eq!(spans.get("C").data.parent_span_id, spans.get("A").id());
    assert_eq!(spans.get("C").links(), [(spans.get("B").id(), "follows_from".to_owned())]);
    assert_eq!(spans.get("D").data.parent_span_id, SpanId::INVALID);
    assert_eq!(spans.get("D").links(), [(spans.get("A").id(), "follows_from".to_owned())]);
}

#[test]
fn of_several_references_the_first_is_the_parent() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "B",
            "child-of" = "A",
            "span" = "X",
            "child-of" = "A",
            "span" = "C",
            "child-of" = "X",
            "follows-from" = "B",
            "span" = "D",
            "follows-from" = "B",
            "child-of" = "X",
            "span" = "E",
            "child-of" = "nobody",
            "child-of" = "X",
            "span" = "A",
            "child-of" = "B",
            "finish" = "*",
        )],
    );
    let spans = agent.take();
    let [a, b, x] = ["A", "B", "X"].map(|name| spans.get(name).id());
    let of = |name| (spans.get(name).data.parent_span_id, spans.get(name).links());
    assert_eq!(of("C"), (x, vec![(b, "follows_from".to_owned())]));
    assert_eq!(of("D"), (a, vec![(b, "follows_from".to_owned()), (x, "child_of".to_owned())]));
    assert_eq!(of("E"), (a, vec![(x, "child_of".to_owned())]));
    assert_eq!(of("A"), (SpanId::INVALID, vec![]));
    let stats = agent.stats();
    assert_eq!((stats.references_unknown, stats.args_misplaced), (1, 1));
}

#[test]
fn finish_by_name_all_current_and_unknown() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!("otel:a", "id" = "1", "span" = "A", "span" = "B", "span" = "C", "span" = "D", "span" = "E")],
    );
    agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "A", "" = "B", "" = "nobody", "" = NULL)]);
    assert_eq!(agent.take().names(), ["A", "B"]);
    agent.notify(2, &[message!("otel:b", "id" = "1", "span" = "C", "finish" = "", "span" = "D")]);
    assert_eq!(agent.take().names(), ["C"]);
    agent.notify(3, &[message!("otel:b", "id" = "1", "finish" = "")]);
    assert_eq!(agent.take().names(), [""; 0], "there is no current span");
    agent.notify(4, &[message!("otel:b", "id" = "1", "finish" = "*", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["D", "E"]);
    agent.notify(5, &[message!("otel:b", "id" = "2", "finish" = "*")]);
    let stats = agent.stats();
    assert_eq!((stats.finishes_unknown, stats.args_invalid, stats.args_misplaced), (1, 1, 1));
    assert_eq!((stats.spans_started, stats.spans_finished, stats.spans_exported), (5, 5, 5));
    assert_eq!((stats.open_ids, stats.remembered_ids), (0, 1), "id 2 was never more than asked for");
}

#[test]
fn finish_takes_effect_after_the_starts_of_its_message() {
    let agent = Agent::new();
    agent
        .notify(0, &[message!("otel:a", "id" = "1", "finish" = "A", "span" = "A", "span" = "B", "follows-from" = "A")]);
    let spans = agent.take();
    assert_eq!(spans.names(), ["A"]);
    agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "B")]);
    assert_eq!(agent.take().one().links(), [(spans.one().id(), "follows_from".to_owned())]);
    assert_eq!(agent.stats().finishes_unknown, 0);
}

#[test]
fn one_instant_for_all_of_a_notify() {
    let agent = Agent::new();
    agent.notify(
        2,
        &[
            message!("otel:a", "id" = "1", "span" = "A", "span" = "B"),
            message!("otel:b", "id" = "2", "span" = "C", "finish" = "C"),
            message!("otel:c", "id" = "1", "span" = "D", "finish" = "*"),
        ],
    );
    let spans = agent.take();
    assert_eq!(spans.names(), ["A", "B", "D", "C"], "by id, in the order of the ids' first messages");
    let end = at(2) + std::time::Duration::from_micros(1);
    assert!(spans.iter().all(|span| (span.data.start_time, span.data.end_time) == (at(2), end)));
}

#[test]
fn unknown_arguments_and_their_values_are_skipped() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "tag" = "early",
            "" = 1,
            "span" = "A",
            "colour" = "red",
            "" = "blue",
            "tag" = "t",
            "" = 1,
            "extract-b2" = "x",
            "finish" = "A",
        )],
    );
    assert_eq!(agent.take().one().attributes(), [("t", Attribute::I64(1))]);
    let stats = agent.stats();
    assert_eq!((stats.args_unknown, stats.args_misplaced, stats.args_surplus), (2, 1, 0));
}

#[test]
fn too_many_spans_of_one_id_are_refused() {
    let agent = Agent::with(|config| config.max_spans_per_id = 3);
    agent.notify(
        0,
        &[message!("otel:a", "id" = "1", "inject" = "R", "span" = "A", "span" = "B", "span" = "C", "tag" = "t")],
    );
    agent.notify(1, &[message!("otel:b", "id" = "1", "inject" = "S", "span" = "R", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["A", "B", "R"]);
    let stats = agent.stats();
    assert_eq!((stats.spans_refused, stats.args_misplaced), (2, 1));
}
