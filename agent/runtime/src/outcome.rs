//! What became of a call of the handler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use spop_core::Ticket;

use crate::handler::{Answer, AsyncHandler, Error};
use crate::notify::Request;
use crate::shared::Shared;
use crate::stats::ServerStats;

/// What an asynchronous handler made of a NOTIFY.
pub(crate) struct Outcome {
    pub(crate) ticket: Ticket,
    pub(crate) result: Result<Answer, Failure>,
    pub(crate) took: Duration,
    pub(crate) request_bytes: usize,
}

/// Why a NOTIFY gets an empty ACK.
pub(crate) enum Failure {
    Error(Error),
    Panic,
    Late,
}

/// Lets the handler answer, within the limit.
pub(crate) async fn run(handler: Arc<dyn AsyncHandler>, request: Request, ticket: Ticket, limit: Duration) -> Outcome {
    let (start, request_bytes) = (Instant::now(), request.payload().len());
    // The limit is within: a late future is dropped there, and may panic as that happens.
    let call = AssertUnwindSafe(async move { tokio::time::timeout(limit, handler.notify(request)).await });
    let result = match call.catch_unwind().await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(Failure::Error(error)),
        Ok(Err(_)) => Err(Failure::Late),
        Err(_) => Err(Failure::Panic),
    };
    Outcome { ticket, result, took: start.elapsed(), request_bytes }
}

impl Failure {
    /// Counts and logs it.
    pub(crate) fn report(&self, shared: &Shared, connection: u64) {
        let (counter, reason) = match self {
            Self::Error(error) => (&shared.stats.handler_errors, error.to_string()),
            Self::Panic => (&shared.stats.handler_panics, "it panicked".to_owned()),
            Self::Late => (&shared.stats.handler_late, "it took too long".to_owned()),
        };
        ServerStats::add(counter, 1);
        if let Some(left_out) = shared.logs.handler.pass() {
            tracing::error!(connection, reason, left_out, "the handler failed");
        }
    }
}
