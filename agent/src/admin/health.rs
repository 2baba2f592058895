//! `/healthz`: does the process serve its event loop? `/readyz`: will it take new connections of HAProxy?

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use super::Endpoint;

/// What [`router`] serves.
pub const ENDPOINTS: &[Endpoint] =
    &[("/healthz", "200 while the agent lives"), ("/readyz", "200 while it listens, 503 before that and as it stops")];

/// Where the agent is in its life.
#[derive(Debug)]
pub struct Health(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug)]
enum Stage {
    Starting,
    Ready,
    Draining,
}

impl Default for Health {
    fn default() -> Self {
        Health(watch::Sender::new(Stage::Starting))
    }
}

impl Health {
    /// All listeners are bound.
    pub fn ready(&self) {
        self.0.send_replace(Stage::Ready);
    }

    /// The agent stops.
    pub fn draining(&self) {
        self.0.send_replace(Stage::Draining);
    }
}

/// Serves `/healthz` and `/readyz`.
pub fn router(health: Arc<Health>) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    let stage = *health.0.borrow();
    match stage {
        Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting: not all listeners are bound\n"),
        Stage::Ready => (StatusCode::OK, "ready\n"),
        Stage::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining: the agent is stopping\n"),
    }
}
