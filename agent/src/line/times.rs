//! When a request's spans begin and end, by the timers of its line.
//!
//! HAProxy's timers count from the accept, in milliseconds that are cut; its `date()` is its clock when it woke up, in
//! microseconds.

use std::time::Duration;

use super::record::Record;

/// Microseconds between the first byte of a request and the first rule, if nothing came in between. Before 2.9 the
/// accept is known in milliseconds only.
const AT_ONCE: u64 = 1000;
const AT_ONCE_BEFORE_2_9: u64 = 2000;

/// The latest start, in microseconds, whatever a forged line says: there is an end behind it, in nanoseconds, too.
const LATEST: u64 = u64::MAX / 1000 - 1;

/// A part of a request: from, until, in nanoseconds since the epoch.
pub(super) type Part = (u64, u64);

/// Instants in nanoseconds since the epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Of the SERVER span.
    pub(super) start: u64,
    /// Of both spans.
    pub(super) end: u64,
    /// Start of the CLIENT span: HAProxy chose a server.
    pub(super) client: u64,
    /// The wait for a free connection. With retries it cannot be told from the earlier tries.
    pub(super) queue: Option<Part>,
    pub(super) connect: Option<Part>,
    /// The wait for the response's headers.
    pub(super) headers: Option<Part>,
}

impl Times {
    pub(super) fn of(record: &Record<'_>) -> Self {
        let micros = |millis: Option<u64>| millis.unwrap_or(0).saturating_mul(1000);
        let after = |at: u64, millis: Option<u64>| at.saturating_add(micros(millis));
        let first_byte = after(after(record.accepted, record.handshake), record.idle);
        let at_once = if record.knows_server_status { AT_ONCE } else { AT_ONCE_BEFORE_2_9 };
        // Later if the headers came slowly.
        let first_rule = record.first_rule.filter(|at| *at <= first_byte.saturating_add(at_once));
        let start = first_rule.unwrap_or(first_byte).min(LATEST);
        let end = record.end.max(start.saturating_add(1));
        // Every span lasts a microsecond at least.
        let latest = end.saturating_sub(1);
        let earliest = record.first_rule.unwrap_or(start).clamp(start, latest);
        let within = |at: u64| at.clamp(earliest, latest);
        let queued = within(after(first_byte, record.request));
        let client = within(after(after(first_byte, record.request), record.wait));
        let connected = within(after(client, record.connect));
        let answered = within(after(connected, record.response));
        let part =
            |is: bool, from: u64, until: u64| is.then_some((nanos(from), nanos(until.max(from.saturating_add(1)))));
        Times {
            start: nanos(start),
            end: nanos(end),
            client: nanos(client),
            queue: part(record.retries == 0 && record.wait > Some(0), queued, client),
            connect: part(record.connect.is_some(), client, connected),
            headers: part(record.response.is_some(), connected, answered),
        }
    }

    /// How long the request took.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.start))
    }

    /// How long the server took, its choice excluded.
    pub(super) fn client_duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.client))
    }
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}
