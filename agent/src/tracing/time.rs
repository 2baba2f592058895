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

/// Where the tracer gets the time of day from when it has answered a NOTIFY.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
