//! Whether a program's tasks still come round: what a watchdog is to know before it says that all is well.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Asks tasks whether they still run. Those of a [`Server`](crate::Server) that accept connections are among them, others
/// join by [`beat`](Self::beat).
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let pulse = std::sync::Arc::new(spop_agent::Pulse::default());
/// let mut beat = pulse.beat();
/// assert!(pulse.is_alive(), "nothing was asked before");
/// assert!(!pulse.is_alive(), "nobody has answered");
/// beat.answer().await;
/// assert!(pulse.is_alive());
/// drop(beat);
/// assert!(pulse.is_alive() && pulse.is_alive(), "who has ended is not asked");
/// # });
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Default)]
pub struct Pulse {
    /// The number of the question.
    asked: watch::Sender<u64>,
    /// The last question that each task answered.
    answered: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Pulse {
    /// Has every task answered what the last call asked? If so, this asks again. Whoever calls it at an interval learns
    /// within two of them that a task hangs.
    pub fn is_alive(&self) -> bool {
        let asked = *self.asked.borrow();
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        // The task has ended.
        answered.retain(|last| Arc::strong_count(last) > 1);
        let alive = answered.iter().all(|last| last.load(Relaxed) >= asked);
        if alive {
            self.asked.send_replace(asked + 1);
        }
        alive
    }

    /// A place for a task, which is asked from now on until it drops this.
    pub fn beat(self: &Arc<Self>) -> Beat {
        let asked = self.asked.subscribe();
        let answered = Arc::new(AtomicU64::new(*asked.borrow()));
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).push(answered.clone());
        Beat { _pulse: self.clone(), asked, answered }
    }
}

/// Of a task that a [`Pulse`] asks.
#[derive(Debug)]
pub struct Beat {
    /// It can ask as long as this is there.
    _pulse: Arc<Pulse>,
    asked: watch::Receiver<u64>,
    answered: Arc<AtomicU64>,
}

impl Beat {
    /// Waits for the next question and answers it: a branch of the `select!` at which the task waits for its work.
    pub async fn answer(&mut self) {
        // It fails only if nobody can ask any more.
        if self.asked.changed().await.is_ok() {
            self.answered.store(*self.asked.borrow_and_update(), Relaxed);
        }
    }
}
