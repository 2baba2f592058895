//! Log lines that messages can cause: one for each cause in a while.

use spop_agent::ratelimit::LogLimit;

/// One gate for each cause.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) rejected: [LogLimit; 4],
    pub(super) too_many: LogLimit,
    pub(super) no_room: LogLimit,
    pub(super) evicted: LogLimit,
    far_times: LogLimit,
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
}
