//! Instants on both clocks.

use std::time::{Instant, SystemTime};

/// An instant on both clocks: spans carry the time of day, deadlines use the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the two clocks and nothing else")]
pub struct Timestamp {
    /// Time of day.
    pub wall: SystemTime,
    /// The monotonic clock.
    pub clock: Instant,
}

impl Timestamp {
    /// This instant.
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), clock: Instant::now() }
    }
}
