//! The lifetime of a background task, and how long it is waited for.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longest time that is waited for, whatever an option says: the clock cannot
/// tell times without end.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// The end of a time that begins now.
pub(crate) fn deadline_after(grace: Duration) -> Instant {
    Instant::now() + grace.min(LONGEST_WAIT)
}

/// A background task.
pub(crate) struct Worker(Mutex<Option<JoinHandle<()>>>);

impl Worker {
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Mutex::new(Some(tokio::spawn(task))))
    }

    /// Waits for the task until the deadline, then aborts it. `false` if the
    /// task was joined before.
    pub(crate) async fn join(&self, deadline: Instant) -> bool {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut handle) = handle else {
            return false;
        };
        if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
            handle.abort();
            // Ends at once, with a cancellation; only then are counters final.
            let _ = handle.await;
        }
        true
    }
}
