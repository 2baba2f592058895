//! The state of one id: its open spans, and the trace to which they belong.

mod ending;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;
use smallvec::SmallVec;

use super::env::Env;
use super::pool::Pool;
use super::propagation::{Baggage, CallersDecision, Extracted, RemoteParent, SpanRef};
use super::sampling::{Request, Verdict};
use super::span::{ExportContext, OpenSpan};
use crate::heap::{block, shared};
use crate::named::{HasName, Named};
use crate::request_context::RequestContext;
use crate::span::{FinishedSpan, Origin};

/// Does an id have its trace id yet?
#[derive(Debug)]
enum Binding {
    /// No; an implicit inject may have given out a provisional one.
    Unbound { provisional: Option<(TraceId, Verdict)> },
    /// Yes.
    Bound {
        trace_id: TraceId,
        parent: Option<Parent>,
        decision: CallersDecision,
        /// By an extract argument, even if no caller was known.
        extracted: bool,
        /// What an implicit inject said of this trace id.
        provisional: Option<Verdict>,
        /// Decided at the end of the NOTIFY.
        sampled: Option<bool>,
    },
}

/// The caller's span, of the trace to which an id is bound.
#[derive(Debug)]
struct Parent {
    span_id: SpanId,
    is_random: bool,
    tracestate: Option<Arc<str>>,
}

impl From<RemoteParent> for Parent {
    fn from(parent: RemoteParent) -> Self {
        Parent { span_id: parent.span_id, is_random: parent.is_random(), tracestate: parent.tracestate }
    }
}

/// A span id that was injected before its span opened.
#[derive(Debug)]
struct Reserved {
    name: Box<str>,
    span_id: SpanId,
    /// By the present NOTIFY: HAProxy does not know it yet.
    fresh: bool,
}

impl HasName for Reserved {
    fn name(&self) -> &str {
        &self.name
    }
}

/// What the answer to a NOTIFY propagates.
#[derive(Debug, PartialEq)]
pub(super) struct Injection {
    /// By `inject=`, not implicitly.
    pub(super) explicit: bool,
    /// `None` if there is nothing to propagate: the SDK is disabled, and no caller's span is known.
    pub(super) span: Option<SpanRef>,
    /// Of a request whose spans its log line makes.
    pub(super) context: Option<RequestContext>,
    /// Are the spans of this trace recorded?
    pub(super) sampled: bool,
    pub(super) tracestate: Option<Arc<str>>,
    pub(super) baggage: Option<String>,
}

/// What ended and is sampled.
pub(super) type Exports = SmallVec<[FinishedSpan; 2]>;

/// One id of one service.
#[derive(Debug)]
pub(super) struct Instance {
    origin: Arc<Origin>,
    binding: Binding,
    /// The first span that opened. What refers to an unknown span becomes its child.
    root: Option<SpanId>,
    pub(super) spans: Named<Box<OpenSpan>>,
    /// The number of the next span.
    next_number: u32,
    /// What ended its last span was not `finish=`.
    cut: bool,
    reserved: Named<Reserved, 1>,
    pub(super) baggage: Baggage,
    /// A message used `inject=`: no implicit inject any more.
    explicit: bool,
    /// The span that the answer to the present NOTIFY propagates.
    inject: Option<SpanId>,
    /// The span that was opened last by a message that injects implicitly.
    implicit: Option<SpanId>,
    /// The trace id that an implicit inject gave out is void.
    replaced: bool,
    /// When the last NOTIFY was answered; kept while span ids are reserved.
    answered: Option<SystemTime>,
    /// Open spans that the index of traces knows of.
    pub(super) indexed: u32,
}

impl Instance {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Instance {
            origin,
            binding: Binding::Unbound { provisional: None },
            root: None,
            spans: Named::default(),
            next_number: 0,
            cut: false,
            reserved: Named::default(),
            baggage: Baggage::default(),
            explicit: false,
            inject: None,
            implicit: None,
            replaced: false,
            answered: None,
            indexed: 0,
        }
    }

    pub(super) fn service(&self) -> &str {
        self.origin.service()
    }

    /// Nothing happened that is worth remembering.
    pub(super) fn is_blank(&self) -> bool {
        self.root.is_none()
            && matches!(self.binding, Binding::Unbound { provisional: None })
            && self.reserved.is_empty()
            && self.baggage.is_empty()
    }

    /// All its spans have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.spans.is_empty() && self.root.is_some()
    }

    /// Something is open, or is yet to open: what a span id was given out for. After a limit nothing is waited for.
    pub(super) fn is_live(&self) -> bool {
        !self.has_ended() || !self.reserved.is_empty() && !self.cut
    }

    /// Was the span id of this name given out before its span?
    pub(super) fn is_reserved(&self, name: &str) -> bool {
        self.reserved.find(name).is_some()
    }

    /// It has ended, but HAProxy did not say so.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// Begins anew, as another request under the same id.
    pub(super) fn restart(&mut self, env: &Env) {
        env.counters.ids_reused.one();
        env.counters.reserved_never_opened.add(self.reserved.len());
        *self = Instance { indexed: self.indexed, ..Instance::new(self.origin.clone()) };
    }

    /// Did an extract argument bind it, and to another trace than this one?
    pub(super) fn is_extracted_from_another(&self, than: TraceId) -> bool {
        matches!(self.binding, Binding::Bound { trace_id, extracted: true, .. } if trace_id != than)
    }

    /// Memory that it holds, without itself.
    pub(super) fn held(&self) -> usize {
        let spans: usize = self.spans.iter().map(|span| span.held()).sum();
        let reserved: usize = self.reserved.iter().map(|reserved| block(reserved.name.len())).sum();
        let tracestate = match &self.binding {
            Binding::Bound { parent: Some(Parent { tracestate: Some(state), .. }), .. } => shared(state.len()),
            _ => 0,
        };
        let names = self.spans.held() + spans + self.reserved.held() + reserved;
        self.origin.held_alone() + names + tracestate + self.baggage.held()
    }

    /// Its trace id, if bound.
    pub(super) fn trace_id(&self) -> Option<TraceId> {
        match self.binding {
            Binding::Bound { trace_id, .. } => Some(trace_id),
            Binding::Unbound { .. } => None,
        }
    }

    /// False if what is recorded would not be exported anyway.
    pub(super) fn is_recording(&self, env: &Env) -> bool {
        match self.binding {
            Binding::Bound { sampled: Some(sampled), .. } => sampled,
            _ => !env.sampling.is_never(),
        }
    }

    /// The number of span ids that were injected without a span that opened.
    pub(super) fn reserved_count(&self) -> usize {
        self.reserved.len()
    }

    /// Spans and reserved span ids.
    fn names(&self) -> usize {
        self.spans.len() + self.reserved.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.spans.find(name)
    }

    /// The span that takes the children of unknown spans: its id, and its start if it is open.
    pub(super) fn root(&self) -> Option<(SpanId, Option<SystemTime>)> {
        let root = self.root?;
        // It was there first, and stays in its place.
        Some((root, self.spans.first().filter(|span| span.span_id == root).map(|span| span.start)))
    }

    /// Opens a span; `None` if there are too many.
    pub(super) fn open(
        &mut self,
        name: &str,
        now: SystemTime,
        implicit: bool,
        env: &Env,
        pool: &mut Pool,
    ) -> Option<usize> {
        let reserved = self.reserved.find(name).and_then(|at| self.reserved.swap_remove(at));
        let (span_id, start) = match reserved {
            Some(reserved) => {
                // HAProxy was free to use the injected id as soon as it had the answer.
                let start = if reserved.fresh { None } else { self.answered };
                (reserved.span_id, start.map_or(now, |answered| answered.min(now)))
            }
            None if self.names() >= env.config.max_spans_per_id => {
                env.counters.spans_refused.one();
                return None;
            }
            None => (env.ids.new_span_id(), now),
        };
        env.counters.spans_started.one();
        self.spans.push(pool.span(name, self.next_number, span_id, start));
        self.next_number = self.next_number.wrapping_add(1);
        self.root.get_or_insert(span_id);
        if implicit {
            self.implicit = Some(span_id);
            if !self.explicit {
                self.inject = Some(span_id);
            }
        }
        Some(self.spans.len() - 1)
    }

    /// `extract=` and its kin.
    pub(super) fn bind_extracted(&mut self, extracted: Extracted, env: &Env) {
        let Extracted { parent, decision, .. } = extracted;
        let Binding::Unbound { provisional } = self.binding else { return };
        self.replaced = provisional.is_some() && (parent.is_some() || decision != CallersDecision::Deferred);
        match parent {
            Some(parent) => {
                self.binding = Binding::Bound {
                    trace_id: parent.trace_id,
                    parent: Some(parent.into()),
                    decision,
                    extracted: true,
                    provisional: None,
                    sampled: None,
                };
            }
            None => self.bind(decision, true, env),
        }
    }

    /// Gives it a trace id of its own, if it has none.
    fn bind(&mut self, decision: CallersDecision, extracted: bool, env: &Env) {
        if let Binding::Unbound { provisional } = self.binding {
            let trace_id = provisional.map_or_else(|| env.ids.new_trace_id(), |(trace_id, _)| trace_id);
            let provisional = provisional.map(|(_, verdict)| verdict);
            self.binding = Binding::Bound { trace_id, parent: None, decision, extracted, provisional, sampled: None };
        }
    }

    /// `inject=`; false if there are too many spans to reserve one more.
    pub(super) fn inject(&mut self, name: &str, now: Instant, env: &Env, pool: &Pool) -> bool {
        self.bind(CallersDecision::Deferred, false, env);
        if !env.sampling.needs_path() {
            // What follows of an unsampled trace need not be recorded.
            self.decide_once(now, env, pool);
        }
        if !self.explicit {
            self.explicit = true;
            self.inject = None;
        }
        let reserved =
            || self.reserved.find(name).and_then(|at| self.reserved.get(at)).map(|reserved| reserved.span_id);
        let known = self.find(name).and_then(|at| self.spans.get(at)).map(|span| span.span_id).or_else(reserved);
        let span_id = match known {
            Some(span_id) => span_id,
            None if self.names() >= env.config.max_spans_per_id => {
                env.counters.spans_refused.one();
                return false;
            }
            None => {
                let span_id = env.ids.new_span_id();
                self.reserved.push(Reserved { name: name.into(), span_id, fresh: true });
                span_id
            }
        };
        self.inject = Some(span_id);
        true
    }

    /// The end of a NOTIFY: decides on sampling, exports what ended, says what to inject. `implicit`: it had a message
    /// that injects implicitly.
    pub(super) fn end_notify(
        &mut self,
        implicit: bool,
        now: Instant,
        env: &Env,
        pool: &mut Pool,
        exports: &mut Exports,
    ) -> Option<Injection> {
        self.export(now, env, pool, exports);
        if implicit && std::mem::take(&mut self.replaced) && !self.explicit {
            self.inject = self.inject.or(self.implicit);
        }
        let injection = self.inject.take().map(|span_id| self.injection(span_id, now, env, pool));
        if self.reserved.is_empty() {
            self.answered = None;
        } else {
            self.reserved.iter_mut().for_each(|reserved| reserved.fresh = false);
            self.answered = Some(env.clock.now());
        }
        injection
    }

    fn injection(&mut self, span_id: SpanId, now: Instant, env: &Env, pool: &Pool) -> Injection {
        let explicit = self.explicit;
        let baggage = if explicit && env.config.propagators.baggage() { self.baggage.header() } else { None };
        let (trace_id, sampled, decision, parent) = match &self.binding {
            Binding::Unbound { provisional } => {
                let (trace_id, told) = match *provisional {
                    Some((trace_id, verdict)) => (trace_id, Some(verdict)),
                    None => (env.ids.new_trace_id(), None),
                };
                let verdict = self.decide(trace_id, CallersDecision::Deferred, told, now, env, pool);
                self.binding = Binding::Unbound { provisional: Some((trace_id, verdict)) };
                (trace_id, verdict.sampled, CallersDecision::Deferred, None)
            }
            Binding::Bound { trace_id, parent, decision, sampled, .. } => {
                (*trace_id, sampled.unwrap_or(false), *decision, parent.as_ref())
            }
        };
        let random = parent.is_none_or(|parent| parent.is_random);
        let span = if env.config.disabled {
            let callers = parent.map(|parent| parent.span_id);
            callers.map(|span_id| SpanRef { trace_id, span_id, decision, random })
        } else {
            Some(SpanRef { trace_id, span_id, decision: decision.passed_on(sampled), random })
        };
        let tracestate = parent.and_then(|parent| parent.tracestate.clone());
        Injection { explicit, span, context: None, sampled, tracestate, baggage }
    }

    /// Asks whether this trace is to be sampled, by what is known of its spans.
    fn decide(
        &self,
        trace_id: TraceId,
        caller: CallersDecision,
        provisional: Option<Verdict>,
        now: Instant,
        env: &Env,
        pool: &Pool,
    ) -> Verdict {
        let request = Request { service: self.service(), trace_id, caller, provisional };
        let spans = || pool.ended.iter().chain(self.spans.iter());
        env.sampling.decide(&request, |name| spans().find_map(|span| span.attributes.text(name)), now)
    }

    /// Decides on sampling once the trace id is bound, and exports the ended spans.
    fn export(&mut self, now: Instant, env: &Env, pool: &mut Pool, exports: &mut Exports) {
        if !pool.ended.is_empty() {
            self.bind(CallersDecision::Deferred, false, env);
        }
        self.decide_once(now, env, pool);
        let Binding::Bound { trace_id, parent, sampled: Some(sampled), .. } = &self.binding else { return };
        let mut spans = std::mem::take(&mut pool.ended);
        if *sampled && !spans.is_empty() {
            env.counters.spans_exported.add(spans.len());
            let context = ExportContext {
                origin: self.origin.clone(),
                trace_id: *trace_id,
                remote_parent: parent.as_ref().map(|parent| parent.span_id),
                tracestate: parent.as_ref().and_then(|parent| parent.tracestate.clone()),
                // A trace id of our own is random.
                random: parent.as_ref().is_none_or(|parent| parent.is_random),
            };
            exports.extend(spans.iter().map(|span| span.finished(&context, &env.config.span_limits, &mut pool.bytes)));
            pool.trim();
        } else {
            env.counters.spans_unsampled.add(spans.len());
        }
        spans.drain(..).for_each(|span| pool.give_back(span));
        pool.ended = spans;
    }

    /// Decides on sampling, if its trace id is bound and nobody has decided before.
    fn decide_once(&mut self, now: Instant, env: &Env, pool: &Pool) {
        let Binding::Bound { trace_id, decision, provisional, sampled: None, .. } = self.binding else { return };
        let verdict = self.decide(trace_id, decision, provisional, now, env, pool);
        env.sampling.count(verdict);
        let counters = &env.counters;
        if verdict.sampled { &counters.traces_sampled } else { &counters.traces_unsampled }.one();
        if let Binding::Bound { sampled, .. } = &mut self.binding {
            *sampled = Some(verdict.sampled);
        }
    }
}
