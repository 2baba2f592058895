//! Turns away who has no credentials.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::credentials::Credentials;
use super::stats::HttpStats;
use spop_agent::ratelimit::LogLimit;

/// Stands before a router.
pub(crate) struct Guard {
    credentials: Option<Credentials>,
    /// Paths that everybody may ask for.
    open: &'static [&'static str],
    listener: &'static str,
    stats: Arc<HttpStats>,
    log: LogLimit,
}

impl Guard {
    /// Without credentials everybody is let in.
    pub(crate) fn new(
        listener: &'static str,
        credentials: Option<Credentials>,
        open: &'static [&'static str],
        stats: Arc<HttpStats>,
    ) -> Arc<Self> {
        Arc::new(Self { credentials, open, listener, stats, log: LogLimit::new() })
    }
}

/// Answers 401 to who has none of the credentials.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(credentials) = guard.credentials.as_ref().filter(|_| !guard.open.contains(&path)) else {
        return next.run(request).await;
    };
    let Err(challenges) = credentials.check(request.headers()).await else { return next.run(request).await };
    guard.stats.unauthorized();
    if let Some(left_out) = guard.log.pass() {
        let listener = guard.listener;
        tracing::warn!(listener, left_out, "HTTP request refused: it has no valid token or password");
    }
    let mut response = (StatusCode::UNAUTHORIZED, "A token or a password is needed here.\n").into_response();
    for challenge in challenges {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
