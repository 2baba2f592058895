//! How requests end, as HAProxy 2.6 to 3.5 write it: which spans there are, and what they say.

use opentelemetry::trace::Status;

use crate::log_support::{Line, LineAgent};

/// What a span says: its status code, and the error if it is one.
type Said = (Option<u16>, Option<&'static str>);

const OK: Said = (Some(200), None);

fn error(status: Option<u16>, error: &'static str) -> Said {
    (status, Some(error))
}

/// A line: status, of the server, termination, retries, server, and how many of TR, Tw, Tc, Tr, Td were reached.
fn line(st: i32, ss: u16, ts: &'static str, rc: &'static str, server: &'static str, reached: usize) -> Line {
    Line::new().with("st", st).with("ss", ss).with("ts", ts).with("rc", rc).with("s", server).timers(reached)
}

#[test]
fn every_end_of_a_request() {
    let server_only = |said: Said| (said, None);
    let both = |server: Said, client: Said| (server, Some(client));
    // What is the same before 2.9, where the server's own status is not told, is tried without it too.
    let cases = [
        ("answered", line(200, 200, "--", "0", "s1", 5), both(OK, OK)),
        ("not found", line(404, 404, "--", "0", "s1", 5), both((Some(404), None), error(Some(404), "404"))),
        ("failed", line(500, 500, "--", "0", "s1", 5), both(error(Some(500), "500"), error(Some(500), "500"))),
        ("denied", line(403, 0, "PR", "0", "<NOSRV>", 1), server_only((Some(403), None))),
        ("denied by the backend", line(429, 0, "PR", "0", "<NOSRV>", 1), server_only((Some(429), None))),
        ("redirected", line(302, 0, "LR", "0", "<NOSRV>", 1), server_only((Some(302), None))),
        ("rejected", line(-1, 0, "PR", "0", "<NOSRV>", 0), server_only((None, None))),
        ("statistics", line(200, 200, "LR", "0", "<STATS>", 5), server_only(OK)),
        ("Lua", line(200, 200, "LR", "0", "<lua.hello>", 5), server_only(OK)),
        ("cache", line(200, 200, "LR", "0", "<CACHE>", 5), server_only(OK)),
        ("refused", line(503, 0, "SC", "2", "s1", 2), both(error(Some(503), "503"), error(None, "connect_failed"))),
        ("no server", line(503, 0, "SC", "0", "<NOSRV>", 1), server_only(error(Some(503), "503"))),
        ("queue", line(503, 0, "sQ", "0", "<NOSRV>", 2), server_only(error(Some(503), "503"))),
        (
            "connect timeout",
            line(503, 0, "sC", "0", "s1", 2),
            both(error(Some(503), "503"), error(None, "connect_timeout")),
        ),
        ("closed", line(502, 0, "SH", "0", "s1", 3), both(error(Some(502), "502"), error(None, "server_closed"))),
        ("nonsense", line(502, 0, "PH", "0", "s1", 3), both(error(Some(502), "502"), error(None, "invalid_response"))),
        ("timeout", line(504, 0, "sH", "0", "s1", 3), both(error(Some(504), "504"), error(None, "server_timeout"))),
        (
            "cut in the body",
            line(200, 200, "SD", "0", "s1", 5),
            both(error(Some(200), "server_abort"), error(Some(200), "server_abort")),
        ),
        (
            "stalled in the body",
            line(200, 200, "sD", "0", "s1", 5),
            both(error(Some(200), "server_timeout"), error(Some(200), "server_timeout")),
        ),
        ("client gone in the body", line(200, 200, "CD", "0", "s1", 5), both(OK, error(Some(200), "client_abort"))),
        (
            "client gone before the answer",
            line(400, 0, "CH", "0", "s1", 3),
            both((Some(400), None), error(None, "client_abort")),
        ),
        ("stream reset", line(-1, 0, "CD", "0", "s1", 3), both((None, None), error(None, "client_abort"))),
        (
            "client stops sending",
            line(400, 0, "cH", "0", "s1", 3),
            both((Some(400), None), error(None, "client_timeout")),
        ),
        ("body awaited", line(408, 0, "cR", "0", "<NOSRV>", 1), server_only((Some(408), None))),
        ("retried", line(200, 200, "--", "1", "s1", 5), both(OK, OK)),
        ("redispatched", line(200, 200, "--", "+1", "s1", 5), both(OK, OK)),
        ("WebSocket", line(101, 101, "--", "0", "s1", 5), both((Some(101), None), (Some(101), None))),
        ("out of memory", line(500, 0, "RC", "0", "s1", 2), both(error(Some(500), "500"), error(None, "resources"))),
        ("no socket left", line(503, 0, "PC", "0", "s1", 2), both(error(Some(503), "503"), error(None, "resources"))),
        ("killed", line(200, 200, "KD", "0", "s1", 5), both(error(Some(200), "killed"), error(Some(200), "killed"))),
    ];
    for (what, line, expected) in cases {
        for line in [line.clone(), line.old()] {
            assert_eq!(said(&line), expected, "{what}: {}", line.text());
        }
    }
    // Where what the server said is not what the client got.
    let other = line(418, 200, "LH", "0", "s1", 5);
    assert_eq!(said(&other), both((Some(418), None), OK));
    let denied = line(502, 200, "PH", "0", "s1", 5);
    assert_eq!(said(&denied), both(error(Some(502), "502"), OK));
    let on_2_6 = line(418, 0, "LH", "0", "s1", 3).old();
    assert_eq!(said(&on_2_6), both((Some(418), None), (None, None)));
}

/// What the SERVER span and the CLIENT span of a line say.
fn said(line: &Line) -> (Said, Option<Said>) {
    let agent = LineAgent::new();
    agent.take(line);
    let spans = agent.agent.take();
    let said: Vec<_> = spans
        .iter()
        .map(|span| {
            let attribute = |name: &str| {
                span.data.attributes.iter().find(|kv| kv.key.as_str() == name).map(|kv| kv.value.to_string())
            };
            let error = attribute("error.type");
            assert_eq!(span.data.status, if error.is_some() { Status::error("") } else { Status::Unset });
            let status = attribute("http.response.status_code").map(|status| status.parse::<u16>().unwrap());
            (status, error.map(|error| &*error.leak()))
        })
        .collect();
    (said[0], said.get(1).copied())
}

#[test]
fn what_haproxy_could_not_read() {
    // Bad request, header too long, timeout: there is no context, and no request.
    for status in [400, 431, 408] {
        let agent = LineAgent::new();
        let line = line(status, 0, if status == 408 { "cR" } else { "PR" }, "0", "<NOSRV>", 0);
        agent.take(&line.without(&["c", "t0", "id", "m", "u", "tst", "h", "hv", "ua"]));
        let spans = agent.agent.take();
        let span = spans.one();
        assert_eq!((&*span.data.name, &span.data.status), ("HTTP", &Status::Unset));
        assert!(!span.data.parent_span_is_remote);
        assert_eq!((agent.stats().traced, agent.agent.stats().traces_sampled), (1, 1));
    }
    // No status either: a broken stream of HTTP/2, a rejected connection.
    for status in [0, -1] {
        let agent = LineAgent::new();
        let line = line(status, 0, "PR", "0", "<NOSRV>", 0);
        agent.take(&line.without(&["c", "t0", "id", "m", "u", "tst", "h", "hv", "ua"]));
        assert_eq!((agent.agent.take().names(), agent.stats().no_request), (vec![], 1));
    }
}

#[test]
fn tcp_mode() {
    let http = ["st", "ss", "TR", "Tr", "m", "u", "hv", "h", "ua", "route", "tls", "Ta"];
    let line = Line::new().without(&http).with("Tt", 37);
    let agent = LineAgent::new();
    agent.take(&line);
    let spans = agent.agent.take();
    assert_eq!(spans.names(), ["TCP", "TCP"]);
    let transport = spans.iter().map(|span| {
        let attributes = span.attributes();
        attributes.iter().find(|(name, _)| *name == "network.transport").map(|(_, value)| value.to_string())
    });
    assert!(transport.into_iter().all(|transport| transport.as_deref() == Some("tcp")));
    agent.take(&line.clone().with("ts", "SC").with("Tc", -1).with("Td", -1));
    assert!(agent.agent.take().iter().all(|span| span.data.status == Status::error("")));
    agent.take(&line.without(&["c", "id"]));
    assert_eq!((agent.stats().traced, agent.stats().untraced), (2, 1));
}
