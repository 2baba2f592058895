//! How often the configuration was read again while the program ran, and when it was last right.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::metric::metrics;

metrics! {
    /// [`Reloads`] at one instant.
    snapshot ReloadSnapshot, counters Counters;
    Counter "config_reloads" "Times that the configuration was read again (SIGHUP); failed: it stayed as it was." by "result" {
        /// Those whose configuration was taken.
        ok = "ok",
        /// Those whose configuration was wrong: all stayed as it was.
        failed = "failed",
    }
    Stamp "config_last_success_timestamp_seconds" "When the configuration in use was read, in seconds since 1970." {
        /// Seconds since the epoch.
        last_success,
    }
}

/// Counts them.
#[derive(Debug, Default)]
pub struct Reloads(Counters);

impl Reloads {
    /// The configuration is in use, from the start or from now on.
    fn is_in_use(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.last_success.set(now.as_secs());
    }

    /// From the start, which is no reload.
    pub fn started() -> Self {
        let reloads = Self::default();
        reloads.is_in_use();
        reloads
    }

    /// Another configuration is in use.
    pub fn succeeded(&self) {
        self.0.ok.one();
        self.is_in_use();
    }

    /// The configuration was wrong, and the one before stays.
    pub fn failed(&self) {
        self.0.failed.one();
    }

    /// The present figures.
    pub fn stats(&self) -> ReloadSnapshot {
        self.0.snapshot()
    }
}
