//! The bounded table of all ids, in shards with a lock each.
//!
//! Every shard has its part of the bounds, so that no shard's lock is ever taken while another one's is held.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashTable};
use opentelemetry::trace::TraceId;
use slab::Slab;
use smallvec::SmallVec;

use super::config::TracerConfig;
use super::counters::TracerStats;
use super::env::Env;
use super::index;
use super::instance::{Exports, Instance};
use super::language::Head;
use super::pool::Pool;
use super::span::EndCause;
use crate::heap::{block, block_of};
use crate::list::{Linked, Links, List};
use spop_agent::time::Timestamp;

const MAX_SHARDS: usize = 16;
/// A smaller part of the memory would evict too early if the ids do not spread evenly.
const MIN_SHARD_MEMORY: usize = 1024 * 1024;
/// Boxes of forgotten entries that are kept.
const MAX_SPARE: usize = 16;
/// Ids that a sweep ends before it lets others have the lock.
const SWEEP_BATCH: usize = 64;

/// What happened under a lock and is passed on without it.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) spans: Exports,
    /// Changes of the number of open spans of a trace.
    pub(super) changes: SmallVec<[(TraceId, i32); 2]>,
    /// Ids that the memory bound pushed out.
    pub(super) evicted: usize,
}

/// All ids.
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Its seed is random: who chooses ids does not know which ones collide.
    pub(super) hasher: DefaultHashBuilder,
}

impl Table {
    pub(super) fn new(config: &TracerConfig) -> Self {
        let shards = (config.max_memory / MIN_SHARD_MEMORY).clamp(1, MAX_SHARDS);
        let bounds = Bounds::of_one(config, shards);
        let shards = (0..shards).map(|_| Mutex::new(Shard::new(bounds))).collect();
        Table { shards, hasher: DefaultHashBuilder::default() }
    }

    /// What each of its shards may hold by this configuration. Their number stays.
    pub(super) fn bounds(&self, config: &TracerConfig) -> Bounds {
        Bounds::of_one(config, self.shards.len())
    }

    /// The shard of the ids with this hash.
    pub(super) fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        // The low and the highest bits are those that the hash table uses.
        let at = (hash >> 32) as usize % self.shards.len();
        self.shards.get(at).map(lock)
    }

    /// Works on each shard, one after the other.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    /// Indices for [`shard_at`](Self::shard_at).
    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn shard_at(&self, at: usize) -> Option<MutexGuard<'_, Shard>> {
        self.shards.get(at).map(lock)
    }
}

/// A panic elsewhere leaves a shard as usable as it was.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const ACTIVITY: usize = 0;
const AGE: usize = 1;

/// As long as those that HAProxy makes as a rule.
type Id = SmallVec<[u8; 48]>;

struct Entry {
    hash: u64,
    id: Id,
    pub(super) instance: Instance,
    /// When the last message came, or when it ended.
    touched: Instant,
    /// When it became live.
    born: Instant,
    /// In the lists of live entries, not in that of ended ones.
    live: bool,
    activity: Links,
    age: Links,
    /// As accounted for in the shard.
    size: usize,
    spans: usize,
}

impl Entry {
    /// Memory that it holds in a box.
    fn held(&self) -> usize {
        let id = if self.id.spilled() { block(self.id.capacity()) } else { 0 };
        id + self.instance.held()
    }
}

impl Linked<ACTIVITY> for Box<Entry> {
    fn links(&mut self) -> &mut Links {
        &mut self.activity
    }
}

impl Linked<AGE> for Box<Entry> {
    fn links(&mut self) -> &mut Links {
        &mut self.age
    }
}

/// What a shard may hold.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    memory: usize,
    ended: usize,
}

impl Bounds {
    fn of_one(config: &TracerConfig, of: usize) -> Self {
        Bounds { memory: config.max_memory / of, ended: config.max_remembered.div_ceil(of) }
    }
}

/// A part of the table.
pub(super) struct Shard {
    slots: HashTable<usize>,
    /// In boxes: what a slab took once it keeps.
    entries: Slab<Box<Entry>>,
    /// Live entries, the least recently used one first.
    active: List<ACTIVITY>,
    /// Live entries, the oldest one first.
    by_age: List<AGE>,
    /// Ended entries, the first one to forget first.
    ended: List<ACTIVITY>,
    /// Memory of the entries.
    size: usize,
    spans: usize,
    bounds: Bounds,
    pool: Pool,
    /// Boxes of forgotten entries, for new ones.
    #[allow(clippy::vec_box)] // They come in boxes, and go in them.
    spare: Vec<Box<Entry>>,
}

impl Shard {
    fn new(bounds: Bounds) -> Self {
        Shard {
            slots: HashTable::new(),
            entries: Slab::new(),
            active: List::default(),
            by_age: List::default(),
            ended: List::default(),
            size: 0,
            spans: 0,
            bounds,
            pool: Pool::default(),
            spare: Vec::new(),
        }
    }

    /// Works on the trace of an id, which is made if it is not there; then does what the bounds ask for.
    pub(super) fn with_instance<T>(
        &mut self,
        head: &Head<'_>,
        now: Timestamp,
        env: &Env,
        out: &mut Outbox,
        work: impl FnOnce(&mut Instance, &mut Pool, &mut Outbox) -> T,
    ) -> Option<T> {
        let service = head.service.as_deref().unwrap_or(&env.config.default_service);
        let slot = match self.find(head.hash, &head.id, service) {
            Some(slot) => slot,
            None => {
                let origin = match &head.service {
                    Some(service) => env.origins.of(service),
                    None => env.default_origin.clone(),
                };
                let entry = Entry {
                    hash: head.hash,
                    id: Id::from_slice(&head.id),
                    instance: Instance::new(origin),
                    touched: now.clock,
                    born: now.clock,
                    live: true,
                    activity: Links::default(),
                    age: Links::default(),
                    size: 0,
                    spans: 0,
                };
                let boxed = match self.spare.pop() {
                    Some(mut boxed) => {
                        *boxed = entry;
                        boxed
                    }
                    None => Box::new(entry),
                };
                let slot = self.entries.insert(boxed);
                let entries = &self.entries;
                let hash = |slot: &usize| entries.get(*slot).map_or(0, |entry| entry.hash);
                self.slots.insert_unique(head.hash, slot, hash);
                self.active.push_back(&mut self.entries, slot);
                self.by_age.push_back(&mut self.entries, slot);
                slot
            }
        };
        self.work(slot, now, env, out, work)
    }

    /// The same of an id that is there; `None` if it is not.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn with_known<T>(
        &mut self,
        hash: u64,
        id: &[u8],
        service: &str,
        now: Timestamp,
        env: &Env,
        out: &mut Outbox,
        work: impl FnOnce(&mut Instance, &mut Pool, &mut Outbox) -> T,
    ) -> Option<T> {
        let slot = self.find(hash, id, service)?;
        self.work(slot, now, env, out, work)
    }

    fn find(&self, hash: u64, id: &[u8], service: &str) -> Option<usize> {
        let is_same = |slot: &usize| {
            self.entries.get(*slot).is_some_and(|entry| *entry.id == *id && entry.instance.service() == service)
        };
        self.slots.find(hash, is_same).copied()
    }

    fn work<T>(
        &mut self,
        slot: usize,
        now: Timestamp,
        env: &Env,
        out: &mut Outbox,
        work: impl FnOnce(&mut Instance, &mut Pool, &mut Outbox) -> T,
    ) -> Option<T> {
        let entry = self.entries.get_mut(slot)?;
        // Connections may be a little late with what they read.
        entry.touched = entry.touched.max(now.clock);
        let result = work(&mut entry.instance, &mut self.pool, out);
        if entry.instance.is_blank() {
            self.forget(slot, env);
        } else {
            self.settle(slot, out);
        }
        self.enforce(now, env, out);
        Some(result)
    }

    /// Brings accounts and lists up to date after work on a trace.
    fn settle(&mut self, slot: usize, out: &mut Outbox) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let size = block_of::<Entry>(1) + index::BYTES_OF_ID + entry.held();
        let spans = entry.instance.spans.len();
        self.size = self.size + size - entry.size;
        self.spans = self.spans + spans - entry.spans;
        (entry.size, entry.spans) = (size, spans);
        if let Some(trace_id) = entry.instance.trace_id()
            && entry.instance.indexed as usize != spans
        {
            out.changes.push((trace_id, spans as i32 - entry.instance.indexed as i32));
            entry.instance.indexed = spans as u32;
        }
        let (was_live, live) = (entry.live, entry.instance.is_live());
        entry.live = live;
        if live && !was_live {
            entry.born = entry.touched;
        }
        if was_live { &mut self.active } else { &mut self.ended }.remove(&mut self.entries, slot);
        if live { &mut self.active } else { &mut self.ended }.push_back(&mut self.entries, slot);
        match (was_live, live) {
            (true, false) => self.by_age.remove(&mut self.entries, slot),
            (false, true) => self.by_age.push_back(&mut self.entries, slot),
            _ => {}
        }
    }

    /// All memory that it holds.
    fn held(&self) -> usize {
        let slots = block(self.slots.allocation_size()) + block_of::<Option<(usize, usize)>>(self.entries.capacity());
        let spare = block_of::<Box<Entry>>(self.spare.capacity()) + self.spare.len() * block_of::<Entry>(1);
        self.size + slots + spare + self.pool.held()
    }

    /// Gives back what is kept for what comes next; false if there is nothing.
    fn give_back(&mut self) -> bool {
        let held = self.held();
        (self.pool, self.spare) = (Pool::default(), Vec::new());
        self.held() < held
    }

    fn enforce(&mut self, now: Timestamp, env: &Env, out: &mut Outbox) {
        while self.is_beyond(self.bounds) && self.make_room(self.bounds, now, env, out) {}
    }

    fn is_beyond(&self, bounds: Bounds) -> bool {
        self.held() > bounds.memory || self.ended.len() > bounds.ended
    }

    /// Gives back what is spare, or ends or forgets an id; false if there is none.
    fn make_room(&mut self, bounds: Bounds, now: Timestamp, env: &Env, out: &mut Outbox) -> bool {
        if self.held() > bounds.memory && self.give_back() {
            return true;
        }
        if let Some(slot) = self.ended.front() {
            env.counters.ids_forgotten_early.one();
            self.forget(slot, env);
        } else if let Some(slot) = self.active.front() {
            env.counters.ids_evicted.one();
            out.evicted += 1;
            self.end(slot, EndCause::Evicted, now, env, out);
        } else {
            return false;
        }
        true
    }

    /// Has other bounds. Makes room for smaller ones by a number of ids, and lets nobody take that room; true if that was
    /// all.
    pub(super) fn keep_to(&mut self, bounds: Bounds, now: Timestamp, env: &Env, out: &mut Outbox) -> bool {
        for _ in 0..SWEEP_BATCH {
            if !self.is_beyond(bounds) || !self.make_room(bounds, now, env, out) {
                self.bounds = bounds;
                return true;
            }
        }
        self.bounds = Bounds { memory: bounds.memory.max(self.held()), ended: bounds.ended.max(self.ended.len()) };
        false
    }

    /// Ends the spans of a live id.
    fn end(&mut self, slot: usize, cause: EndCause, now: Timestamp, env: &Env, out: &mut Outbox) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        // Nobody knows when an idle id really ended; to wait for more was our affair.
        let idle = now.clock.saturating_duration_since(entry.touched);
        let at = if cause == EndCause::Idle { now.wall.checked_sub(idle).unwrap_or(now.wall) } else { now.wall };
        entry.instance.end(cause, at, now.clock, env, &mut self.pool, &mut out.spans);
        entry.touched = entry.touched.max(now.clock);
        self.settle(slot, out);
        if self.entries.get(slot).is_some_and(|entry| entry.live) {
            // It never opened a span: there is nothing that a late message could join.
            self.forget(slot, env);
        }
    }

    fn forget(&mut self, slot: usize, env: &Env) {
        let Some(entry) = self.entries.get(slot) else { return };
        let (hash, live) = (entry.hash, entry.live);
        if let Ok(occupied) = self.slots.find_entry(hash, |other| *other == slot) {
            occupied.remove();
        }
        if live {
            self.active.remove(&mut self.entries, slot);
            self.by_age.remove(&mut self.entries, slot);
        } else {
            self.ended.remove(&mut self.entries, slot);
        }
        let Some(entry) = self.entries.try_remove(slot) else { return };
        self.size -= entry.size;
        self.spans -= entry.spans;
        env.counters.reserved_never_opened.add(entry.instance.reserved_count());
        if self.entries.is_empty() {
            // What is empty holds nothing.
            (self.slots, self.entries) = (HashTable::new(), Slab::new());
            self.give_back();
        } else if self.spare.len() < MAX_SPARE && entry.held() == 0 {
            self.spare.push(entry);
        }
    }

    /// Ends and forgets what is due, up to a number; true if that was all.
    pub(super) fn sweep(&mut self, now: Timestamp, env: &Env, out: &mut Outbox) -> bool {
        let done = self.end_due(now, env, out);
        self.enforce(now, env, out);
        done
    }

    fn end_due(&mut self, now: Timestamp, env: &Env, out: &mut Outbox) -> bool {
        let config = &env.config;
        let is_due = |since: Instant, after: Duration| now.clock.saturating_duration_since(since) >= after;
        for _ in 0..SWEEP_BATCH {
            let (ended, idle, oldest) = (self.ended.front(), self.active.front(), self.by_age.front());
            let touched = |slot: &usize| self.entries.get(*slot).map(|entry| entry.touched);
            let born = |slot: &usize| self.entries.get(*slot).map(|entry| entry.born);
            if let Some(slot) = ended.filter(|slot| touched(slot).is_some_and(|t| is_due(t, config.remember_ended))) {
                self.forget(slot, env);
            } else if let Some(slot) = idle.filter(|slot| touched(slot).is_some_and(|t| is_due(t, config.idle_timeout)))
            {
                self.end(slot, EndCause::Idle, now, env, out);
            } else if let Some(slot) = oldest.filter(|slot| born(slot).is_some_and(|t| is_due(t, config.max_lifetime)))
            {
                self.end(slot, EndCause::Limit, now, env, out);
            } else {
                return true;
            }
        }
        false
    }

    /// When there will be something to sweep.
    pub(super) fn next_deadline(&self, config: &TracerConfig) -> Option<Instant> {
        let entry = |slot: Option<usize>| slot.and_then(|slot| self.entries.get(slot));
        let due = [
            entry(self.ended.front()).and_then(|entry| entry.touched.checked_add(config.remember_ended)),
            entry(self.active.front()).and_then(|entry| entry.touched.checked_add(config.idle_timeout)),
            entry(self.by_age.front()).and_then(|entry| entry.born.checked_add(config.max_lifetime)),
        ];
        due.into_iter().flatten().min()
    }

    /// Ends and forgets up to a number of ids; true if that was all.
    pub(super) fn shut_down(&mut self, now: Timestamp, env: &Env, out: &mut Outbox) -> bool {
        for _ in 0..SWEEP_BATCH {
            if let Some(slot) = self.active.front() {
                self.end(slot, EndCause::Shutdown, now, env, out);
            } else if let Some(slot) = self.ended.front() {
                self.forget(slot, env);
            } else {
                return true;
            }
        }
        false
    }

    /// Adds its gauges.
    pub(super) fn add_to(&self, stats: &mut TracerStats) {
        stats.open_ids += self.active.len() as u64;
        stats.remembered_ids += self.ended.len() as u64;
        stats.open_spans += self.spans as u64;
        stats.table_bytes += self.held() as u64;
    }
}
