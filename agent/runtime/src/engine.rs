//! HAProxy's engines, and what their connections left to each other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spop_core::{FrameId, StreamId};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::handler::Answer;
use crate::stats::ServerStats;

/// What an ACK names.
pub(crate) type Ids = (StreamId, FrameId);

/// Names a NOTIFY beyond its connection: the connection's number, and the ticket there.
pub(crate) type Key = (u64, u64);

/// The engines that have a connection, or something that waits for one.
#[derive(Default)]
pub(crate) struct Engines {
    pub(crate) by_id: Mutex<HashMap<Arc<[u8]>, Arc<Engine>>>,
    /// NOTIFYs whose connection is gone.
    pub(crate) orphans: AtomicUsize,
    /// The server has ended.
    pub(crate) over: watch::Sender<bool>,
}

impl Engines {
    /// The server ends: nobody can come any more to answer.
    pub(crate) fn end(&self, stats: &ServerStats) {
        // Before: what is left behind while this runs is given up by who leaves it.
        self.over.send_replace(true);
        let engines = std::mem::take(&mut *lock(&self.by_id));
        for engine in engines.values() {
            self.give_up(engine, stats);
        }
    }

    /// Nobody will answer what an engine's connections left behind.
    pub(crate) fn give_up(&self, engine: &Engine, stats: &ServerStats) {
        let mut state = lock(&engine.state);
        let given_up = state.at_work.len() + state.answers.len();
        for (_, at_work) in state.at_work.drain() {
            at_work.task.abort();
        }
        state.answers.clear();
        drop(state);
        self.orphans.fetch_sub(given_up, Relaxed);
        ServerStats::add(&stats.unanswered, given_up as u64);
    }
}

/// An engine of HAProxy.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) state: Mutex<State>,
    /// There is something to answer for another connection.
    pub(crate) ready: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    /// Its connections.
    pub(crate) members: usize,
    /// NOTIFYs of connections that are gone, without an answer so far.
    pub(crate) at_work: HashMap<Key, AtWork>,
    /// Answers that wait for a connection.
    pub(crate) answers: VecDeque<Waiting>,
}

/// A handler at work, and what its answer will name.
pub(crate) struct AtWork {
    pub(crate) ids: Ids,
    pub(crate) task: AbortHandle,
}

/// An answer that waits for a connection.
pub(crate) struct Waiting {
    pub(crate) since: Instant,
    pub(crate) ids: Ids,
    pub(crate) answer: Answer,
}

impl State {
    /// Nobody needs the engine any more.
    pub(crate) fn is_over(&self) -> bool {
        self.members == 0 && self.at_work.is_empty() && self.answers.is_empty()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
