//! `async` (HAProxy up to 3.0): the connections of an engine answer for each other.
//!
//! An answer leaves on the connection that brought its NOTIFY for as long as that lives, which HAProxy takes in any case: so nothing is
//! shared on the way of an answer. What a connection leaves behind at its end is worked on, and answered by another connection of its
//! engine: also by one that comes later, since HAProxy lets its requests wait when the last connection breaks, and connects again.
//! Engines are told apart by their ids, random UUIDs that HAProxy makes: who names one is that HAProxy, or has read its traffic.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::{Engine, Ids, Waiting};
use crate::handler::Answer;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::stats::ServerStats;

/// A connection among those of its engine.
pub(crate) struct Member(Part);

/// An engine, and where it is known.
#[derive(Clone)]
struct Part {
    engine: Arc<Engine>,
    id: Arc<[u8]>,
    shared: Arc<Shared>,
}

impl Member {
    /// One more connection of the engine with this id.
    pub(crate) fn join(shared: &Arc<Shared>, id: &Arc<[u8]>) -> Self {
        let mut by_id = lock(&shared.engines.by_id);
        let engine = by_id.entry(id.clone()).or_default().clone();
        let mut state = lock(&engine.state);
        state.members += 1;
        if !state.answers.is_empty() {
            engine.ready.notify_one();
        }
        drop((state, by_id));
        Self(Part { engine, id: id.clone(), shared: shared.clone() })
    }

    /// Ready once there is something to answer for another connection.
    pub(crate) async fn ready(&self) {
        self.0.engine.ready.notified().await;
    }

    /// An answer that waits for any connection.
    pub(crate) fn take(&self) -> Option<(Ids, Answer)> {
        let mut state = lock(&self.0.engine.state);
        let Waiting { ids, answer, .. } = state.answers.pop_front()?;
        if !state.answers.is_empty() {
            // For whoever has room.
            self.0.engine.ready.notify_one();
        }
        drop(state);
        self.0.shared.engines.orphans.fetch_sub(1, Relaxed);
        Some((ids, answer))
    }

    /// Is there room for so many NOTIFYs without a connection? Then they are reserved.
    pub(crate) fn reserve(&self, orphans: usize) -> bool {
        let Shared { config, engines, stats, .. } = &*self.0.shared;
        let room = |now| (now + orphans <= config.max_orphans).then_some(now + orphans);
        let reserved = engines.orphans.fetch_update(Relaxed, Relaxed, room).is_ok();
        if !reserved {
            ServerStats::add(&stats.orphans_refused, orphans as u64);
        }
        reserved
    }

    /// Goes on with the handlers of a connection that ends; `open` are those that HAProxy waits for, by their tickets, as many as were
    /// reserved.
    pub(crate) fn adopt(&self, mut tasks: JoinSet<Outcome>, mut open: HashMap<u64, Ids>, connection: u64) {
        let part = self.0.clone();
        lock(&part.engine.state).at_work += open.len();
        tokio::spawn(async move {
            while let Some(done) = tasks.join_next().await {
                let Ok(outcome) = done else { continue };
                part.shared.stats.handler_durations.observe(outcome.took);
                let Some(ids) = open.remove(&outcome.ticket.to_bits()) else { continue };
                let answer = outcome.result.unwrap_or_else(|failure| {
                    failure.report(&part.shared, connection);
                    Answer::new()
                });
                part.answer(ids, answer);
            }
            lock(&part.engine.state).at_work -= open.len();
            part.lost(open.len());
            part.expire().await;
        });
    }
}

impl Part {
    /// An answer for whichever connection has room, or comes in time.
    fn answer(&self, ids: Ids, answer: Answer) {
        let mut state = lock(&self.engine.state);
        state.at_work -= 1;
        state.answers.push_back(Waiting { since: Instant::now(), ids, answer });
        drop(state);
        self.engine.ready.notify_one();
    }

    /// Ends when no answer has waited for long any more: without a connection they do not wait for ever.
    async fn expire(&self) {
        let timeout = self.shared.config.orphan_timeout;
        loop {
            tokio::time::sleep(timeout).await;
            let is_old = |waiting: &Waiting| waiting.since.elapsed() >= timeout;
            let mut state = lock(&self.engine.state);
            let before = state.answers.len();
            if state.members == 0 {
                state.answers.retain(|waiting| !is_old(waiting));
            }
            let (expired, goes_on) = (before - state.answers.len(), state.answers.iter().any(is_old));
            drop(state);
            self.lost(expired);
            if !goes_on {
                return;
            }
        }
    }

    /// Nobody can answer these any more.
    fn lost(&self, orphans: usize) {
        self.shared.engines.orphans.fetch_sub(orphans, Relaxed);
        ServerStats::add(&self.shared.stats.unanswered, orphans as u64);
        self.tidy();
    }

    /// Forgets an engine that nobody needs.
    fn tidy(&self) {
        let mut by_id = lock(&self.shared.engines.by_id);
        if lock(&self.engine.state).is_over() {
            by_id.remove(&self.id);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        lock(&self.0.engine.state).members -= 1;
        self.0.tidy();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
