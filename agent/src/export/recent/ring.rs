//! Traces by id, bounded in traces and in bytes.

use crate::export::stats::DropCause;
use crate::export::weight::Weight;
use crate::heap::shared;
use crate::list::{Linked, Links, List};
use crate::metric::metrics;
use crate::span::FinishedSpan;
use hashbrown::HashMap;
use opentelemetry::TraceId;
use slab::Slab;
use std::cmp::Reverse;
use std::mem::size_of;
use std::sync::Arc;

/// The part of all bytes that one trace may take: one in so many.
const TRACE_SHARE: usize = 4;
/// Places for spans that a trace which made room leaves to a new one.
const SPARE: usize = 16;

type Spans = Arc<Vec<FinishedSpan>>;

metrics! {
    /// The memory's own counters at one instant.
    snapshot RecentSnapshot;
    Gauge "memory_traces" "Recent traces kept for /traces." {
        /// Gauge: traces held; their spans and bytes are in [`ExportSnapshot`](crate::export::ExportSnapshot).
        traces,
    }
    Counter "memory_traces_evicted" "Traces that made room for newer ones." {
        /// Traces that made room for newer ones.
        evicted_traces,
    }
    Counter "memory_spans_evicted" "Spans of these." {
        /// Spans of these.
        evicted_spans,
    }
}

/// A trace as far as it is kept.
#[derive(Clone)]
pub(crate) struct KeptTrace {
    pub(crate) id: TraceId,
    /// Not empty; in the order in which they came.
    pub(crate) spans: Arc<Vec<FinishedSpan>>,
    /// Spans that came when the trace had its share of the memory.
    pub(crate) not_kept: usize,
}

pub(super) struct Ring {
    max_traces: usize,
    max_bytes: usize,
    /// Its hashes have a random seed: who chooses trace ids does not know which ones collide.
    slots: HashMap<TraceId, usize>,
    traces: Slab<Entry>,
    /// The one whose latest span is oldest comes first.
    by_age: List<0>,
    next_age: u64,
    /// Of a trace that made room, without spans.
    spare: Option<Spans>,
    pub(super) held: Weight,
    stats: RecentSnapshot,
    pub(super) closed: bool,
}

struct Entry {
    id: TraceId,
    age: u64,
    links: Links,
    /// Shared with readers: a span that comes meanwhile is added to a copy.
    spans: Spans,
    bytes: usize,
    not_kept: usize,
}

impl Linked<0> for Entry {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Entry {
    fn kept(&self) -> KeptTrace {
        KeptTrace { id: self.id, spans: self.spans.clone(), not_kept: self.not_kept }
    }
}

impl Ring {
    /// Memory of a trace beside its spans. There may be as many places again as are in use.
    pub(super) const TRACE: usize =
        2 * (size_of::<(TraceId, usize)>() + 1 + size_of::<Entry>()) + shared(size_of::<Vec<FinishedSpan>>());
    /// The place of a span in its trace, with the same reserve.
    pub(super) const SPAN: usize = 2 * size_of::<FinishedSpan>();

    pub(super) fn new(max_traces: usize, max_bytes: usize) -> Self {
        Self {
            max_traces,
            max_bytes,
            slots: HashMap::new(),
            traces: Slab::new(),
            by_age: List::default(),
            next_age: 0,
            spare: None,
            held: Weight::default(),
            stats: RecentSnapshot::default(),
            closed: false,
        }
    }

    pub(super) fn stats(&self) -> RecentSnapshot {
        RecentSnapshot { traces: self.traces.len() as u64, ..self.stats }
    }

    pub(super) fn get(&self, id: TraceId) -> Option<KeptTrace> {
        self.slots.get(&id).and_then(|slot| self.traces.get(*slot)).map(Entry::kept)
    }

    /// All traces, the one with the latest span first.
    pub(super) fn traces(&self) -> Vec<KeptTrace> {
        let mut entries: Vec<_> = self.traces.iter().map(|(_, entry)| entry).collect();
        entries.sort_unstable_by_key(|entry| Reverse(entry.age));
        entries.into_iter().map(Entry::kept).collect()
    }

    /// Adds a span that holds so many bytes, or says why it cannot be kept. What makes room for it goes to `evicted`.
    pub(super) fn keep(
        &mut self,
        span: &FinishedSpan,
        bytes: usize,
        evicted: &mut Vec<Spans>,
    ) -> Result<(), DropCause> {
        let id = span.trace_id();
        if self.closed {
            return Err(DropCause::Shutdown);
        }
        if id == TraceId::INVALID {
            return Err(DropCause::Rejected);
        }
        if self.max_traces == 0 {
            return Err(DropCause::QueueFull);
        }
        let bytes = bytes.saturating_add(Self::SPAN);
        let share = self.max_bytes / TRACE_SHARE;
        let known = self.slots.get(&id).copied();
        let entry = known.and_then(|slot| self.traces.get_mut(slot));
        let before = entry.as_ref().map_or(Self::TRACE, |entry| entry.bytes);
        if before.saturating_add(bytes) > share {
            if let Some(entry) = entry {
                entry.not_kept += 1;
            }
            return Err(DropCause::QueueBytes);
        }
        let slot = match known {
            Some(slot) => {
                self.by_age.remove(&mut self.traces, slot);
                slot
            }
            None => {
                let spans = self.spare.take().unwrap_or_default();
                let entry = Entry { id, age: 0, links: Links::default(), spans, bytes: before, not_kept: 0 };
                let slot = self.traces.insert(entry);
                self.slots.insert(id, slot);
                self.held.bytes += before;
                slot
            }
        };
        self.by_age.push_back(&mut self.traces, slot);
        if let Some(entry) = self.traces.get_mut(slot) {
            entry.age = self.next_age;
            entry.bytes += bytes;
            Arc::make_mut(&mut entry.spans).push(span.clone());
        }
        self.next_age += 1;
        self.held = self.held.plus(Weight { spans: 1, bytes });
        self.make_room(evicted);
        Ok(())
    }

    /// Takes out what is too much. The newest stays: its share is within the bounds.
    fn make_room(&mut self, evicted: &mut Vec<Spans>) {
        while self.traces.len() > self.max_traces || self.held.bytes > self.max_bytes {
            let Some(mut entry) = self.by_age.front().and_then(|slot| {
                self.by_age.remove(&mut self.traces, slot);
                self.traces.try_remove(slot)
            }) else {
                break;
            };
            self.slots.remove(&entry.id);
            let spans = entry.spans.len();
            self.held = self.held.minus(Weight { spans, bytes: entry.bytes });
            self.stats.evicted_traces += 1;
            self.stats.evicted_spans += spans as u64;
            match Arc::get_mut(&mut entry.spans) {
                Some(spans) if self.spare.is_none() && spans.capacity() <= SPARE => {
                    spans.clear();
                    self.spare = Some(entry.spans);
                }
                _ => evicted.push(entry.spans),
            }
        }
    }
}
