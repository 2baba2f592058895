//! Instants on both clocks.

use std::time::{Instant, SystemTime};

/// An instant on both clocks: spans carry the time of day, deadlines use the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Time of day.
    pub wall: SystemTime,
    /// The monotonic clock.
    pub clock: Instant,
}

impl Timestamp {
    /// This instant.
    pub fn now() -> Self {
        Timestamp { wall: SystemTime::now(), clock: Instant::now() }
    }
}
