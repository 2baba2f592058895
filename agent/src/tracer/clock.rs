//! Where the tracer gets the time of day from.

use std::time::SystemTime;

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
