//! What all listeners share: who may send, where lines go, what is counted and said.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use spop_agent::ratelimit::LogLimit;

use super::allow::AllowList;
use super::stats::ListenerStats;
use crate::line::{LineSink, Sender};
use crate::metric::Counter;

/// Where lines go in.
pub(super) struct Intake {
    pub(super) sink: Arc<dyn LineSink>,
    pub(super) allowed: AllowList,
    pub(super) stats: Arc<ListenerStats>,
    pub(super) logs: Logs,
}

/// The gates of the lines of our own log that peers can cause.
#[derive(Default)]
pub(super) struct Logs {
    pub(super) lost: LogLimit,
    pub(super) sender: LogLimit,
    pub(super) cut: LogLimit,
    pub(super) failed: LogLimit,
    pub(super) read: LogLimit,
    pub(super) accept: LogLimit,
    pub(super) limit: LogLimit,
    pub(super) files: LogLimit,
    pub(super) too_long: LogLimit,
    pub(super) framing: LogLimit,
    pub(super) tls: LogLimit,
    pub(super) idle: LogLimit,
    pub(super) out_of_time: LogLimit,
}

impl Intake {
    /// Takes a line, with the end of the line or without.
    pub(super) fn take(&self, sender: Sender, line: &[u8], lines: &Counter, bytes: &Counter) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // All lines of a socket are taken by one thread: one that is beyond the sink must not be the last.
        if catch_unwind(AssertUnwindSafe(|| self.sink.take(sender, line))).is_err() {
            self.stats.counters.failed.one();
            if let Some(left_out) = self.logs.failed.pass() {
                tracing::error!(left_out, "a log line made the agent panic: please report this");
            }
            return;
        }
        lines.one();
        bytes.add(line.len());
    }

    /// May this address send lines? If not, that is counted and logged.
    pub(super) fn admits(&self, sender: IpAddr, refused: &Counter) -> bool {
        if self.allowed.admits(sender) {
            return true;
        }
        refused.one();
        if let Some(left_out) = self.logs.sender.pass() {
            tracing::warn!(%sender, left_out, "log lines refused: their sender is not allowed (--log-allow)");
        }
        false
    }

    /// A listener stops before it has read everything.
    pub(super) fn out_of_time(&self) {
        if self.logs.out_of_time.pass().is_some() {
            tracing::warn!("log lines still arrive at the end of their time (--grace): those left are not read");
        }
    }
}
