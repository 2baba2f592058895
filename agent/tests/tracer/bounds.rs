//! What nobody ends: idle ids, old ids, a full table, the agent's stop, late messages.

use std::time::Duration;

use opentelemetry::trace::SpanId;

use crate::message;
use crate::support::{Agent, at};

#[test]
fn an_idle_id_is_ended_at_its_last_message() {
    let agent = Agent::new();
    assert_eq!(agent.tracer.next_deadline(), None);
    agent.notify(
        0,
        &[message!(
            "otel:a",
            "id" = "1",
            "span" = "A",
            "span" = "B",
            "child-of" = "A",
            "tag" = "haproxy.span.end",
            "" = "mine"
        )],
    );
    agent.notify(30_000, &[message!("otel:b", "id" = "1", "span" = "A", "end" = 1_700_000_000_007_000i64)]);
    agent.notify(60_000, &[message!("otel:a", "id" = "2", "span" = "C")]);
    assert_eq!(agent.tracer.next_deadline(), Some(agent.timestamp(150_000).clock));
    agent.sweep(149_999);
    assert_eq!(agent.take().names(), [""; 0], "slow requests are not cut");

    agent.sweep(150_000);
    let spans = agent.take();
    assert_eq!(spans.names(), ["A", "B"]);
    assert!(spans.iter().all(|span| span.end_cause().as_deref() == Some("idle")));
    assert_eq!((spans.get("A").data.end_time, spans.get("B").data.end_time), (at(7), at(30_000)));
    assert_eq!(spans.get("B").data.parent_span_id, spans.get("A").id());
    assert_eq!(spans.get("B").attributes().len(), 1);
    let stats = agent.stats();
    assert_eq!((stats.spans_ended_idle, stats.spans_exported, stats.open_spans), (2, 2, 1));
    assert_eq!((stats.open_ids, stats.remembered_ids), (1, 1));
    assert_eq!(agent.tracer.open_spans(spans.get("A").trace_id()), 0);
}

#[test]
fn the_absolute_limit_ends_what_is_busy() {
    let agent = Agent::with(|config| config.max_lifetime = Duration::from_secs(200));
    for second in (0..=199).step_by(50) {
        agent.notify(second * 1000, &[message!("otel:a", "id" = "1", "span" = "A")]);
        agent.sweep(second * 1000);
    }
    agent.notify(199_000, &[message!("otel:a", "id" = "1", "span" = "B")]);
    assert_eq!(agent.tracer.next_deadline(), Some(agent.timestamp(200_000).clock));
    agent.sweep(200_000);
    let spans = agent.take();
    assert_eq!(spans.names(), ["A", "B"]);
    assert!(spans.iter().all(|span| span.end_cause().as_deref() == Some("limit")));
    assert!(spans.iter().all(|span| span.data.end_time == at(200_000)));
    assert_eq!(agent.stats().spans_ended_limit, 2);

    // What comes now begins a life of its own, in the same trace.
    agent.notify(200_001, &[message!("otel:a", "id" = "1", "span" = "C", "child-of" = "A")]);
    agent.sweep(200_002);
    assert_eq!(agent.take().names(), [""; 0]);
    agent.sweep(320_001);
    let late = agent.take();
    assert_eq!(late.one().end_cause().as_deref(), Some("idle"));
    assert_eq!(late.one().data.parent_span_id, spans.get("A").id());
}

#[test]
fn a_full_table_ends_the_least_recently_used() {
    let agent = Agent::with(|config| config.max_memory = 20_000);
    let ids: Vec<_> = (0..100).map(|i| format!("id-{i}")).collect();
    for (ms, id) in ids.iter().enumerate() {
        agent.notify(ms as u64, &[message!("otel:a", "id" = id.as_str(), "span" = id.as_str())]);
        // The first id stays in use.
        agent.notify(ms as u64, &[message!("otel:b", "id" = "id-0", "span" = "id-0")]);
        assert!(agent.stats().table_bytes <= 20_000);
    }
    let spans = agent.take();
    let evicted = spans.names().len();
    let expected: Vec<_> = ids[1..=evicted].iter().map(String::as_str).collect();
    assert_eq!(spans.names(), expected, "in the order of their last use");
    assert!(evicted > 10 && evicted < 99, "{evicted}");
    assert!(spans.iter().all(|span| span.end_cause().as_deref() == Some("evicted")));
    let stats = agent.stats();
    assert_eq!(stats.spans_ended_evicted as usize, evicted);
    assert_eq!((stats.ids_evicted as usize, stats.open_ids as usize), (evicted, 100 - evicted));
    assert!(stats.ids_forgotten_early > 0, "the ended ids go first");
}

#[test]
fn one_id_that_is_too_big_is_ended_itself() {
    let agent = Agent::with(|config| config.max_memory = 20_000);
    let text = "x".repeat(10_000);
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "tag" = "a", "" = &*text)]);
    assert_eq!(agent.take().names(), [""; 0]);
    agent.notify(1, &[message!("otel:b", "id" = "1", "span" = "A", "tag" = "b", "" = &*text)]);
    let spans = agent.take();
    assert_eq!((spans.one().end_cause().as_deref(), spans.one().data.attributes.len()), (Some("evicted"), 3));
    assert!(agent.stats().table_bytes <= 20_000);
}

#[test]
fn a_notify_is_bounded_in_spans() {
    let agent = Agent::with(|config| config.max_spans_per_notify = 5);
    let four = |name: &'static str| message!(name, "id" = "1", "span" = "A", "span" = "B", "finish" = "*");
    // Two open, two end, one more opens; the next message of the id ends it, the next id has to wait.
    let messages = [
        four("otel:a"),
        message!("otel:b", "id" = "1", "span" = "C", "span" = "D", "tag" = "t"),
        message!("otel:c", "id" = "1", "finish" = "*"),
        message!("otel:d", "id" = "2", "span" = "E"),
        message!("otel:e", "id" = "3", "span" = "F"),
    ];
    agent.notify(0, &messages);
    assert_eq!(agent.take().names(), ["A", "B", "C"]);
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_refused_notify, stats.spans_refused), (3, 1, 0));
    assert_eq!((stats.messages, stats.rejected_too_many, stats.open_ids, stats.args_misplaced), (5, 2, 0, 1));
    // Each NOTIFY begins anew.
    agent.notify(1, &[four("otel:f")]);
    assert_eq!(agent.take().names(), ["A", "B"]);
}

#[test]
fn a_notify_is_bounded_in_messages() {
    let agent = Agent::with(|config| config.max_messages_per_notify = 3);
    let message = |name: &'static str, id: &'static str| message!(name, "id" = id, "span" = "A");
    // Those of others do not count.
    agent.notify(
        0,
        &[
            message("otel:a", "1"),
            message("other", "2"),
            message("otel:b", ""),
            message("otel:c", "3"),
            message("otel:d", "4"),
        ],
    );
    let stats = agent.stats();
    assert_eq!((stats.messages, stats.messages_foreign, stats.rejected_empty_id), (4, 1, 1));
    assert_eq!((stats.rejected_too_many, stats.open_ids), (1, 2));
}

#[test]
fn what_ended_holds_no_memory_but_a_little_that_is_used_again() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "finish" = "*")]);
    let small = agent.stats().table_bytes;
    let mut after_first = 0;
    for round in 0..50 {
        let names: Vec<_> = (0..120).map(|n| format!("{round}-{n}")).collect();
        let mut open = message!("otel:b", "id" = "1");
        open.args.extend(names.iter().map(|name| ("span", name.as_str().into())));
        let finish = message!("otel:c", "id" = "1", "finish" = "*");
        agent.notify(1, &[open, finish]);
        if round == 0 {
            after_first = agent.stats().table_bytes;
        }
    }
    assert_eq!(agent.take().names().len(), 1 + 50 * 120);
    // What a few took is kept for the next ones, as long as anything is remembered.
    assert_eq!(agent.stats().table_bytes, after_first);
    assert!((small..small + 32 * 600).contains(&after_first), "{small} {after_first}");
    agent.sweep(10_000_000);
    assert_eq!(agent.stats().table_bytes, 0);
}

#[test]
fn an_open_id_is_small() {
    let agent = Agent::new();
    let ids = 10_000;
    for id in 0..ids {
        let id = format!("7F000001:C5A2_7F000001:1B59_67401CF2_{id:04X}:1D4C");
        let open = message!(
            "otel:a",
            "id" = id.as_str(),
            "span" = "HTTP request",
            "kind" = "server",
            "tag" = "http.request.method",
            "" = "GET",
            "tag" = "url.path",
            "" = "/api/v2/catalogue/items",
            "tag" = "client.address",
            "" = std::net::Ipv4Addr::new(192, 0, 2, 17),
            "tag" = "server.port",
            "" = 443
        );
        agent.notify(0, &[open]);
    }
    let stats = agent.stats();
    assert_eq!((stats.open_ids, stats.open_spans), (ids, ids));
    let each = stats.table_bytes / ids;
    assert!((700..=960).contains(&each), "{each} bytes");
}

/// Those beyond the ones that are kept for all hold a resource each.
#[test]
fn resources_of_very_many_services_count() {
    let held = |services: u64| {
        let agent = Agent::new();
        for id in 0..1000 {
            let service = (id % services).to_string();
            agent.notify(0, &[message!("otel:a", "id" = id, "service" = service.as_str(), "span" = "A")]);
        }
        agent.stats().table_bytes
    };
    let (few, many) = (held(10), held(1000));
    // A resource's fixed attributes alone have some 250 bytes.
    assert!(many > few + 700 * 250, "{few} {many}");
}

#[test]
fn room_that_is_not_used_counts() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = 1, "span" = "A")]);
    let (one, spans) = (agent.stats().table_bytes, 100);
    let names: Vec<_> = (0..spans).map(|n| n.to_string()).collect();
    for name in &names {
        agent.notify(1, &[message!("otel:a", "id" = 1, "span" = name.as_str())]);
    }
    let many = agent.stats().table_bytes;
    for name in &names {
        agent.notify(2, &[message!("otel:b", "id" = 1, "finish" = name.as_str())]);
    }
    let few = agent.stats().table_bytes;
    // The list has still room for all of them, and their index.
    let list = spans as u64 * size_of::<usize>() as u64;
    assert!(few > one + 2 * list && many > few + spans as u64 * 120, "{one} {many} {few}");
}

#[test]
fn bytes_are_given_back() {
    let agent = Agent::new();
    for id in 0..50 {
        agent.notify(
            0,
            &[message!(
                "otel:a",
                "id" = id,
                "span" = "A",
                "tag" = "t",
                "" = "value",
                "tag" = "t",
                "" = "v",
                "log" = "l",
                "" = 1,
                "event" = "e",
                "" = "k",
                "" = 1,
                "baggage" = "b",
                "" = 1,
                "inject" = "R",
                "status" = "error",
                "" = "why"
            )],
        );
    }
    assert!(agent.stats().table_bytes > 50 * 400);
    agent.sweep(10_000_000);
    agent.sweep(20_000_000);
    let stats = agent.stats();
    assert_eq!((stats.table_bytes, stats.open_ids, stats.remembered_ids, stats.open_spans), (0, 0, 0, 0));
    assert_eq!((stats.spans_ended_idle, stats.reserved_never_opened), (50, 50));
    assert_eq!(agent.tracer.next_deadline(), None);
}

#[test]
fn a_sweep_ends_any_number() {
    let agent = Agent::new();
    for id in 0..1000 {
        agent.notify(0, &[message!("otel:a", "id" = id, "span" = "A")]);
    }
    agent.sweep(120_000);
    assert_eq!(agent.take().names().len(), 1000);
    agent.sweep(150_000);
    assert_eq!((agent.stats().open_ids, agent.stats().remembered_ids), (0, 0));
}

#[test]
fn connections_share_the_table() {
    let agent = Agent::new();
    let names = ["A", "B", "C", "D"];
    std::thread::scope(|scope| {
        for name in names {
            let agent = &agent;
            scope.spawn(move || {
                for id in 0..500 {
                    // With a reference, as late messages have one: without it, it would be another request.
                    let message =
                        message!("opentracing:a", "id" = id, "span" = name, "child-of" = "A", "tag" = "t", "" = 1);
                    agent.notify(1, &[message]);
                    agent.notify(2, &[message!("opentracing:b", "id" = id, "finish" = name)]);
                    agent.sweep(3);
                }
            });
        }
    });
    let spans = agent.take();
    assert_eq!(spans.names().len(), 2000);
    let mut traces = std::collections::HashMap::new();
    for span in spans.iter() {
        *traces.entry(span.trace_id()).or_insert(0) += 1;
        assert_eq!(agent.tracer.open_spans(span.trace_id()), 0);
    }
    assert_eq!((traces.len(), traces.values().all(|spans| *spans == 4)), (500, true));
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_exported, stats.open_spans), (2000, 2000, 0));
    assert_eq!((stats.remembered_ids, stats.finishes_unknown), (500, 0));
}

#[test]
fn the_stop_of_the_agent_ends_all() {
    let agent = Agent::new();
    for id in 0..200 {
        agent.notify(0, &[message!("otel:a", "id" = id, "span" = "A", "span" = "B")]);
    }
    agent.notify(1, &[message!("otel:b", "id" = 7, "finish" = "*")]);
    assert_eq!(agent.take().names(), ["A", "B"]);
    agent.tracer.shut_down(agent.timestamp(5));
    let spans = agent.take();
    assert_eq!(spans.names().len(), 398);
    assert!(spans.iter().all(|span| span.end_cause().as_deref() == Some("shutdown") && span.data.end_time == at(5)));
    let stats = agent.stats();
    assert_eq!((stats.open_ids, stats.remembered_ids, stats.table_bytes), (0, 0, 0));
    assert_eq!((stats.spans_ended_shutdown, stats.spans_finished, stats.spans_exported), (398, 2, 400));
}

#[test]
fn a_late_message_joins_its_trace() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "extract" = traceparent, "span" = "A", "finish" = "*")]);
    let first = agent.take();
    agent.notify(
        29_999,
        &[message!("otel:b", "id" = "1", "span" = "B", "child-of" = "A", "extract" = "", "finish" = "*")],
    );
    let late = agent.take();
    assert_eq!(late.one().trace_id(), first.one().trace_id());
    assert_eq!(late.one().data.parent_span_id, first.one().id());
    let stats = agent.stats();
    assert_eq!((stats.references_unknown, stats.extracts_late, stats.traces_sampled), (1, 1, 1));

    // Remembered anew from then on, and forgotten in time.
    agent.sweep(59_998);
    assert_eq!(agent.stats().remembered_ids, 1);
    agent.sweep(59_999);
    assert_eq!((agent.stats().remembered_ids, agent.stats().ids_forgotten_early), (0, 0));
    agent.notify(60_000, &[message!("otel:c", "id" = "1", "span" = "C", "finish" = "*")]);
    let other = agent.take();
    assert_ne!(other.one().trace_id(), first.one().trace_id());
    assert_eq!(other.one().data.parent_span_id, SpanId::INVALID);
}

#[test]
fn ended_ids_are_remembered_in_a_bounded_number() {
    let agent = Agent::with(|config| {
        config.max_remembered = 3;
        config.max_memory = 1024 * 1024;
    });
    for id in 0..5 {
        agent.notify(id, &[message!("otel:a", "id" = id, "span" = "A", "finish" = "A")]);
    }
    assert_eq!((agent.stats().remembered_ids, agent.stats().ids_forgotten_early), (3, 2));
    let ended = agent.take();
    for (id, known) in [(1i64, false), (4, true)] {
        agent.notify(9, &[message!("otel:b", "id" = id, "span" = "B", "child-of" = "A", "finish" = "B")]);
        let late = agent.take();
        assert_eq!(ended.iter().any(|span| span.trace_id() == late.one().trace_id()), known, "{id}");
    }
}

#[test]
fn an_id_without_spans_is_forgotten_when_idle() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "extract" = "", "inject" = "R")]);
    assert_eq!(agent.stats().open_ids, 1);
    agent.sweep(120_000);
    let stats = agent.stats();
    assert_eq!((stats.open_ids, stats.remembered_ids, stats.reserved_never_opened), (0, 0, 1));
    assert_eq!((stats.spans_ended_idle, agent.take().names().len()), (0, 0));
}
