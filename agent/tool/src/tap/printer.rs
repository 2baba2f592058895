//! Lines on their way to standard output, which may stand still.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use crate::failure::Failure;

/// So many lines wait for whoever reads them.
const WAITING: usize = 4096;

/// A thread that writes lines.
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    left_out: AtomicU64,
    closed: Arc<Notify>,
    thread: JoinHandle<io::Result<()>>,
}

impl Lines {
    pub(super) fn start() -> Self {
        let (queue, lines) = sync_channel::<Vec<u8>>(WAITING);
        let closed = Arc::<Notify>::default();
        let notify = closed.clone();
        let thread = std::thread::spawn(move || {
            let mut out = io::stdout().lock();
            let written = lines.iter().try_for_each(|line| {
                out.write_all(&line)?;
                out.flush()
            });
            notify.notify_one();
            written
        });
        Lines { queue, left_out: AtomicU64::new(0), closed, thread }
    }

    /// Without waiting.
    pub(super) fn send(&self, line: Vec<u8>) {
        if self.queue.try_send(line).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
    }

    /// Ready once standard output failed.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Waits until all are written; gives the number of those that were left out.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        drop(self.queue);
        match self.thread.join() {
            Ok(Err(error)) => Err(error.into()),
            _ => Ok(self.left_out.into_inner()),
        }
    }
}
