//! Lines on their way to standard output, which may stand still.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::failure::Failure;

/// So many lines wait for whoever reads them.
const WAITING: usize = 4096;
/// And so long at the end.
const LAST: Duration = Duration::from_secs(5);

/// A thread that writes lines.
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    all: AtomicU64,
    written: Arc<AtomicU64>,
    closed: Arc<Notify>,
    ended: Mutex<Receiver<io::Result<()>>>,
}

impl Lines {
    pub(super) fn start() -> Result<Self, Failure> {
        let (queue, lines) = sync_channel::<Vec<u8>>(WAITING);
        let (end, ended) = sync_channel(1);
        let (written, closed) = (Arc::<AtomicU64>::default(), Arc::<Notify>::default());
        let (count, notify) = (written.clone(), closed.clone());
        // Not behind the lock of standard output: the end of the program would wait for it.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        std::thread::spawn(move || {
            let result = lines.iter().try_for_each(|line| {
                out.write_all(&line)?;
                count.fetch_add(1, Relaxed);
                Ok(())
            });
            // Nobody may wait any more.
            let _late = end.send(result);
            notify.notify_one();
        });
        Ok(Lines { queue, all: AtomicU64::new(0), written, closed, ended: Mutex::new(ended) })
    }

    /// Without waiting.
    pub(super) fn send(&self, line: Vec<u8>) {
        self.all.fetch_add(1, Relaxed);
        // What does not fit is left out.
        let _full = self.queue.try_send(line);
    }

    /// Ready once standard output failed.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Waits until all are written, unless nobody reads them; gives the number of those that were left out.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        drop(self.queue);
        // A thread that writes for ever ends with the program.
        let ended = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(LAST).unwrap_or(Ok(()))?;
        Ok(self.all.into_inner() - self.written.load(Relaxed))
    }
}
