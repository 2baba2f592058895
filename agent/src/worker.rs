//! The lifetime of a background task.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
