//! Tracing: the messages of `spoe.cfg` drive spans.
//!
//! [`Tracer::handle`] reads the messages of a NOTIFY, keeps the open spans of each id in a bounded table that all
//! connections share, gives those that ended to a [`SpanSink`], and writes what is to be propagated into the ACK.
//! [`Tracer::sweep`] ends what nobody ended.

mod answer;
mod apply;
mod attributes;
mod clock;
mod config;
mod counters;
mod env;
mod environment;
mod extract;
mod extracts;
mod index;
mod instance;
mod language;
mod lean;
mod limits;
mod line;
mod logs;
mod pool;
mod propagation;
pub(crate) mod request_end;
mod reuse;
mod sampling;
mod span;
mod table;
mod value;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use opentelemetry::trace::TraceId;
use smallvec::SmallVec;
use spop_core::AckEncoder;
use spop_core::valid::Messages;

use crate::span::{OpenSpans, SpanSink};
use env::Env;
use language::{Dialect, Head, Lean, Rejection};
use spop_agent::ratelimit::excerpt;
use spop_agent::time::Timestamp;
use table::{Outbox, Table};

pub use clock::{Clock, SystemClock};
pub use config::TracerConfig;
pub use counters::TracerStats;
pub use environment::VARIABLES;
pub use limits::SpanLimits;
pub(crate) use line::LineTracer;
pub use propagation::{Format, PropagatorError, Propagators, SUPPORTED_PROPAGATORS};
pub use sampling::{SUPPORTED_SAMPLERS, Sampler, SamplerError, SamplingRule, SamplingRuleError, SamplingStats};

/// The spans of all ids. Shared by all connections.
pub struct Tracer {
    env: ArcSwap<Env>,
    table: Table,
    index: index::TraceIndex,
    sink: Arc<dyn SpanSink>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer")
            .field("config", &self.env.load().config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer without ids.
    pub fn new(config: TracerConfig, sink: Arc<dyn SpanSink>) -> Self {
        Tracer::with_clock(config, sink, Arc::new(SystemClock))
    }

    /// The same with another clock, for tests.
    pub fn with_clock(config: TracerConfig, sink: Arc<dyn SpanSink>, clock: Arc<dyn Clock>) -> Self {
        Tracer {
            table: Table::new(&config),
            index: index::TraceIndex::default(),
            env: ArcSwap::from_pointee(Env::new(config, clock)),
            sink,
        }
    }

    /// Goes on with another configuration: open spans stay open, decisions about sampling stand, counters go on. Stays as
    /// it was: the default service. A smaller bound of the memory is kept to after the least recently used ids are ended.
    /// To be called by one at a time.
    pub fn reconfigure(&self, config: TracerConfig, now: Timestamp) {
        let env = Arc::new(self.env.load().with(config));
        self.env.store(env.clone());
        let bounds = self.table.bounds(&env.config);
        self.in_batches(&env, |shard, out| shard.keep_to(bounds, now, &env, out));
    }

    /// Carries out the messages of a NOTIFY, whose bytes were read at `received`, and adds the actions to its ACK.
    ///
    /// Does not block: no I/O, and no lock is held for longer than the messages of one id take.
    pub fn handle(&self, messages: Messages<'_>, received: Timestamp, ack: &mut AckEncoder<'_>) {
        let env = &**self.env.load();
        let counters = &env.counters;
        let mut heads: SmallVec<[Head<'_>; 4]> = SmallVec::new();
        let (mut taken, mut too_many) = (0, 0);
        for message in messages {
            let Some(dialect) = Dialect::of(message.name) else {
                counters.messages_foreign.one();
                continue;
            };
            counters.messages.one();
            taken += 1;
            if taken > env.config.max_messages_per_notify {
                too_many += 1;
                continue;
            }
            if let Some(lean) = Lean::parse(&message) {
                counters.messages_lean.one();
                lean::answer(lean, received, env, ack);
                continue;
            }
            match Head::parse(dialect, &message, &env.config.default_service, &self.table.hasher, counters) {
                Ok(head) => heads.push(head),
                Err(rejection) => reject(rejection, message.name, env),
            }
        }
        bring_together(&mut heads);
        let mut spans_left = env.config.max_spans_per_notify;
        for group in heads.chunk_by(Head::same_key) {
            if spans_left == 0 {
                too_many += group.len();
            } else {
                self.handle_id(group, received, env, ack, &mut spans_left);
            }
        }
        reject_beyond(too_many, env);
    }

    /// Carries out the messages of one id.
    fn handle_id(
        &self,
        heads: &[Head<'_>],
        received: Timestamp,
        env: &Env,
        ack: &mut AckEncoder<'_>,
        spans_left: &mut usize,
    ) {
        let Some(first) = heads.first() else { return };
        let implicit = heads.iter().any(|head| head.dialect == Dialect::OpenTracing);
        let mut out = Outbox::default();
        let injection = self.table.shard(first.hash).and_then(|mut shard| {
            shard.with_instance(first, received, env, &mut out, |instance, pool, out| {
                if reuse::begins_anew(instance, heads, env) {
                    instance.restart(env);
                }
                for head in heads {
                    apply::apply(instance, head, received, env, pool, spans_left);
                }
                instance.end_notify(implicit, received.clock, env, pool, &mut out.spans)
            })
        });
        self.pass_on(out, env);
        if let Some(injection) = injection.flatten() {
            answer::write(&injection, env, ack);
        }
    }

    /// Ends the spans of ids that are idle or too old, and forgets ids that ended long ago.
    pub fn sweep(&self, now: Timestamp) {
        let env = self.env.load_full();
        self.in_batches(&env, |shard, out| shard.sweep(now, &env, out));
    }

    /// When [`sweep`](Self::sweep) will find something to do, unless messages come for those ids until then. `None`:
    /// not before the next message.
    pub fn next_deadline(&self) -> Option<Instant> {
        let env = self.env.load();
        self.table.shards().filter_map(|shard| shard.next_deadline(&env.config)).min()
    }

    /// Ends all open spans, as the agent stops, and forgets all ids. After the last NOTIFY.
    pub fn shut_down(&self, now: Timestamp) {
        let env = self.env.load_full();
        self.in_batches(&env, |shard, out| shard.shut_down(now, &env, out));
    }

    /// Works on each shard until it says that it is done; others may have the lock in between.
    fn in_batches(&self, env: &Env, work: impl Fn(&mut table::Shard, &mut Outbox) -> bool) {
        for at in 0..self.table.len() {
            let mut done = false;
            while !done {
                let mut out = Outbox::default();
                done = self.table.shard_at(at).is_none_or(|mut shard| work(&mut shard, &mut out));
                self.pass_on(out, env);
            }
        }
    }

    /// Counters and gauges.
    pub fn stats(&self) -> TracerStats {
        let env = self.env.load();
        // Before the counters: who sees no open span sees how all of them ended.
        let mut held = TracerStats::default();
        for shard in self.table.shards() {
            shard.add_to(&mut held);
        }
        let TracerStats { open_ids, remembered_ids, open_spans, table_bytes, .. } = held;
        let max_table_bytes = env.config.max_memory as u64;
        TracerStats { open_ids, remembered_ids, open_spans, table_bytes, max_table_bytes, ..env.counters.snapshot() }
    }

    /// How many traces were sampled, by who decided: each rule, the caller, the sampler.
    pub fn sampling_stats(&self) -> Vec<SamplingStats> {
        self.env.load().sampling.stats()
    }

    /// The number of open spans of a trace, of all its ids here.
    pub fn open_spans(&self, trace_id: TraceId) -> usize {
        self.index.open_spans(trace_id)
    }

    fn pass_on(&self, out: Outbox, env: &Env) {
        // First, so that nobody takes a trace for incomplete who has just got its last span.
        for (trace_id, by) in out.changes {
            self.index.change(trace_id, by);
        }
        if !out.spans.is_empty() {
            self.sink.submit(&out.spans);
        }
        if out.evicted > 0
            && let Some(left_out) = env.logs.evicted.pass()
        {
            tracing::warn!(
                ids = out.evicted,
                left_out,
                max_memory = env.config.max_memory,
                "the table of open spans is full: the least recently used ids were ended"
            );
        }
    }
}

impl OpenSpans for Tracer {
    fn open_spans(&self, trace_id: TraceId) -> usize {
        Tracer::open_spans(self, trace_id)
    }
}

fn reject(rejection: Rejection, message: &[u8], env: &Env) {
    let counters = &env.counters;
    let [no_id, null, empty, long] = &env.logs.rejected;
    let (counter, log) = match rejection {
        Rejection::Missing => (&counters.rejected_no_id, no_id),
        Rejection::Null => (&counters.rejected_null_id, null),
        Rejection::Empty => (&counters.rejected_empty_id, empty),
        Rejection::TooLong => (&counters.rejected_long_id, long),
    };
    counter.one();
    if let Some(left_out) = log.pass() {
        // `message` would be the line's own text.
        let name = excerpt(message);
        tracing::warn!(?name, left_out, "message rejected: {}", rejection.text());
    }
}

/// Rejects so many messages of a NOTIFY that is beyond its bounds.
fn reject_beyond(messages: usize, env: &Env) {
    env.counters.rejected_too_many.add(messages);
    if messages > 0
        && let Some(left_out) = env.logs.too_many.pass()
    {
        tracing::warn!(
            messages,
            left_out,
            "messages rejected: too many in a NOTIFY (--max-messages-per-notify, --max-spans-per-notify)"
        );
    }
}

/// Brings messages of the same id together; the order of the ids is that of their first messages.
fn bring_together(heads: &mut [Head<'_>]) {
    let Some((first, rest)) = heads.split_first() else { return };
    if rest.iter().all(|head| head.hash == first.hash) {
        return;
    }
    let mut order = HashMap::with_capacity(heads.len());
    for head in heads.iter() {
        let next = order.len();
        order.entry(head.hash).or_insert(next);
    }
    heads.sort_by_key(|head| order.get(&head.hash).copied());
}
