//! The traces that are held back until they are finished.

use super::render::Remarks;
use crate::export::weight::Weight;
use crate::span::FinishedSpan;
use crate::worker::LONGEST_WAIT;
use opentelemetry::trace::TraceId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// So many looks at traces that are gone are not worth a search.
const FEW_LOOKS: usize = 64;

/// A trace to print.
pub(super) struct Finished {
    pub(super) spans: Vec<FinishedSpan>,
    pub(super) remarks: Remarks,
}

/// Traces by id, bounded in traces, in spans and in bytes.
pub(super) struct Store {
    quiet: Duration,
    max_traces: usize,
    max: Weight,
    traces: HashMap<TraceId, Trace>,
    held: Weight,
    /// Oldest first.
    by_age: BTreeMap<u64, TraceId>,
    /// When to look at a trace again. An entry whose trace is gone, or is
    /// another one with the same id, is passed over.
    due: BinaryHeap<Reverse<(Instant, u64, [u8; 16])>>,
    next_number: u64,
    /// The last ones printed, to mark what comes of them later.
    printed: HashSet<TraceId>,
    printed_order: VecDeque<TraceId>,
}

struct Trace {
    number: u64,
    spans: Vec<FinishedSpan>,
    bytes: usize,
    last: Instant,
    /// It had an open span when it was last looked at.
    was_open: bool,
}

impl Store {
    pub(super) fn new(quiet: Duration, max_traces: usize, max: Weight) -> Self {
        Self {
            quiet: quiet.min(LONGEST_WAIT),
            max_traces: max_traces.max(1),
            max,
            traces: HashMap::new(),
            held: Weight::default(),
            by_age: BTreeMap::new(),
            due: BinaryHeap::new(),
            next_number: 0,
            printed: HashSet::new(),
            printed_order: VecDeque::new(),
        }
    }

    /// Adds a span that holds so many bytes. Gives the oldest traces, as many as make room for it.
    pub(super) fn add(&mut self, span: FinishedSpan, bytes: usize, now: Instant) -> Vec<Finished> {
        let id = span.trace_id();
        // There may be as many places again as are in use.
        let bytes = bytes.saturating_add(2 * size_of::<FinishedSpan>());
        let mut evicted = Vec::new();
        while let Some(why) = self.is_full(id, bytes) {
            let Some(oldest) = self.evict(why) else { break };
            evicted.push(oldest);
        }
        let trace = self.traces.entry(id).or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.by_age.insert(number, id);
            let due = Reverse((now + self.quiet, number, id.to_bytes()));
            self.due.push(due);
            Trace { number, spans: Vec::new(), bytes: 0, last: now, was_open: false }
        });
        trace.last = now;
        trace.spans.push(span);
        trace.bytes += bytes;
        self.held = self.held.plus(Weight { spans: 1, bytes });
        self.forget_looks();
        evicted
    }

    /// What was printed early leaves its look behind, for as long as traces have to be quiet: not more of them than of the others.
    fn forget_looks(&mut self) {
        if self.due.len() > 2 * self.traces.len() + FEW_LOOKS {
            let traces = &self.traces;
            self.due.retain(|Reverse((_, number, id))| {
                traces.get(&TraceId::from_bytes(*id)).is_some_and(|trace| trace.number == *number)
            });
        }
    }

    /// Why a trace has to make room for a span.
    fn is_full(&self, id: TraceId, bytes: usize) -> Option<&'static str> {
        if self.held.spans >= self.max.spans {
            Some("too many spans are held back")
        } else if self.held.bytes.saturating_add(bytes) > self.max.bytes {
            Some("the spans that are held back are too large")
        } else if self.traces.len() >= self.max_traces && !self.traces.contains_key(&id) {
            Some("too many traces are held back")
        } else {
            None
        }
    }

    fn evict(&mut self, why: &'static str) -> Option<Finished> {
        let (_, &oldest) = self.by_age.first_key_value()?;
        self.remove(oldest, Some(why))
    }

    fn remove(&mut self, id: TraceId, early: Option<&'static str>) -> Option<Finished> {
        let trace = self.traces.remove(&id)?;
        self.by_age.remove(&trace.number);
        self.held = self.held.minus(Weight { spans: trace.spans.len(), bytes: trace.bytes });
        let continued = !self.printed.insert(id);
        if !continued {
            self.printed_order.push_back(id);
            if self.printed_order.len() > self.max_traces
                && let Some(oldest) = self.printed_order.pop_front()
            {
                self.printed.remove(&oldest);
            }
        }
        Some(Finished { spans: trace.spans, remarks: Remarks { continued, early } })
    }

    /// When [`Self::take_due`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Takes the traces that were quiet long enough and have no open span.
    pub(super) fn take_due(&mut self, now: Instant, is_open: impl Fn(TraceId) -> bool) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(&Reverse((due, number, bytes))) = self.due.peek() {
            if due > now {
                break;
            }
            self.due.pop();
            let id = TraceId::from_bytes(bytes);
            let Some(trace) = self.traces.get_mut(&id).filter(|t| t.number == number) else {
                continue;
            };
            let quiet_at = trace.last + self.quiet;
            let again = if quiet_at > now {
                Some(quiet_at)
            } else {
                // A span that was open a moment ago may still be on its way
                // here, so its end, too, is followed by a quiet time.
                let is_open = is_open(id);
                let waits = is_open || trace.was_open;
                trace.was_open = is_open;
                waits.then(|| now + self.quiet.max(Duration::from_millis(10)))
            };
            match again {
                Some(due) => self.due.push(Reverse((due, number, bytes))),
                None => finished.extend(self.remove(id, None)),
            }
        }
        finished
    }

    /// Takes all traces, oldest first, because the console ends.
    pub(super) fn drain(&mut self, is_open: impl Fn(TraceId) -> bool) -> Vec<Finished> {
        let ids: Vec<_> = self.by_age.values().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id, is_open(id).then_some("shutdown"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Origins;

    #[test]
    fn traces_that_are_printed_early_leave_nothing_behind() {
        let mut store = Store::new(Duration::from_secs(3600), 10, Weight { spans: 1000, bytes: 1 << 20 });
        let (origin, now) = (Origins::default().of("s"), Instant::now());
        for number in 1..=10_000_u128 {
            let span = FinishedSpan::new(origin.clone(), TraceId::from(number), b"");
            store.add(span, 100, now);
            assert!(store.due.len() <= 2 * 10 + FEW_LOOKS + 1);
        }
        assert_eq!((store.traces.len(), store.take_due(now + Duration::from_secs(3600), |_| false).len()), (10, 10));
    }
}
