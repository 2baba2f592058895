//! The cases: what HAProxy's versions make of each kind of request.

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Get,
    /// The second request of a connection.
    Second,
    Post,
    /// On the listener of HTTP/2, beside another stream.
    Http2,
    /// On the `listen` section.
    Listen,
    /// As [`How::Get`], after another one that fills the cache.
    Again,
    /// As [`How::Get`], while another one has the server's only place.
    Queued,
    /// Closes when the server has the request.
    CloseWaiting,
    /// Resets its stream when the server has the request.
    ResetStream,
    /// Waits for a while, for nothing.
    Dropped,
    /// Goes away when it has a part of the body.
    GoReading,
    /// Sends a part of its body, and nothing else.
    HalfBody,
    /// The same over HTTP/2.
    Http2HalfBody,
    WebSocket,
    /// No request at all that HAProxy could read.
    Nonsense,
    LongHeader,
    HalfRequest,
    /// A TCP connection, of TCP mode.
    Tcp,
}

/// A side's status code and `error.type`.
pub type Side = (Option<u16>, Option<&'static str>);

/// What comes of it.
#[derive(Clone, Debug)]
pub struct Row {
    pub how: How,
    pub path: &'static str,
    /// What the client gets.
    pub answer: Option<u16>,
    /// `%ts`.
    pub ts: &'static str,
    pub server: Side,
    /// If a server was tried.
    pub client: Option<Side>,
    pub resends: Option<u32>,
}

impl Row {
    /// A request that nothing happened to: of both sides this status.
    fn plain(how: How, path: &'static str) -> Self {
        let ok = (Some(200), None);
        Row { how, path, answer: Some(200), ts: "--", server: ok, client: Some(ok), resends: None }
    }

    /// HAProxy answers it by itself.
    fn own(path: &'static str, status: u16, ts: &'static str) -> Self {
        let error = if status == 503 { Some("503") } else { None };
        let server = (Some(status), error);
        Row { answer: Some(status), ts, server, client: None, ..Row::plain(How::Get, path) }
    }

    /// The server fails: what the client gets, and the error of the server's side.
    fn failed(path: &'static str, status: u16, error: &'static str, ts: &'static str, cause: &'static str) -> Self {
        Row { client: Some((None, Some(cause))), server: (Some(status), Some(error)), ..Row::own(path, status, ts) }
    }

    /// The answer ends in its body.
    fn torn(path: &'static str, ts: &'static str, server: Option<&'static str>, client: &'static str) -> Self {
        let server = (Some(200), server);
        Row { ts, server, client: Some((Some(200), Some(client))), ..Row::plain(How::Get, path) }
    }
}

/// The rows for a version.
pub fn rows(version: (u32, u32)) -> Vec<Row> {
    use How::*;
    let old = version < (2, 9);
    let mut rows = vec![
        Row::plain(Get, "/plain"),
        Row::plain(Get, "/orders/17"),
        Row::plain(Second, "/second"),
        Row::plain(Post, "/post"),
        Row { answer: None, ..Row::plain(Http2, "/http2") },
        Row::plain(Listen, "/listen"),
        Row {
            answer: Some(101),
            server: (Some(101), None),
            client: Some((Some(101), None)),
            ..Row::plain(WebSocket, "/websocket")
        },
        Row {
            answer: Some(404),
            server: (Some(404), None),
            client: Some((Some(404), Some("404"))),
            ..Row::plain(Get, "/status/404")
        },
        Row {
            answer: Some(500),
            server: (Some(500), Some("500")),
            client: Some((Some(500), Some("500"))),
            ..Row::plain(Get, "/status/500")
        },
        // HAProxy answers.
        Row::own("/denied", 403, "PR"),
        Row::own("/deny/backend", 429, "PR"),
        Row::own("/redirect", 302, "LR"),
        Row::own("/return", 200, "LR"),
        Row::own("/lua", 200, "LR"),
        Row::own("/prometheus", 200, "LR"),
        Row::own("/stats", 200, "LR"),
        Row { how: Again, ..Row::own("/cache/hit", 200, "LR") },
        Row { answer: None, server: (None, None), ..Row::own("/reject", 200, "PR") },
        Row { how: Dropped, answer: None, server: (None, None), ..Row::own("/silent-drop", 200, "PR") },
        // No server, or one that fails.
        Row { resends: Some(2), ..Row::failed("/refuse", 503, "503", "SC", "connect_failed") },
        Row::failed("/full", 503, "503", "sC", "connect_timeout"),
        Row::own("/none", 503, "SC"),
        Row { how: Queued, ..Row::own("/queue/waits", 503, "sQ") },
        Row::failed("/fails/close", 502, "502", "SH", "server_closed"),
        Row::failed("/fails/nonsense", 502, "502", "PH", "invalid_response"),
        Row::failed("/short/stall", 504, "504", "sH", "server_timeout"),
        Row::torn("/cut", "SD", Some("server_abort"), "server_abort"),
        match version {
            // As if the client had gone.
            (3, 0) => Row::torn("/short/stall-body", "CD", None, "client_abort"),
            _ => Row::torn("/short/stall-body", "sD", Some("server_timeout"), "server_timeout"),
        },
        // Clients that go away.
        Row { how: GoReading, ..Row::torn("/drip", "CD", None, "client_abort") },
        Row { how: CloseWaiting, answer: None, ..Row::plain(Get, "/unmoved/slow") },
        // Beyond what a server says.
        Row {
            ts: "LH",
            client: Some(if old { (None, None) } else { (Some(418), Some("418")) }),
            ..Row::plain(Get, "/teapot/status/418")
        },
        Row { resends: Some(1), ..Row::plain(Get, "/retry/flaky") },
        Row { resends: Some(1), ..Row::plain(Get, "/redispatch/ok") },
        Row { server: (None, None), client: Some((None, None)), ..Row::plain(Tcp, "") },
    ];
    // HAProxy is told, or by its default lets itself be told, that the client has gone.
    let gone = Row {
        how: CloseWaiting,
        answer: None,
        ts: "CH",
        server: (Some(400), None),
        client: Some((None, Some("client_abort"))),
        ..Row::plain(Get, "/default/gone/slow")
    };
    let stays = |path| Row { how: CloseWaiting, answer: None, ..Row::plain(Get, path) };
    rows.push(if version < (3, 0) { stays("/abort/slow") } else { Row { path: "/abort/slow", ..gone.clone() } });
    rows.push(if version < (3, 3) { stays(gone.path) } else { gone.clone() });
    let reset = if version < (3, 0) { (None, None) } else { (Some(400), None) };
    for path in ["/abort/reset/slow", "/unmoved/reset/slow"] {
        rows.push(Row { how: ResetStream, path, ts: "CD", server: reset, ..gone.clone() });
    }
    let half = Row { how: HalfBody, ..Row::failed("/short/half-body", 504, "504", "sH", "server_timeout") };
    let half = if version < (3, 0) {
        half
    } else {
        Row {
            answer: Some(400),
            ts: "cH",
            server: (Some(400), None),
            client: Some((None, Some("client_timeout"))),
            ..half
        }
    };
    rows.push(half.clone());
    rows.push(Row { how: Http2HalfBody, path: "/short/http2-half-body", answer: None, ..half });
    rows.push(Row { how: HalfBody, ..Row::own("/wait-for-body", 408, "cR") });
    // Nothing that HAProxy could read: a trace of its own.
    let unread = |how, status, ts| Row { how, ..Row::own("", status, ts) };
    rows.push(unread(Nonsense, 400, "PR"));
    rows.push(unread(LongHeader, if version < (3, 2) { 400 } else { 431 }, "PR"));
    rows.push(unread(HalfRequest, 408, "cR"));
    rows
}

impl Row {
    /// Whether HAProxy could read the request: there are its path and its ids then.
    pub fn was_read(&self) -> bool {
        !matches!(self.how, How::Nonsense | How::LongHeader | How::HalfRequest | How::Tcp)
    }

    /// What else the client of this row asks for.
    pub fn beside(&self) -> usize {
        usize::from(matches!(self.how, How::Second | How::Http2 | How::Again | How::Queued))
    }
}
