//! The thread that reads the connections of log lines.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::sync::oneshot;

/// How long lines may gather before they are read. A reader that waits for each is woken up for each, at the cost of HAProxy,
/// which sends it.
pub(super) const GATHER: Duration = Duration::from_millis(1);

/// A runtime of one thread, beside those that answer HAProxy. It ends with this, and its tasks with it.
pub(super) struct LineThread {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl LineThread {
    pub(super) fn start() -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        // Made and dropped in its own thread: a thread of another runtime, as the caller may be, must not drop one.
        let run = move || match runtime() {
            Ok(runtime) => {
                let _ = tell.send(Ok(runtime.handle().clone()));
                // Nobody sends anything: it ends when the other side is dropped.
                let _ = runtime.block_on(ended);
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        thread::Builder::new().name("log-lines".to_owned()).spawn(run)?;
        let handle = told.recv().map_err(io::Error::other)??;
        Ok(Self { handle, _end: end })
    }

    /// What is spawned and registered until the guard is dropped is this thread's.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

fn runtime() -> io::Result<Runtime> {
    // What comes while it sleeps wakes nobody up, and is found together.
    Builder::new_current_thread().enable_all().on_thread_park(|| thread::sleep(GATHER)).build()
}
