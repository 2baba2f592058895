//! Whole requests: the nine spans, two proxies, and a configuration written for the seed.

use opentelemetry::Value as Attribute;
use opentelemetry::trace::{SpanId, TraceId};
use spop_core::{Scope, Value};

use crate::message;
use crate::support::{Agent, Message, Spans, at, var};

/// The messages of the nine-span configuration, one for each event, in the service of a proxy.
struct NineSpans<'a> {
    service: &'a str,
    id: &'a str,
    /// `traceparent`, `tracestate` and `baggage` of the request.
    headers: [Value<'a>; 3],
}

impl<'a> NineSpans<'a> {
    fn message(&self, name: &'a str, args: &[(&'a str, &'a str)]) -> Message<'a> {
        let mut message = message!(name, "id" = self.id, "service" = self.service);
        message.args.extend(args.iter().map(|(key, value)| (*key, Value::from(*value))));
        message
    }

    /// The events up to the one at which the server's connection begins; the answer at the backend's request.
    fn request(&self, agent: &Agent, start: u64) -> Vec<crate::support::Var> {
        agent.notify(
            start,
            &[self.message(
                "otel:client_session",
                &[("span", "HAProxy session"), ("span", "Client session"), ("child-of", "HAProxy session")],
            )],
        );
        agent.notify(
            start + 10,
            &[self.message("otel:frontend_tcp", &[("span", "Frontend TCP request"), ("child-of", "Client session")])],
        );
        let mut frontend = self.message("otel:frontend_http", &[]);
        let [traceparent, tracestate, baggage] = self.headers;
        frontend.args.extend([("extract", traceparent), ("", tracestate), ("", baggage)]);
        frontend.args.extend([
            ("span", Value::from("Frontend HTTP request")),
            ("follows-from", Value::from("Frontend TCP request")),
            ("finish", Value::from("Frontend TCP request")),
        ]);
        agent.notify(start + 20, &[frontend]);
        agent.notify(
            start + 30,
            &[self.message(
                "otel:backend_tcp",
                &[
                    ("span", "Backend TCP request"),
                    ("follows-from", "Frontend HTTP request"),
                    ("finish", "Frontend HTTP request"),
                ],
            )],
        );
        agent.notify(
            start + 40,
            &[self.message(
                "otel:backend_http",
                &[
                    ("span", "Backend HTTP request"),
                    ("follows-from", "Backend TCP request"),
                    ("finish", "Backend TCP request"),
                    ("inject", "Server session"),
                ],
            )],
        )
    }

    /// The events from the server's connection on.
    fn response(&self, agent: &Agent, start: u64) {
        agent.notify(
            start,
            &[self.message(
                "otel:server_session",
                &[("span", "Server session"), ("child-of", "HAProxy session"), ("finish", "Backend HTTP request")],
            )],
        );
        agent.notify(
            start + 10,
            &[self.message("otel:tcp_response", &[("span", "TCP response"), ("child-of", "Server session")])],
        );
        agent.notify(
            start + 20,
            &[
                self.message(
                    "otel:http_response",
                    &[("span", "HTTP response"), ("follows-from", "TCP response"), ("finish", "TCP response")],
                ),
                self.message(
                    "otel:server_session_end",
                    &[("finish", "HTTP response"), ("", "Server session"), ("finish", "*")],
                ),
            ],
        );
    }
}

/// Name, parent, linked span, start and end.
type Row = (&'static str, Option<&'static str>, Option<&'static str>, u64, u64);

fn assert_rows(spans: &Spans, rows: &[Row]) {
    assert_eq!(spans.names().len(), rows.len(), "{:?}", spans.names());
    let trace_id = spans.get("HAProxy session").trace_id();
    for (name, parent, linked, start, end) in rows {
        let span = spans.get(name);
        assert_eq!(span.trace_id(), trace_id, "{name}");
        if let Some(parent) = parent {
            assert_eq!(span.data.parent_span_id, spans.get(parent).id(), "{name}");
            assert!(!span.data.parent_span_is_remote);
        }
        let linked: Vec<_> = linked.iter().map(|linked| (spans.get(linked).id(), "follows_from".to_owned())).collect();
        assert_eq!(span.links(), linked, "{name}");
        // What begins and ends at the same instant lasts a microsecond.
        let shortest = std::time::Duration::from_micros(u64::from(start == end));
        assert_eq!((span.data.start_time, span.data.end_time), (at(*start), at(*end) + shortest), "{name}");
        assert_eq!(span.end_cause(), None);
    }
}

const ROWS: [Row; 9] = [
    ("HAProxy session", None, None, 0, 120),
    ("Client session", Some("HAProxy session"), None, 0, 120),
    ("Frontend TCP request", Some("Client session"), None, 10, 20),
    ("Frontend HTTP request", Some("Client session"), Some("Frontend TCP request"), 20, 30),
    ("Backend TCP request", Some("Client session"), Some("Frontend HTTP request"), 30, 40),
    ("Backend HTTP request", Some("Client session"), Some("Backend TCP request"), 40, 100),
    // Reserved at 40, answered at 41.
    ("Server session", Some("HAProxy session"), None, 41, 120),
    ("TCP response", Some("Server session"), None, 110, 120),
    ("HTTP response", Some("Server session"), Some("TCP response"), 120, 120),
];

#[test]
fn nine_spans() {
    let agent = Agent::new();
    let proxy = NineSpans { service: "haproxy~1", id: "r1", headers: [Value::Null; 3] };
    let vars = proxy.request(&agent, 0);
    let partial = agent.take();
    assert_eq!(partial.names(), ["Frontend TCP request", "Frontend HTTP request", "Backend TCP request"]);
    let trace_id = partial.iter().next().unwrap().trace_id();
    assert_eq!(agent.tracer.open_spans(trace_id), 3);

    // A fresh agent for all spans at once.
    let agent = Agent::new();
    assert_ne!(proxy.request(&agent, 0), vars, "ids are random");
    proxy.response(&agent, 100);
    let spans = agent.take();
    assert_rows(&spans, &ROWS);
    assert!(spans.iter().all(|span| &*span.service == "haproxy~1"));
    assert_eq!(spans.get("HAProxy session").data.parent_span_id, SpanId::INVALID);
    assert_eq!(agent.tracer.open_spans(spans.get("HAProxy session").trace_id()), 0);
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_finished, stats.spans_exported), (9, 9, 9));
    assert_eq!((stats.open_spans, stats.open_ids, stats.remembered_ids), (0, 0, 1));
    let odd = [stats.args_misplaced, stats.args_surplus, stats.args_invalid, stats.references_unknown];
    assert_eq!((odd, stats.finishes_unknown, stats.times_adjusted), ([0; 4], 0, 0));
}

#[test]
fn two_proxies_make_one_trace() {
    let agent = Agent::new();
    let first = NineSpans { service: "haproxy~1", id: "same id", headers: [Value::Null; 3] };
    let injected = first.request(&agent, 0);
    let (traceparent, trace_id) = (var(&injected, "traceparent"), var(&injected, "trace_id"));
    assert_eq!(traceparent, format!("00-{trace_id}-{}-03", var(&injected, "span_id")));

    // The second proxy sends messages under the same id: only the service keeps them apart.
    let second =
        NineSpans { service: "haproxy~2", id: "same id", headers: [traceparent.into(), Value::Null, Value::Null] };
    let downstream = second.request(&agent, 50);
    assert_eq!(var(&downstream, "trace_id"), trace_id);
    assert_eq!(agent.tracer.open_spans(TraceId::from_hex(trace_id).unwrap()), 6);
    second.response(&agent, 150);
    let ended = agent.take();
    let second_spans: Vec<_> = ended.iter().filter(|span| &*span.service == "haproxy~2").collect();
    first.response(&agent, 200);
    let first_spans = agent.take();

    assert_eq!(second_spans.len(), 9);
    assert!(second_spans.iter().all(|span| span.data.span_context.trace_id().to_string() == trace_id));
    let server_session = first_spans.get("Server session");
    assert_eq!(server_session.id().to_string(), var(&injected, "span_id"));
    let session = second_spans.iter().find(|span| span.data.name == "HAProxy session").unwrap();
    assert_eq!(session.data.parent_span_id, server_session.id());
    assert!(session.data.parent_span_is_remote);
    assert!(session.data.start_time >= server_session.data.start_time, "nothing starts before its parent");
    let inner = second_spans.iter().find(|span| span.data.name == "Server session").unwrap();
    assert_eq!(inner.data.span_context.span_id().to_string(), var(&downstream, "span_id"));
    assert_eq!(agent.tracer.open_spans(session.data.span_context.trace_id()), 0);
}

/// A request through the configuration written for the seed, with its events one millisecond apart.
fn seed_style<'a>(id: &'a str, status: i64) -> Vec<(u64, Vec<Message<'a>>)> {
    let mut response = vec![message!(
        "opentracing:http_response",
        "id" = id,
        "span" = "HTTP response",
        "follows-from" = "TCP response",
        "tag" = "http.status_code",
        "" = status,
        "finish" = "TCP response"
    )];
    if !(100..400).contains(&status) {
        response.push(message!(
            "opentracing:http_response-error",
            "id" = id,
            "span" = "HTTP response",
            "tag" = "error",
            "" = true
        ));
    }
    response.push(message!(
        "opentracing:server_session_end",
        "id" = id,
        "finish" = "HTTP response",
        "finish" = "Server session"
    ));
    response.push(message!("opentracing:client_session_end", "id" = id, "finish" = "*"));
    vec![
        (
            0,
            vec![message!(
                "opentracing:client_session_start",
                "id" = id,
                "span" = "HAProxy session",
                "baggage" = "haproxy_id",
                "" = id,
                "span" = "Client session",
                "child-of" = "HAProxy session",
                "tag" = "client.address",
                "" = std::net::Ipv4Addr::new(192, 0, 2, 7),
                "tag" = "client.port",
                "" = 5000i64
            )],
        ),
        (
            1,
            vec![message!(
                "opentracing:frontend_tcp_request",
                "id" = id,
                "span" = "Frontend TCP request",
                "child-of" = "Client session"
            )],
        ),
        (
            2,
            vec![message!(
                "opentracing:frontend_http_request",
                "id" = id,
                "span" = "Frontend HTTP request",
                "follows-from" = "Frontend TCP request",
                "tag" = "http.method",
                "" = "GET",
                "tag" = "http.url",
                "" = "/a?b=c",
                "tag" = "http.version",
                "" = "HTTP/",
                "" = "1.1",
                "finish" = "Frontend TCP request"
            )],
        ),
        (
            3,
            vec![message!(
                "opentracing:backend_tcp_request",
                "id" = id,
                "span" = "Backend TCP request",
                "follows-from" = "Frontend HTTP request",
                "finish" = "Frontend HTTP request"
            )],
        ),
        (
            4,
            vec![message!(
                "opentracing:backend_http_request",
                "id" = id,
                "span" = "Backend HTTP request",
                "follows-from" = "Backend TCP request",
                "finish" = "Backend TCP request"
            )],
        ),
        (
            5,
            vec![message!(
                "opentracing:server_session_start",
                "id" = id,
                "span" = "Server session",
                "child-of" = "HAProxy session",
                "finish" = "Backend HTTP request"
            )],
        ),
        (
            6,
            vec![message!(
                "opentracing:tcp_response",
                "id" = id,
                "span" = "TCP response",
                "child-of" = "Server session"
            )],
        ),
        (7, response),
    ]
}

#[test]
fn a_configuration_written_for_the_seed() {
    let agent = Agent::new();
    let mut injected = Vec::new();
    for (ms, messages) in seed_style("r1", 503) {
        let vars = agent.notify(ms, &messages);
        assert_eq!(vars.len(), 1, "no tracestate, no baggage: {vars:?}");
        assert_eq!((vars[0].scope, &*vars[0].name), (Scope::Request, "traceparent"));
        injected.push(vars[0].value.clone());
    }
    let spans = agent.take();
    let rows: Vec<Row> = vec![
        ("HAProxy session", None, None, 0, 7),
        ("Client session", Some("HAProxy session"), None, 0, 7),
        ("Frontend TCP request", Some("Client session"), None, 1, 2),
        ("Frontend HTTP request", Some("Client session"), Some("Frontend TCP request"), 2, 3),
        ("Backend TCP request", Some("Client session"), Some("Frontend HTTP request"), 3, 4),
        ("Backend HTTP request", Some("Client session"), Some("Backend TCP request"), 4, 5),
        ("Server session", Some("HAProxy session"), None, 5, 7),
        ("TCP response", Some("Server session"), None, 6, 7),
        ("HTTP response", Some("Server session"), Some("TCP response"), 7, 7),
    ];
    assert_rows(&spans, &rows);
    let opened_last = [
        "Client session",
        "Frontend TCP request",
        "Frontend HTTP request",
        "Backend TCP request",
        "Backend HTTP request",
        "Server session",
        "TCP response",
        "HTTP response",
    ];
    for (name, traceparent) in opened_last.iter().zip(&injected) {
        let span = spans.get(name);
        assert_eq!(*traceparent, format!("00-{}-{}-03", span.trace_id(), span.id()), "{name}");
    }
    assert_eq!(
        spans.get("Client session").attributes(),
        [("client.address", Attribute::from("192.0.2.7")), ("client.port", Attribute::I64(5000))]
    );
    assert_eq!(
        spans.get("Frontend HTTP request").attributes(),
        [
            ("http.method", Attribute::from("GET")),
            ("http.url", Attribute::from("/a?b=c")),
            ("http.version", Attribute::from("HTTP/1.1")),
        ]
    );
    assert_eq!(
        spans.get("HTTP response").attributes(),
        [("http.status_code", Attribute::I64(503)), ("error", Attribute::Bool(true))]
    );
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_exported, stats.open_spans), (9, 9, 0));
    assert_eq!(stats.finishes_unknown + stats.args_unknown + stats.args_misplaced + stats.references_unknown, 0);
}

#[test]
fn requests_at_the_same_time_do_not_mix() {
    let agent = Agent::new();
    let (one, two) = (seed_style("r1", 200), seed_style("r2", 200));
    for ((ms, first), (_, second)) in one.into_iter().zip(two) {
        // As two messages of one NOTIFY, which HAProxy does not do, and as two NOTIFYs.
        if ms % 2 == 0 {
            agent.notify(ms, &first);
            agent.notify(ms, &second);
        } else {
            agent.notify(ms, &first.into_iter().chain(second).collect::<Vec<_>>());
        }
    }
    let spans = agent.take();
    assert_eq!(spans.names().len(), 18);
    let sessions: Vec<_> = spans.iter().filter(|span| span.data.name == "HAProxy session").collect();
    assert_ne!(sessions[0].trace_id(), sessions[1].trace_id());
    for session in sessions {
        let of_trace: Vec<_> = spans.iter().filter(|span| span.trace_id() == session.trace_id()).collect();
        assert_eq!(of_trace.len(), 9);
        let ids: Vec<_> = of_trace.iter().map(|span| span.id()).collect();
        assert!(of_trace.iter().all(|s| s.id() == session.id() || ids.contains(&s.data.parent_span_id)));
    }
}
