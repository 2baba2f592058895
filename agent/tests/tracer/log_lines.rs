//! From lines of HAProxy's log to spans and counters.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status};
use spoa_otel::line::{LineConfig, LineStats, Sender};
use spoa_otel::tracer::Sampler;
use spop_core::Value;

use crate::log_support::{CLIENT, Line, LineAgent, PARENT, SERVER, TRACE, clock};
use crate::message;
use crate::support::{Agent, Seen, micros};

/// Name and value of each attribute, as text.
fn attributes(span: Seen<'_>) -> Vec<(String, String)> {
    span.attributes().into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
}

fn attribute(span: Seen<'_>, name: &str) -> Option<String> {
    attributes(span).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Lines by what became of their requests, in the order of the counters; all of them are accounted for.
fn outcomes(stats: &LineStats) -> [u64; 8] {
    let outcomes = [
        stats.traced,
        stats.kept_error,
        stats.kept_slow,
        stats.unsampled,
        stats.completed,
        stats.ended_before,
        stats.untraced,
        stats.no_request,
    ];
    assert_eq!(outcomes.iter().sum::<u64>(), stats.ours);
    outcomes
}

#[test]
fn a_line_is_a_server_and_a_client_span() {
    let agent = LineAgent::new();
    agent.take(&Line::new());
    let spans = agent.agent.take();
    let all: Vec<_> = spans.iter().collect();
    let [server, client] = all[..] else { panic!("{spans:?}") };
    for span in [server, client] {
        assert_eq!((&*span.service, &*span.data.name), ("edge", "GET"));
        assert_eq!(span.trace_id().to_string(), TRACE);
        assert_eq!(span.tracestate.as_deref(), Some("a=1"));
        assert_eq!(span.data.span_context.trace_flags().to_u8(), 3);
        assert_eq!(span.data.status, Status::Unset);
    }
    assert_eq!((server.id().to_string(), client.id().to_string()), (SERVER.into(), CLIENT.into()));
    assert_eq!((&server.data.span_kind, &client.data.span_kind), (&SpanKind::Server, &SpanKind::Client));
    assert_eq!((server.data.parent_span_id.to_string(), server.data.parent_span_is_remote), (PARENT.into(), true));
    assert_eq!((client.data.parent_span_id.to_string(), client.data.parent_span_is_remote), (SERVER.into(), false));
    let time = |us| micros(clock(us));
    assert_eq!((server.data.start_time, server.data.end_time), (time(3_200), time(40_123)));
    // First byte at 3 ms, TR 4, Tw 5.
    assert_eq!((client.data.start_time, client.data.end_time), (time(12_000), time(40_123)));
    let expected = [
        ("http.request.method", "GET"),
        ("url.scheme", "https"),
        ("url.path", "/a b"),
        ("url.query", "q=1&sig=REDACTED"),
        ("http.response.status_code", "200"),
        ("server.address", "example.com"),
        ("server.port", "8443"),
        ("client.address", "192.0.2.1"),
        ("client.port", "50000"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "curl/8.0"),
        ("http.request.size", "120"),
        ("http.response.size", "450"),
        ("haproxy.frontend", "www"),
        ("haproxy.backend", "app"),
        ("haproxy.server", "s1"),
        ("haproxy.unique_id", "unique-1"),
    ];
    assert_eq!(attributes(server), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let expected = [
        ("http.request.method", "GET"),
        ("url.full", "http://example.com:8443/a b?q=1&sig=REDACTED"),
        ("http.response.status_code", "200"),
        ("server.address", "192.0.2.3"),
        ("server.port", "8080"),
        ("network.peer.address", "192.0.2.3"),
        ("network.peer.port", "8080"),
        ("haproxy.queue_ms", "5"),
        ("haproxy.connect_ms", "6"),
        ("haproxy.headers_ms", "7"),
        ("haproxy.backend", "app"),
        ("haproxy.server", "s1"),
    ];
    assert_eq!(attributes(client), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(outcomes(&agent.stats()), [1, 0, 0, 0, 0, 0, 0, 0]);
    let tracer = agent.agent.stats();
    assert_eq!((tracer.spans_started, tracer.spans_ended(), tracer.spans_exported), (2, 2, 2));
    assert_eq!((tracer.spans_ended_line, tracer.open_spans, agent.stats().spans), (2, 0, 2));
}

/// Addresses as digits, ids without that of the SERVER span.
#[test]
fn haproxy_may_write_what_costs_it_least() {
    let agent = LineAgent::new();
    let line = Line::new().with("c", format!("{TRACE}-{CLIENT}-03")).with("p", PARENT).without(&["h"]);
    let line = line.with("ci", "C0000201").with("fi", "20010DB8000000000000000000000001").with("si", "cb0071fF");
    agent.take(&line);
    let spans = agent.agent.take();
    let all: Vec<_> = spans.iter().collect();
    let [server, client] = all[..] else { panic!("{spans:?}") };
    assert_eq!((server.trace_id().to_string(), client.id().to_string()), (TRACE.into(), CLIENT.into()));
    assert_eq!(server.data.parent_span_id.to_string(), PARENT);
    assert_eq!(client.data.parent_span_id, server.id());
    for (span, name, value) in [
        (server, "client.address", "192.0.2.1"),
        (server, "server.address", "2001:db8::1"),
        (client, "server.address", "203.0.113.255"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    // Another request, without a caller: another SERVER span.
    agent.take(&line.clone().without(&["p"]));
    let next = agent.agent.take();
    let next = next.iter().next().unwrap();
    assert_ne!(next.id(), server.id());
    assert!(!next.data.parent_span_is_remote);
    // What has as many characters, but is no address.
    agent.take(&line.clone().with("ci", "unix-123"));
    let next = agent.agent.take();
    assert_eq!(attribute(next.iter().next().unwrap(), "client.address").as_deref(), Some("unix-123"));
    agent.take(&line.with("p", "53995c3f42cd8ad"));
    assert_eq!((agent.stats().traced, agent.stats().malformed), (3, 1));
}

#[test]
fn parts_are_spans_if_they_are_asked_for() {
    let config = LineConfig { phases: true, ..LineConfig::default() };
    let agent = LineAgent::of(Agent::new(), config);
    agent.take(&Line::new());
    let spans = agent.agent.take();
    let time = |us| micros(clock(us));
    for (name, parent, from, until) in [
        ("queue", SERVER, 7_000, 12_000),
        ("connect", CLIENT, 12_000, 18_000),
        ("wait for headers", CLIENT, 18_000, 25_000),
    ] {
        let span = spans.get(name);
        assert_eq!((span.data.start_time, span.data.end_time), (time(from), time(until)), "{name}");
        assert_eq!((span.data.parent_span_id.to_string(), &span.data.span_kind), (parent.into(), &SpanKind::Internal));
    }
    assert_eq!(agent.stats().spans, 5);
    // With retries the wait is that of the earlier tries.
    agent.take(&Line::new().with("rc", "+2"));
    let spans = agent.agent.take();
    assert_eq!(spans.names(), ["GET", "GET", "connect", "wait for headers"]);
    let client = spans.iter().nth(1).unwrap();
    assert_eq!(attribute(client, "http.request.resend_count").as_deref(), Some("2"));
    assert_eq!(attribute(client, "haproxy.queue_ms"), None);
}

#[test]
fn a_start_is_the_first_rule_unless_the_headers_came_slowly() {
    let agent = LineAgent::new();
    let start_of = |line: Line| {
        agent.take(&line);
        agent.agent.take().iter().next().unwrap().data.start_time
    };
    let time = |us| micros(clock(us));
    assert_eq!(start_of(Line::new().with("t0", clock(4_000))), time(4_000));
    assert_eq!(start_of(Line::new().with("t0", clock(4_001))), time(3_000));
    // The accept is known in milliseconds only.
    assert_eq!(start_of(Line::new().old().with("t0", clock(5_000))), time(5_000));
    assert_eq!(start_of(Line::new().old().with("t0", clock(5_001))), time(3_000));
    assert_eq!(start_of(Line::new().with("au", "-")), time(3_200), "3.0, if it could not read the request");
    assert_eq!(start_of(Line::new().without(&["t0"])), time(3_000));
    assert_eq!(start_of(Line::new().with("Th", -1).with("Ti", -1).with("t0", "-")), time(0));
}

#[test]
fn times_are_in_order_whatever_the_line_says() {
    let agent = LineAgent::new();
    for line in [
        Line::new().with("e", clock(0)),
        Line::new().with("Tw", u64::MAX),
        Line::new().with("TR", 1_000_000),
        Line::new().with("Th", u64::MAX).with("Ti", u64::MAX),
        Line::new().with("t0", clock(1_000_000)),
        Line::new().with("t0", 1),
        Line::new().with("au", u64::MAX),
        Line::new().with("au", u64::MAX).without(&["t0"]),
        Line::new().with("Th", u64::MAX / 1000).without(&["t0"]),
        Line::new().with("Ti", u64::MAX).with("t0", "-").old(),
    ] {
        agent.take(&line);
        let spans = agent.agent.take();
        let all: Vec<_> = spans.iter().collect();
        let [server, client] = all[..] else { panic!("{spans:?}") };
        assert!(server.data.start_time < server.data.end_time, "{}", line.text());
        assert!(client.data.start_time < client.data.end_time, "{}", line.text());
        assert!(client.data.start_time >= server.data.start_time, "{}", line.text());
        assert_eq!(client.data.end_time, server.data.end_time, "{}", line.text());
    }
}

#[test]
fn methods_routes_and_texts() {
    let agent = LineAgent::new();
    let names = |line: Line| {
        agent.take(&line);
        let spans = agent.agent.take();
        spans.iter().map(|span| span.data.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(Line::new().with("route", "%2fusers%2f%7bid%7d")), ["GET /users/{id}", "GET"]);
    assert_eq!(names(Line::new().with("m", "BREW")), ["HTTP", "HTTP"]);
    assert_eq!(names(Line::new().with("m", "get")), ["HTTP", "HTTP"]);
    agent.take(&Line::new().with("m", "BREW%00%ff").with("ua", "x".repeat(4000)).with("h", "y".repeat(4000)));
    let spans = agent.agent.take();
    let server = spans.iter().next().unwrap();
    assert_eq!(attribute(server, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(server, "http.request.method_original").as_deref(), Some("BREW\0\u{fffd}"));
    assert_eq!(attribute(server, "user_agent.original"), Some("x".repeat(512)));
    assert_eq!(attribute(server, "server.address"), Some("y".repeat(255)));
    // Without a name of its own, the host is where the client connected to.
    agent.take(&Line::new().with("h", "-").with("stls", 1).with("svc", "a\\\"b\\\\c\\]"));
    let spans = agent.agent.take();
    let all: Vec<_> = spans.iter().collect();
    assert_eq!(&*all[0].service, "a\"b\\c]");
    assert_eq!(attribute(all[0], "server.address").as_deref(), Some("192.0.2.2"));
    assert_eq!(attribute(all[0], "server.port").as_deref(), Some("443"));
    assert_eq!(attribute(all[1], "url.full").as_deref(), Some("https://192.0.2.3/a b?q=1&sig=REDACTED"));
    agent.take(&Line::new().with("h", "-").with("si", "2001:db8::1"));
    let spans = agent.agent.take();
    let client = spans.iter().nth(1).unwrap();
    assert_eq!(attribute(client, "url.full").as_deref(), Some("http://[2001:db8::1]/a b?q=1&sig=REDACTED"));
    assert_eq!(attribute(client, "server.address").as_deref(), Some("2001:db8::1"));
}

/// With ids of HAProxy's own a client's header comes along.
#[test]
fn a_tracestate_is_one_or_is_left_out() {
    let agent = LineAgent::new();
    for (text, expected) in [("a%3d1%2cb%3d2", Some("a=1,b=2")), ("garbage", None), ("a%3d%c3%a9", None), ("-", None)] {
        agent.take(&Line::new().with("tst", text));
        let spans = agent.agent.take();
        assert!(spans.iter().all(|span| span.tracestate.as_deref() == expected), "{text}: {spans:?}");
    }
    assert_eq!(agent.agent.stats().extracts_invalid, 2);
}

#[test]
fn limits_hold_for_attributes_of_lines() {
    let agent = Agent::with(|config| {
        config.span_limits.max_attributes_per_span = 3;
        config.span_limits.max_value_len = Some(3);
    });
    let agent = LineAgent::of(agent, LineConfig::default());
    agent.take(&Line::new());
    let spans = agent.agent.take();
    let server = spans.iter().next().unwrap();
    let expected = [("http.request.method", "GET"), ("url.scheme", "htt"), ("url.path", "/a ")];
    assert_eq!(attributes(server), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(server.data.dropped_attributes_count, 14);
    let stats = agent.agent.stats();
    assert_eq!((stats.attributes_dropped, stats.values_cut), (14 + 9, 3));
}

#[test]
fn an_unsampled_request_is_kept_if_it_failed_or_was_slow() {
    let unsampled = || Line::new().with("c", format!("{TRACE}-{SERVER}-{CLIENT}--02"));
    let config =
        LineConfig { keep_errors: true, keep_slower_than: Some(Duration::from_millis(37)), ..LineConfig::default() };
    let agent = LineAgent::of(Agent::new(), config.clone());
    agent.take(&unsampled());
    assert_eq!(agent.agent.take().names(), [""; 0]);
    agent.take(&unsampled().with("st", 503));
    agent.take(&unsampled().with("e", clock(40_200)));
    let spans = agent.agent.take();
    let kept: Vec<_> = spans.iter().map(|span| attribute(span, "haproxy.span.kept").unwrap()).collect();
    assert_eq!(kept, ["error", "error", "slow", "slow"]);
    for span in spans.iter() {
        assert_eq!(span.data.span_context.trace_flags().to_u8(), 2, "what is downstream is not there");
    }
    assert_eq!(outcomes(&agent.stats()), [0, 1, 1, 1, 0, 0, 0, 0]);

    agent.take(&unsampled().with("st", 404).with("ss", 404));
    assert_eq!(agent.stats().unsampled, 2, "a client's error is not the server's failure");
    let not_kept = LineAgent::new();
    not_kept.take(&unsampled().with("st", 503));
    let disabled = LineAgent::of(Agent::with(|config| config.disabled = true), config);
    disabled.take(&Line::new().with("st", 503));
    for agent in [not_kept, disabled] {
        assert_eq!((agent.agent.take().names(), outcomes(&agent.stats())), (vec![], [0, 0, 0, 1, 0, 0, 0, 0]));
    }
}

#[test]
fn a_line_without_ids_ends_what_messages_opened() {
    let agent = LineAgent::new();
    let open = |id: &str| {
        let message = message!(
            "otel:a",
            "id" = id,
            "service" = "edge",
            "span" = "HAProxy session",
            "kind" = "server",
            "span" = "Server session",
            "child-of" = "HAProxy session",
            "kind" = "client",
            "status" = 200,
            "span" = "HTTP response",
            "child-of" = "Server session",
        );
        agent.agent.notify(1, &[message]);
    };
    let line = |id: &str| Line::new().without(&["c"]).with("id", id);
    open("1");
    agent.take(&line("1").with("ts", "SD"));
    let spans = agent.agent.take();
    for span in spans.iter() {
        assert_eq!(span.data.end_time, micros(clock(40_123)));
        assert_eq!(span.end_cause(), None, "that is its true end");
    }
    let server = spans.get("HAProxy session");
    assert_eq!(server.data.status, Status::error(""));
    let expected = [
        ("http.response.status_code", "200"),
        ("http.request.size", "120"),
        ("http.response.size", "450"),
        ("haproxy.termination_state", "SD"),
        ("error.type", "server_abort"),
    ];
    assert_eq!(attributes(server), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let client = spans.get("Server session");
    assert_eq!(client.data.status, Status::error(""), "in the body, after the status was told");
    assert_eq!(attribute(client, "error.type").as_deref(), Some("server_abort"));
    assert_eq!(spans.get("HTTP response").data.status, Status::Unset);
    assert_eq!(agent.agent.stats().spans_ended_line, 3);

    // Again, and of somebody else's service, and of an id that nobody knows.
    agent.take(&line("1"));
    open("2");
    agent.take(&line("2").with("svc", "other"));
    agent.take(&line("3"));
    assert_eq!(outcomes(&agent.stats()), [0, 0, 0, 0, 1, 1, 2, 0]);
    assert_eq!((agent.agent.take().names(), agent.agent.stats().open_spans), (vec![], 3));
    // A server that was never tried says nothing.
    agent.take(&line("2").with("st", 403).with("s", "<NOSRV>").with("ts", "PR").timers(1));
    let spans = agent.agent.take();
    assert_eq!(attribute(spans.get("Server session"), "error.type"), None);
    assert_eq!(attribute(spans.get("HAProxy session"), "http.response.status_code").as_deref(), Some("403"));
}

#[test]
fn a_line_leaves_what_a_message_said_about_an_error() {
    let said = |status: Value<'static>| {
        let agent = LineAgent::new();
        let message = message!("otel:a", "id" = "1", "span" = "A", "kind" = "server", "status" = status, "" = "why");
        agent.agent.notify(1, &[message]);
        agent.take(&Line::new().without(&["c", "svc"]).with("id", "1").with("st", 503).with("ss", 503));
        agent.agent.take().one().data.status.clone()
    };
    assert_eq!(said(503.into()), Status::error("why"));
    assert_eq!(said("error".into()), Status::error("why"));
    assert_eq!(said(200.into()), Status::error(""), "it was about no error");
}

#[test]
fn a_line_ends_the_spans_of_an_unsampled_id_too() {
    let agent = Agent::with(|config| config.sampler = Sampler::new(Some("traceidratio"), Some("0")).unwrap());
    let agent = LineAgent::of(agent, LineConfig::default());
    agent.agent.notify(1, &[message!("otel:a", "id" = "1", "span" = "A", "inject" = "A")]);
    agent.take(&Line::new().without(&["c", "svc"]).with("id", 1));
    assert_eq!(outcomes(&agent.stats()), [0, 0, 0, 1, 0, 0, 0, 0]);
    let stats = agent.agent.stats();
    assert_eq!((stats.spans_ended_line, stats.spans_unsampled, stats.open_spans), (1, 1, 0));
}

/// A client may choose it, and HAProxy's `url_enc` writes its bytes.
#[test]
fn an_id_that_is_no_text_is_the_same_in_messages_and_lines() {
    let agent = LineAgent::new();
    agent.agent.notify(1, &[message!("otel:a", "id" = Value::String(b"a\xe9"), "span" = "A")]);
    agent.take(&Line::new().without(&["c", "svc"]).with("id", "a%E9"));
    assert_eq!(outcomes(&agent.stats()), [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(agent.agent.take().names(), ["A"]);
    agent.take(&Line::new().with("id", "a%E9"));
    let spans = agent.agent.take();
    assert_eq!(attribute(spans.iter().next().unwrap(), "haproxy.unique_id").as_deref(), Some("a\u{fffd}"));
}

#[test]
fn what_is_not_a_line_of_ours_is_counted() {
    let agent = LineAgent::new();
    let line = Line::new();
    for text in ["<134>1 - - haproxy 1 - - text", "<134>Nov 28 19:00:00 haproxy[1]: text"] {
        agent.take_text(text);
    }
    assert_eq!((agent.stats().foreign, agent.stats().ours), (2, 0));
    // Where our element has no place it is a client's text.
    agent.take_text(&format!("<134>1 - - haproxy 1 - - {}", line.element()));
    agent.take_text(&format!("<134>1 - - haproxy 1 - [x y=\"z\"] {}", line.element()));
    assert_eq!((agent.stats().foreign, agent.stats().ours), (4, 0));
    agent.take_text("<134>1 2026-11-28T19:00:00Z - haproxy 1 - ");
    agent.take(&line.clone().without(&["z"]));
    agent.take(&line.clone().with("z", 0));
    let text = line.text();
    agent.take_text(&text[..text.find(" z=").unwrap()]);
    assert_eq!((agent.stats().cut, agent.stats().malformed), (4, 0));
    // An element that goes on was not cut.
    for broken in [" st=200 ", " st=\"2\"00\" ", " =\"1\" "] {
        let malformed = agent.stats().malformed;
        agent.take_text(&text.replace(" st=\"200\" ", broken));
        assert_eq!((agent.stats().cut, agent.stats().malformed), (4, malformed + 1), "{broken}");
    }
    for (name, value) in [
        ("v", "2"),
        ("v", ""),
        ("c", "x"),
        ("n", "-1"),
        ("n", "1x"),
        ("e", "-"),
        ("e", "1"),
        ("e", "99999999999999999999"),
        ("t0", "+1"),
        ("Th", "-2"),
        ("TR", "1.5"),
        ("Tw", "x"),
        ("st", "99"),
        ("st", "1000"),
        ("ss", "abc"),
        ("ts", "-----"),
        ("rc", "-1"),
        ("B", "+12"),
        ("U", "12 "),
    ] {
        let agent = LineAgent::new();
        agent.take(&line.clone().with(name, value));
        assert_eq!((agent.stats().malformed, agent.stats().ours), (1, 0), "{name}={value}");
    }
    let malformed = |line: Line| {
        let agent = LineAgent::new();
        agent.take(&line);
        (agent.stats().malformed, agent.stats().ours, agent.agent.take().names().len()) == (1, 0, 0)
    };
    assert!(malformed(line.clone().without(&["a", "au"])) && malformed(line.clone().without(&["au"]).with("a", "1.5")));
    let twice = LineAgent::new();
    twice.take_text(&text.replace(" st=", " st=\"200\" st="));
    assert_eq!(twice.stats().malformed, 1);
    let unknown = LineAgent::new();
    unknown.take_text(&text.replace(" st=", " new=\"of a later version\" st="));
    assert_eq!(unknown.stats().traced, 1);
}

#[test]
fn missing_lines_are_counted_by_frontend_and_process() {
    let agent = LineAgent::new();
    let take = |process: &str, frontend: &str, number: u64| {
        let text = Line::new().with("n", number).with("f", frontend).text();
        agent.take_text(&text.replace(" 4711 ", &format!(" {process} ")));
    };
    for (process, frontend, number) in
        [("1", "a", 1), ("1", "a", 2), ("1", "a", 6), ("1", "b", 9), ("2", "a", 1), ("2", "a", 3)]
    {
        take(process, frontend, number);
    }
    let stats = agent.stats();
    assert_eq!((stats.missing, stats.sources, stats.ours), (4, 3, 6));
    let line = Line::new().with("n", 9).with("f", "a");
    let sender = Sender::Ip([127, 0, 0, 1].into());
    agent.lines.take_at(sender, line.text().as_bytes(), agent.agent.timestamp(50));
    assert_eq!((agent.stats().missing, agent.stats().sources), (4, 4));
}
