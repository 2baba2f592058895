//! `async` (HAProxy up to 3.0): the connections of an engine answer for each other.
//!
//! An answer leaves on the connection that brought its NOTIFY for as long as that lives, which HAProxy takes in any case: so nothing is
//! shared on the way of an answer. What a connection leaves behind at its end is worked on, and answered by another connection of its
//! engine: also by one that comes later, since HAProxy lets its requests wait when the last connection breaks, and connects again.
//! It uses ids again when it has given up what had them: then what a connection left behind with these ids is given up here, too.
//! Engines are told apart by their ids, random UUIDs that HAProxy makes: who names one is that HAProxy, or has read its traffic.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use spop_core::Ticket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::{AtWork, Engine, Ids, Key, Waiting, lock};
use crate::handler::Answer;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::stats::ServerStats;

/// So long at least is between two looks for answers that waited too long.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

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

    /// Goes on with the handlers of a connection that ends: those that HAProxy waits for, as many as were reserved.
    pub(crate) fn adopt(&self, mut tasks: JoinSet<Outcome>, open: Vec<(Ticket, AtWork)>, connection: u64) {
        let part = self.0.clone();
        let open = open.into_iter().map(|(ticket, at_work)| ((connection, ticket.to_bits()), at_work));
        lock(&part.engine.state).at_work.extend(open);
        let mut over = part.shared.engines.over.subscribe();
        if *over.borrow() {
            part.shared.engines.give_up(&part.engine, &part.shared.stats);
        }
        tokio::spawn(async move {
            let work = async {
                while let Some(done) = tasks.join_next().await {
                    // Who cancels one accounts for it; one that panicked is forgotten below.
                    let Ok(outcome) = done else { continue };
                    part.shared.stats.handler_durations.observe(outcome.took);
                    let answer = outcome.result.unwrap_or_else(|failure| {
                        failure.report(&part.shared, connection);
                        Answer::new()
                    });
                    part.answer((connection, outcome.ticket.to_bits()), answer);
                }
                part.forget(connection);
                part.expire().await;
            };
            tokio::select! {
                () = work => {}
                _ = over.wait_for(|&over| over) => {}
            }
        });
    }

    /// HAProxy has used these ids again, since it gave up what had them before: an answer to that would be taken for one to this.
    pub(crate) fn supersede(&self, ids: Ids) {
        let Shared { engines, stats, .. } = &*self.0.shared;
        // Nothing is shared on the way of a NOTIFY unless a connection left something behind.
        if engines.orphans.load(Relaxed) == 0 {
            return;
        }
        let mut state = lock(&self.0.engine.state);
        let before = state.at_work.len() + state.answers.len();
        state.answers.retain(|waiting| waiting.ids != ids);
        state.at_work.retain(|_, at_work| {
            let stays = at_work.ids != ids;
            if !stays {
                at_work.task.abort();
            }
            stays
        });
        let superseded = before - state.at_work.len() - state.answers.len();
        drop(state);
        engines.orphans.fetch_sub(superseded, Relaxed);
        ServerStats::add(&stats.superseded, superseded as u64);
    }
}

impl Part {
    /// An answer for whichever connection has room, or comes in time.
    fn answer(&self, key: Key, answer: Answer) {
        let mut state = lock(&self.engine.state);
        // Nobody waits for it if it was superseded as it ended.
        let Some(AtWork { ids, .. }) = state.at_work.remove(&key) else { return };
        state.answers.push_back(Waiting { since: Instant::now(), ids, answer });
        drop(state);
        self.engine.ready.notify_one();
    }

    /// All handlers of a connection have ended: those without an answer panicked as they were dropped.
    fn forget(&self, connection: u64) {
        let mut state = lock(&self.engine.state);
        let before = state.at_work.len();
        state.at_work.retain(|&(of, _), _| of != connection);
        let forgotten = before - state.at_work.len();
        drop(state);
        self.lost(forgotten);
    }

    /// Ends when no answer has waited for long any more: without a connection they do not wait for ever.
    async fn expire(&self) {
        let timeout = self.shared.config.orphan_timeout;
        loop {
            // An answer may wait for a connection that does not read.
            tokio::time::sleep(timeout.max(BETWEEN_LOOKS)).await;
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

    /// Forgets an engine that nobody needs, unless that was done before and its id is another one's by now.
    fn tidy(&self) {
        let mut by_id = lock(&self.shared.engines.by_id);
        let is_known = by_id.get(&self.id).is_some_and(|known| Arc::ptr_eq(known, &self.engine));
        if is_known && lock(&self.engine.state).is_over() {
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
