//! Log lines that messages can cause: one for each cause in a while.

use spop_agent::ratelimit::{LogLimit, excerpt};

/// One gate for each cause.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) rejected: [LogLimit; 4],
    pub(super) too_many: LogLimit,
    pub(super) no_room: LogLimit,
    pub(super) evicted: LogLimit,
    far_times: LogLimit,
    shared_ids: LogLimit,
}

impl Logs {
    /// A `start=` or `end=` of so many microseconds since the epoch was ignored.
    pub(super) fn far_time(&self, argument: &str, micros: u64) {
        if let Some(left_out) = self.far_times.pass() {
            tracing::warn!(
                argument,
                micros,
                left_out,
                "time ignored: it is too far from now; microseconds since 1970 are expected, as date(0,us) gives them"
            );
        }
    }

    /// Two requests at the same time use this id.
    pub(super) fn shared_id(&self, id: &[u8]) {
        if let Some(left_out) = self.shared_ids.pass() {
            let id = excerpt(id);
            tracing::warn!(
                ?id,
                left_out,
                "an open id extracts another trace: requests share it and their spans mix; \
                 let HAProxy make the ids (unique-id-format %[uuid])"
            );
        }
    }
}
