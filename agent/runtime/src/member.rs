//! `async` (HAProxy up to 3.0): the connections of an engine answer for each other.
//!
//! An answer leaves on the connection that brought its NOTIFY for as long as that lives, which HAProxy takes in any case: so nothing is
//! shared on the way of an answer. What a connection leaves behind at its end is worked on, and answered by another connection of its
//! engine. Engines are told apart by their ids, random UUIDs that HAProxy makes: who names one is that HAProxy, or has read its traffic.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use crate::engine::{Engine, Ids};
use crate::handler::Answer;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::stats::ServerStats;

/// A connection among those of its engine.
pub(crate) struct Member {
    engine: Arc<Engine>,
    id: Arc<[u8]>,
    shared: Arc<Shared>,
}

impl Member {
    /// One more connection of the engine with this id.
    pub(crate) fn join(shared: &Arc<Shared>, id: &Arc<[u8]>) -> Self {
        let engine = lock(&shared.engines.by_id).entry(id.clone()).or_default().clone();
        lock(&engine.state).members += 1;
        Self { engine, id: id.clone(), shared: shared.clone() }
    }

    /// Ready once there is something to answer for another connection.
    pub(crate) async fn ready(&self) {
        self.engine.ready.notified().await;
    }

    /// An answer that waits for any connection.
    pub(crate) fn take(&self) -> Option<(Ids, Answer)> {
        let mut state = lock(&self.engine.state);
        let answer = state.answers.pop_front()?;
        if !state.answers.is_empty() {
            // For whoever has room.
            self.engine.ready.notify_one();
        }
        drop(state);
        self.shared.engines.orphans.fetch_sub(1, Relaxed);
        Some(answer)
    }

    /// Are there others, and room for so many NOTIFYs without a connection? Then they are reserved.
    pub(crate) fn reserve(&self, orphans: usize) -> bool {
        let limit = self.shared.config.max_orphans;
        let all = &self.shared.engines.orphans;
        lock(&self.engine.state).members > 1
            && all.fetch_update(Relaxed, Relaxed, |now| (now + orphans <= limit).then_some(now + orphans)).is_ok()
    }

    /// Goes on with the handlers of a connection that ends; `open` are those that HAProxy waits for, by their tickets, as many as were
    /// reserved.
    pub(crate) fn adopt(&self, mut tasks: JoinSet<Outcome>, mut open: HashMap<u64, Ids>, connection: u64) {
        let (engine, shared) = (self.engine.clone(), self.shared.clone());
        tokio::spawn(async move {
            while let Some(done) = tasks.join_next().await {
                let Ok(outcome) = done else { continue };
                let Some(ids) = open.remove(&outcome.ticket.to_bits()) else { continue };
                let answer = outcome.result.unwrap_or_else(|failure| {
                    failure.report(&shared, connection);
                    Answer::new()
                });
                engine.answer(ids, answer, &shared);
            }
            shared.lost(open.len());
        });
    }
}

impl Engine {
    fn answer(&self, ids: Ids, answer: Answer, shared: &Shared) {
        let mut state = lock(&self.state);
        if state.members == 0 {
            drop(state);
            return shared.lost(1);
        }
        state.answers.push_back((ids, answer));
        self.ready.notify_one();
    }
}

impl Shared {
    /// Nobody can answer these any more.
    fn lost(&self, orphans: usize) {
        self.engines.orphans.fetch_sub(orphans, Relaxed);
        ServerStats::add(&self.stats.unanswered, orphans as u64);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut by_id = lock(&self.shared.engines.by_id);
        let mut state = lock(&self.engine.state);
        state.members -= 1;
        if state.members == 0 {
            by_id.remove(&self.id);
            let left = std::mem::take(&mut state.answers).len();
            drop((state, by_id));
            self.shared.lost(left);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
