//! How a request ended, by its status and by who ended it (`%ts`), for the span of each side.

use std::borrow::Cow;

use super::record::Record;

/// For a SERVER or a CLIENT span.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    /// `error.type`; `None` if it is no error of this side.
    pub(super) error: Option<Cow<'static, str>>,
}

/// Of what the client asked. That the client went away is not an error of the server, and what the configuration answers
/// (`P`, `L`) is none either.
pub(super) fn of_server(record: &Record<'_>) -> Outcome {
    let by_server = |cause: &&str| !matches!(*cause, CLIENT_ABORT | CLIENT_TIMEOUT | INVALID_RESPONSE);
    let by_cause = || cause(record.termination).filter(by_server).map(Cow::Borrowed);
    let error = record.status.and_then(|status| in_range(status, 500)).or_else(by_cause);
    Outcome { status: record.status, error }
}

/// Of what the server was asked.
pub(super) fn of_client(record: &Record<'_>) -> Outcome {
    let status = if record.knows_server_status {
        record.server_status
    } else {
        record.status.filter(|_| record.response.is_some())
    };
    // A valid response that a rule did not let pass (`http-response deny`) is no invalid one.
    let is_error = |cause: &&str| status.is_none() || *cause != INVALID_RESPONSE;
    let by_cause = || cause(record.termination).filter(is_error).map(Cow::Borrowed);
    let error = status.and_then(|status| in_range(status, 400)).or_else(by_cause);
    Outcome { status, error }
}

fn in_range(status: u16, first: u16) -> Option<Cow<'static, str>> {
    (status >= first).then(|| Cow::Owned(status.to_string()))
}

const CLIENT_ABORT: &str = "client_abort";
const CLIENT_TIMEOUT: &str = "client_timeout";
const INVALID_RESPONSE: &str = "invalid_response";
const RESOURCES: &str = "resources";

/// What ended it before its time.
fn cause([by, state]: [u8; 2]) -> Option<&'static str> {
    Some(match (by, state) {
        (b'S', b'C') => "connect_failed",
        (b'S', b'H') => "server_closed",
        (b'S', _) => "server_abort",
        (b's', b'C') => "connect_timeout",
        (b's', b'Q') => "queue_timeout",
        (b's', _) => "server_timeout",
        (b'P', b'C') => RESOURCES, // the proxy's, its limit of sockets
        (b'P', b'H') => INVALID_RESPONSE,
        (b'C', _) => CLIENT_ABORT,
        (b'c', _) => CLIENT_TIMEOUT,
        (b'R', _) => RESOURCES,
        (b'I', _) => "internal",
        (b'D' | b'K' | b'U', _) => "killed",
        _ => return None,
    })
}
