//! What messages say about spans: tags, logs, events, kinds, statuses, times.

use std::net::{Ipv4Addr, Ipv6Addr};

use opentelemetry::Value as Attribute;
use opentelemetry::trace::{SpanKind, Status};
use spop_core::Value;

use crate::message;
use crate::support::{Agent, at, micros};

const NULL: Value<'static> = Value::Null;

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
fn long_texts_are_cut_wherever_they_are() {
    let agent = Agent::with(|config| {
        config.span_limits.max_value_len = Some(4);
        config.span_limits.max_attributes_per_span = 2;
        config.span_limits.max_attributes_per_link = 0;
    });
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "baggage" = "kept",
            "" = "as it is",
            "span" = "A",
            "span" = "Bbbbbb",
            "follows-from" = "A",
            "tag" = "text",
            "" = "\u{e9}\u{e8}",
            "" = 12345,
            "tag" = "number",
            "" = 12345,
            "tag" = "third",
            "" = "1",
            "event" = "eeeeee",
            "" = "a",
            "" = "12345",
            "log" = "h",
            "" = "1234",
            "inject" = "Bbbbbb",
            "finish" = "",
        )],
    );
    let spans = agent.take();
    let span = spans.get("Bbbbbb");
    assert_eq!(span.attributes(), [("text", Attribute::from("\u{e9}\u{e8}12")), ("number", Attribute::I64(12345))]);
    let events: Vec<_> = span.data.events.iter().map(|e| (&*e.name, e.attributes[0].value.to_string())).collect();
    assert_eq!(events, [("eeeeee", "1234".to_owned()), ("log", "1234".to_owned())]);
    let link = &span.data.links[0];
    assert_eq!((link.attributes.len(), link.dropped_attributes_count), (0, 1));
    let stats = agent.stats();
    assert_eq!((stats.values_cut, stats.attributes_dropped), (2, 2));
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
    let (start, end) = (1_699_999_000_000_001u64, 1_699_999_000_500_000i64);
    agent.notify(0, &[message!("otel:a", "id" = "1", "start" = 5, "span" = "A", "start" = start, "" = 1, "end" = end)]);
    assert_eq!(agent.take().names(), [""; 0], "end= sets the time only");
    agent.notify(9, &[message!("otel:b", "id" = "1", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!(spans.one().data.start_time, micros(start));
    assert_eq!(spans.one().data.end_time, micros(1_699_999_000_500_000));
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
            "end" = 0,
            "end" = true,
        )],
    );
    agent.notify(4, &[message!("otel:b", "id" = "1", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!((spans.one().data.start_time, spans.one().data.end_time), (at(0), at(4)));
    assert_eq!((agent.stats().args_invalid, agent.stats().times_far), (6, 0));
}

/// The epoch of the tests is 1,700,000,000 s.
const NOW: i64 = 1_700_000_000_000_000;
const DAY: i64 = 24 * 3600 * 1_000_000;

#[test]
fn times_too_far_from_the_receipt_are_ignored_and_counted() {
    let far = [1_700_000_000, NOW / 1000, NOW - DAY - 1, NOW + DAY + 1, NOW * 1000, i64::MAX, 1];
    for argument in ["start", "end"] {
        for time in far {
            let agent = Agent::new();
            let mut message = message!("otel:a", "id" = "1", "span" = "A");
            message.args.push((argument, time.into()));
            agent.notify(0, &[message]);
            agent.notify(4, &[message!("otel:b", "id" = "1", "finish" = "A")]);
            let spans = agent.take();
            let times = (spans.one().data.start_time, spans.one().data.end_time);
            assert_eq!(times, (at(0), at(4)), "{argument} {time}");
            assert_eq!((agent.stats().times_far, agent.stats().args_invalid), (1, 0), "{argument} {time}");
        }
    }
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "start" = u64::MAX)]);
    assert_eq!(agent.stats().times_far, 1);
}

#[test]
fn times_of_a_day_or_of_an_ids_whole_life_are_near_enough() {
    for (max_lifetime, reach) in [(3600, DAY), (3 * 24 * 3600, 3 * DAY)] {
        let agent = Agent::with(|config| config.max_lifetime = std::time::Duration::from_secs(max_lifetime));
        let (start, end) = (NOW - reach, NOW + reach);
        agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "start" = start, "end" = end, "finish" = "A")]);
        let spans = agent.take();
        assert_eq!(spans.one().data.start_time, micros(start as u64));
        assert_eq!(spans.one().data.end_time, micros(end as u64));
        assert_eq!(agent.stats().times_far, 0);
    }
}

#[test]
fn no_span_is_without_length() {
    let agent = Agent::new();
    let explicit = (NOW + 7) as u64;
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "B",
            "start" = explicit,
            "end" = explicit,
            "finish" = "*"
        )],
    );
    agent.notify(0, &[message!("otel:b", "id" = "2", "span" = "C")]);
    agent.sweep(120_000);
    let spans = agent.take();
    let lasts = |name| spans.get(name).data.end_time.duration_since(spans.get(name).data.start_time).unwrap();
    for name in ["A", "B", "C"] {
        assert_eq!(lasts(name), std::time::Duration::from_micros(1), "{name}");
    }
    assert_eq!(spans.get("B").data.start_time, micros(explicit), "the start stays");
    assert_eq!(agent.stats().times_adjusted, 0, "nothing was wrong");
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
            "start" = 1_700_000_000_000_005u64,
            "finish" = "*",
        )],
    );
    let spans = agent.take();
    for name in ["A", "B", "C"] {
        let data = &spans.get(name).data;
        assert_eq!((data.start_time, data.end_time), (at(200), micros(ahead + 1)), "{name}");
    }
    assert_eq!(spans.get("D").data.start_time, micros(1_700_000_000_000_005), "explicit times are taken as they are");
    assert_eq!(agent.stats().times_adjusted, 5, "two starts, three ends");
}
