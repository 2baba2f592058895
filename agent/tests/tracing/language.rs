//! Every row of the message language.

use std::net::{Ipv4Addr, Ipv6Addr};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::Value as Attribute;
use spop_core::Value;

use crate::message;
use crate::support::{at, micros, Agent};

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
    assert_eq!(spans.names(), ["B", "C", "D", "E"]);
    assert!(spans.iter().all(|span| &*span.service == "edge"));
    let stats = agent.stats();
    assert_eq!((stats.args_invalid, stats.args_misplaced, stats.args_surplus), (2, 1, 1));
    assert_eq!((stats.open_ids, stats.open_spans), (1, 1), "F, of the named service edge");
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
    assert_eq!(span.data.instrumentation_scope.name(), "spop-agent");
    assert_eq!(span.data.instrumentation_scope.version(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(&*span.service, "haproxy");

    // A finished name can be opened again, in the same trace.
    agent.notify(9, &[message!("otel:c", "id" = "1", "span" = "A", "finish" = "A")]);
    let again = agent.take();
    assert_ne!(again.one().id(), span.id());
    assert_eq!(again.one().trace_id(), span.trace_id());
    assert_eq!((again.one().data.start_time, again.one().attributes()), (at(9), vec![]));
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
fn tags_keep_their_types() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "tag" = "none",
            "tag" = "null",
            "" = NULL,
            "tag" = "bool",
            "" = true,
            "tag" = "int",
            "" = -5i64,
            "tag" = "u32",
            "" = u32::MAX,
            "tag" = "u64",
            "" = u64::MAX,
            "tag" = "v4",
            "" = Ipv4Addr::new(192, 0, 2, 1),
            "tag" = "v6",
            "" = Ipv6Addr::LOCALHOST,
            "tag" = "text",
            "" = "caf\u{e9}",
            "tag" = "broken",
            "" = Value::String(b"a\xff"),
            "tag" = "binary",
            "" = Value::Binary(b"\x00\xfe"),
            "tag" = "several",
            "" = "HTTP/",
            "" = 2,
            "" = NULL,
            "" = true,
            "tag" = 7,
            "" = "numbered",
            "tag" = "",
            "" = "unnamed",
            "tag" = NULL,
            "" = "unnamed",
            "finish" = "A",
        )],
    );
    let spans = agent.take();
    assert_eq!(
        spans.one().attributes(),
        [
            ("none", Attribute::from("")),
            ("bool", Attribute::Bool(true)),
            ("int", Attribute::I64(-5)),
            ("u32", Attribute::I64(4_294_967_295)),
            ("u64", Attribute::from("18446744073709551615")),
            ("v4", Attribute::from("192.0.2.1")),
            ("v6", Attribute::from("::1")),
            ("text", Attribute::from("caf\u{e9}")),
            ("broken", Attribute::from("a\u{fffd}")),
            ("binary", Attribute::from("00fe")),
            ("several", Attribute::from("HTTP/2true")),
            ("7", Attribute::from("numbered")),
        ]
    );
    assert_eq!(agent.stats().args_invalid, 2);
}

#[test]
fn a_tag_again_replaces_the_first() {
    let agent = Agent::new();
    let again = message!(
        "otel:a",
        "id" = "1",
        "span" = "A",
        "tag" = "t",
        "" = 1,
        "tag" = "u",
        "" = 2,
        "tag" = "t",
        "" = "x",
        "tag" = "u",
        "" = NULL
    );
    agent.notify(0, &[again, message!("otel:b", "id" = "1", "finish" = "*")]);
    assert_eq!(agent.take().one().attributes(), [("t", Attribute::from("x")), ("u", Attribute::I64(2))]);
}

#[test]
fn tags_beyond_the_limit_are_dropped_and_counted() {
    let names: Vec<_> = (0..130).map(|i| format!("t{i}")).collect();
    for unnamed in [false, true] {
        let agent = Agent::new();
        // A message cannot have more than 255 arguments.
        for half in names.chunks(65) {
            let mut message = message!("otel:a", "id" = "1", "span" = "A");
            for name in half {
                message.args.push(("tag", Value::from(name.as_str())));
                message.args.extend(unnamed.then_some(("", Value::Int64(1))));
            }
            agent.notify(0, &[message]);
        }
        agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "A", "tag" = "t0", "" = 2, "finish" = "A")]);
        let spans = agent.take();
        let span = spans.one();
        assert_eq!((span.data.attributes.len(), span.data.dropped_attributes_count), (128, 2));
        assert_eq!(span.attributes()[0], ("t0", Attribute::I64(2)), "one that is there can change");
        assert_eq!(agent.stats().attributes_dropped, 2);
    }
}

#[test]
fn logs_of_a_span_block_are_one_event() {
    let agent = Agent::new();
    agent.notify(
        3,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "log" = "a",
            "" = 1,
            "tag" = "t",
            "log" = "b",
            "" = "x",
            "" = "y",
            "log" = "c",
            "" = NULL,
            "span" = "B",
            "log" = "d",
            "span" = "A",
            "log" = "e",
            "" = true,
        )],
    );
    agent.notify(4, &[message!("otel:b", "id" = "1", "log" = "lost", "span" = "B", "log" = "f", "finish" = "*")]);
    let spans = agent.take();
    let events = |name| -> Vec<_> {
        let span = spans.get(name);
        let seen = span.data.events.iter().map(|event| {
            assert_eq!(event.name, "log");
            let attributes: Vec<_> = event.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
            (event.timestamp, attributes.join(" "))
        });
        seen.collect()
    };
    assert_eq!(events("A"), [(at(3), "a=1 b=xy".to_owned()), (at(3), "e=true".to_owned())]);
    assert_eq!(events("B"), [(at(3), "d=".to_owned()), (at(4), "f=".to_owned())]);
    assert_eq!(agent.stats().args_misplaced, 1);
}

#[test]
fn an_event_has_pairs() {
    let agent = Agent::new();
    agent.notify(
        3,
        &[message!(
            "otel:a",
            "id" = "1",
            "event" = "lost",
            "span" = "A",
            "event" = "cache",
            "" = "hit",
            "" = true,
            "" = "left out",
            "" = NULL,
            "" = NULL,
            "" = 1,
            "" = "odd",
            "event" = "bare",
            "event" = "",
            "finish" = "",
        )],
    );
    let spans = agent.take();
    let events = &spans.one().data.events;
    assert_eq!(
        events.iter().map(|event| (&*event.name, event.timestamp)).collect::<Vec<_>>(),
        [("cache", at(3)), ("bare", at(3))]
    );
    let pairs: Vec<_> = events[0].attributes.iter().map(|kv| (kv.key.as_str(), kv.value.clone())).collect();
    assert_eq!(pairs, [("hit", Attribute::Bool(true)), ("odd", Attribute::from(""))]);
    assert!(events[1].attributes.is_empty());
    let stats = agent.stats();
    assert_eq!((stats.args_misplaced, stats.args_invalid), (1, 2));
}

#[test]
fn limits_of_events_links_and_their_attributes() {
    let agent = Agent::with(|config| {
        config.span_limits.max_events_per_span = 2;
        config.span_limits.max_links_per_span = 1;
        config.span_limits.max_attributes_per_event = 1;
    });
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "B",
            "span" = "C",
            "child-of" = "A",
            "child-of" = "B",
            "follows-from" = "B",
            "event" = "e",
            "" = "a",
            "" = 1,
            "" = "b",
            "" = 2,
            "event" = "f",
            "event" = "g",
            "log" = "h",
            "finish" = "C",
        )],
    );
    let spans = agent.take();
    let data = &spans.one().data;
    assert_eq!((data.events.len(), data.events.dropped_count), (2, 2));
    assert_eq!((data.events[0].attributes.len(), data.events[0].dropped_attributes_count), (1, 1));
    assert_eq!((data.links.len(), data.links.dropped_count), (1, 1));
    let stats = agent.stats();
    assert_eq!((stats.events_dropped, stats.links_dropped, stats.attributes_dropped), (2, 1, 1));
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
fn kinds() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "kind" = "server",
            "span" = "server",
            "kind" = "server",
            "" = "x",
            "span" = "client",
            "kind" = "client",
            "span" = "internal",
            "kind" = "server",
            "kind" = "internal",
            "span" = "producer",
            "kind" = "producer",
            "span" = "consumer",
            "kind" = "consumer",
            "kind" = "Server",
            "kind" = 1,
            "finish" = "*",
        )],
    );
    let spans = agent.take();
    let kinds: Vec<_> = spans.iter().map(|span| span.data.span_kind.clone()).collect();
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Client, SpanKind::Internal, SpanKind::Producer, SpanKind::Consumer]);
    let stats = agent.stats();
    assert_eq!((stats.args_misplaced, stats.args_surplus, stats.args_invalid), (1, 1, 2));
}

#[test]
fn statuses() {
    let cases: [(&str, Value<'_>, Status); 12] = [
        ("internal", "ok".into(), Status::Ok),
        ("internal", "error".into(), Status::error("why")),
        ("server", 404.into(), Status::Unset),
        ("server", 500.into(), Status::error("why")),
        ("server", "503".into(), Status::error("why")),
        ("client", 399.into(), Status::Unset),
        ("client", "400".into(), Status::error("why")),
        ("internal", 499.into(), Status::Unset),
        ("internal", 599u64.into(), Status::error("why")),
        ("internal", 99.into(), Status::Unset),
        ("internal", "fine".into(), Status::Unset),
        ("internal", NULL, Status::Unset),
    ];
    let agent = Agent::new();
    for (kind, status, expected) in cases {
        // The kind decides wherever it stands.
        agent.notify(
            0,
            &[message!(
                "otel:a",
                "id" = "1",
                "span" = "A",
                "status" = status,
                "" = "why",
                "" = "x",
                "kind" = kind,
                "finish" = "A"
            )],
        );
        assert_eq!(agent.take().one().data.status, expected, "{kind} {status:?}");
    }
    agent.notify(
        0,
        &[message!("otel:a", "id" = "1", "status" = "ok", "span" = "A", "status" = "error", "finish" = "A")],
    );
    assert_eq!(agent.take().one().data.status, Status::error(""));
    let stats = agent.stats();
    assert_eq!((stats.args_invalid, stats.args_surplus, stats.args_misplaced), (3, 12, 1));
}

#[test]
fn explicit_times() {
    let agent = Agent::new();
    let (start, end) = (1_600_000_000_000_001u64, 1_600_000_000_500_000i64);
    agent.notify(0, &[message!("otel:a", "id" = "1", "start" = 5, "span" = "A", "start" = start, "" = 1, "end" = end)]);
    assert_eq!(agent.take().names(), [""; 0], "end= sets the time only");
    agent.notify(9, &[message!("otel:b", "id" = "1", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!(spans.one().data.start_time, micros(start));
    assert_eq!(spans.one().data.end_time, micros(1_600_000_000_500_000));
    let stats = agent.stats();
    assert_eq!((stats.args_misplaced, stats.args_surplus, stats.times_adjusted), (1, 1, 0));
}

#[test]
fn times_that_are_none_are_ignored() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "start" = 0,
            "start" = -1,
            "start" = "5",
            "start" = NULL,
            "start" = u64::MAX,
            "end" = 0,
            "end" = true,
        )],
    );
    agent.notify(4, &[message!("otel:b", "id" = "1", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!((spans.one().data.start_time, spans.one().data.end_time), (at(0), at(4)));
    assert_eq!(agent.stats().args_invalid, 7);
}

#[test]
fn no_span_ends_before_it_starts_and_none_starts_before_its_parent() {
    let agent = Agent::new();
    let ahead = 1_700_000_000_200_000u64; // 200 ms after the epoch of the tests
    agent.notify(
        100,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "start" = ahead,
            "span" = "B",
            "child-of" = "A",
            "span" = "C",
            "follows-from" = "B",
            "span" = "D",
            "child-of" = "A",
            "start" = 5,
            "finish" = "*",
        )],
    );
    let spans = agent.take();
    for name in ["A", "B", "C"] {
        assert_eq!((spans.get(name).data.start_time, spans.get(name).data.end_time), (at(200), at(200)), "{name}");
    }
    assert_eq!(spans.get("D").data.start_time, micros(5), "explicit times are taken as they are");
    assert_eq!(agent.stats().times_adjusted, 5, "two starts, three ends");
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
    assert!(spans.iter().all(|span| (span.data.start_time, span.data.end_time) == (at(2), at(2))));
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
            "extract-b3" = "x",
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

#[test]
fn broken_payloads_do_no_harm() {
    let agent = Agent::new();
    // A message that announces more arguments than there are.
    agent.notify_payload(0, b"\x06otel:a\x05\x02id\x08\x011\x04span\x08\x01A\x03tag\x0f", 4096);
    agent.notify_payload(1, b"\x06otel:b\x02\x02id\x08\x011\x06finish\x08\x01A", 4096);
    assert_eq!(agent.take().names(), ["A"]);
    // Once by the message, once by the list of messages.
    assert_eq!(agent.stats().undecodable, 2);
}
