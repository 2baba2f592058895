//! The state of one id: its open spans, and the trace to which they belong.

use std::mem::size_of;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceId, TraceState};
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::clock::Clock;
use super::config::TracerConfig;
use super::counters::Counters;
use super::propagation::{self, Baggage, RemoteParent};
use super::span::{EndCause, ExportContext, OpenSpan};
use crate::export::FinishedSpan;

/// What all ids share.
pub(super) struct Env {
    pub(super) config: TracerConfig,
    pub(super) counters: Counters,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RandomIdGenerator,
    pub(super) scope: InstrumentationScope,
}

/// Does an id have its trace id yet?
#[derive(Debug)]
enum Binding {
    /// No; an implicit inject may have given out a provisional one.
    Unbound { provisional: Option<TraceId> },
    /// Yes.
    Bound {
        trace_id: TraceId,
        parent: Option<Box<RemoteParent>>,
        /// Decided at the end of the NOTIFY.
        sampled: Option<bool>,
    },
}

/// A span id that was injected before its span opened.
#[derive(Debug)]
struct Reserved {
    name: String,
    span_id: SpanId,
    /// By the present NOTIFY: HAProxy does not know it yet.
    fresh: bool,
}

/// What the answer to a NOTIFY propagates.
#[derive(Debug, PartialEq)]
pub(super) struct Injection {
    /// By `inject=`, not implicitly.
    pub(super) explicit: bool,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) sampled: bool,
    pub(super) tracestate: Option<Box<str>>,
    pub(super) baggage: Option<String>,
}

/// One id of one service.
#[derive(Debug)]
pub(super) struct Trace {
    service: Arc<str>,
    binding: Binding,
    /// The first span that opened. What refers to an unknown span becomes its child.
    root: Option<SpanId>,
    pub(super) spans: Vec<OpenSpan>,
    /// Ended, and exported at the end of the NOTIFY.
    ended: Vec<OpenSpan>,
    reserved: Vec<Reserved>,
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
    /// When the last NOTIFY was received.
    pub(super) seen: SystemTime,
    /// Open spans that the index of traces knows of.
    pub(super) indexed: usize,
}

impl Trace {
    pub(super) fn new(service: Arc<str>, seen: SystemTime) -> Self {
        Trace {
            service,
            binding: Binding::Unbound { provisional: None },
            root: None,
            spans: Vec::new(),
            ended: Vec::new(),
            reserved: Vec::new(),
            baggage: Baggage::default(),
            explicit: false,
            inject: None,
            implicit: None,
            replaced: false,
            answered: None,
            seen,
            indexed: 0,
        }
    }

    pub(super) fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// Nothing happened that is worth remembering.
    pub(super) fn is_blank(&self) -> bool {
        self.root.is_none()
            && matches!(self.binding, Binding::Unbound { provisional: None })
            && self.reserved.is_empty()
            && self.baggage.size() == 0
    }

    /// All its spans have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.spans.is_empty() && self.root.is_some()
    }

    /// Memory that it occupies, as an estimate, without itself.
    pub(super) fn size(&self) -> usize {
        let spans: usize = self.spans.iter().map(OpenSpan::size).sum();
        let reserved: usize = self.reserved.iter().map(|reserved| size_of::<Reserved>() + reserved.name.len()).sum();
        let parent = match &self.binding {
            // The trace state is there twice.
            Binding::Bound { parent: Some(parent), .. } => {
                size_of::<RemoteParent>() + parent.tracestate.as_ref().map_or(0, |state| 3 * state.len())
            }
            _ => 0,
        };
        self.service.len() + spans + reserved + parent + self.baggage.size()
    }

    /// Its trace id, if bound.
    pub(super) fn trace_id(&self) -> Option<TraceId> {
        match self.binding {
            Binding::Bound { trace_id, .. } => Some(trace_id),
            Binding::Unbound { .. } => None,
        }
    }

    /// False if what is recorded would not be exported anyway.
    pub(super) fn is_recording(&self) -> bool {
        !matches!(self.binding, Binding::Bound { sampled: Some(false), .. })
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
        self.spans.iter().position(|span| span.name == name)
    }

    /// The span that takes the children of unknown spans: its id, and its start if it is open.
    pub(super) fn root(&self) -> Option<(SpanId, Option<SystemTime>)> {
        let root = self.root?;
        Some((root, self.spans.iter().find(|span| span.span_id == root).map(|span| span.start)))
    }

    /// Opens a span; `None` if there are too many.
    pub(super) fn open(&mut self, name: &str, now: SystemTime, implicit: bool, env: &Env) -> Option<usize> {
        let (span_id, start) = match self.reserved.iter().position(|reserved| reserved.name == name) {
            Some(at) => {
                let reserved = self.reserved.swap_remove(at);
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
        self.spans.push(OpenSpan::new(name, span_id, start));
        self.root.get_or_insert(span_id);
        if implicit {
            self.implicit = Some(span_id);
            if !self.explicit {
                self.inject = Some(span_id);
            }
        }
        Some(self.spans.len() - 1)
    }

    /// `extract=`; false if the trace id is bound already.
    pub(super) fn bind_extracted(&mut self, parent: Option<RemoteParent>, env: &Env) -> bool {
        let Binding::Unbound { provisional } = self.binding else { return false };
        match parent {
            Some(parent) => {
                self.replaced = provisional.is_some();
                self.binding = Binding::Bound {
                    trace_id: parent.context.trace_id(),
                    parent: Some(Box::new(parent)),
                    sampled: None,
                };
            }
            None => self.bind(env),
        }
        true
    }

    /// Gives it a trace id of its own, if it has none.
    fn bind(&mut self, env: &Env) {
        if let Binding::Unbound { provisional } = self.binding {
            let trace_id = provisional.unwrap_or_else(|| env.ids.new_trace_id());
            self.binding = Binding::Bound { trace_id, parent: None, sampled: None };
        }
    }

    /// `inject=`; false if there are too many spans to reserve one more.
    pub(super) fn inject(&mut self, name: &str, env: &Env) -> bool {
        self.bind(env);
        if !self.explicit {
            self.explicit = true;
            self.inject = None;
        }
        let reserved = || self.reserved.iter().find(|reserved| reserved.name == name).map(|r| r.span_id);
        let known = self.find(name).and_then(|at| self.spans.get(at)).map(|span| span.span_id).or_else(reserved);
        let span_id = match known {
            Some(span_id) => span_id,
            None if self.names() >= env.config.max_spans_per_id => {
                env.counters.spans_refused.one();
                return false;
            }
            None => {
                let span_id = env.ids.new_span_id();
                self.reserved.push(Reserved { name: name.to_owned(), span_id, fresh: true });
                span_id
            }
        };
        self.inject = Some(span_id);
        true
    }

    /// Ends a span by `finish=`.
    pub(super) fn finish(&mut self, at: usize, now: SystemTime, env: &Env) {
        if at < self.spans.len() {
            let mut span = self.spans.remove(at);
            span.end_at(now, &env.counters);
            env.counters.spans_finished.one();
            self.ended.push(span);
        }
    }

    /// Ends all spans by `finish=str("*")`.
    pub(super) fn finish_all(&mut self, now: SystemTime, env: &Env) {
        env.counters.spans_finished.add(self.spans.len());
        for mut span in self.spans.drain(..) {
            span.end_at(now, &env.counters);
            self.ended.push(span);
        }
    }

    /// Ends all spans for another reason than `finish=`, and exports them.
    pub(super) fn end(&mut self, cause: EndCause, at: SystemTime, env: &Env, exports: &mut Vec<FinishedSpan>) {
        cause.count(&env.counters, self.spans.len());
        for mut span in self.spans.drain(..) {
            span.end_at(at, &env.counters);
            span.set_end_cause(cause);
            self.ended.push(span);
        }
        self.export(env, exports);
        self.spans.shrink_to_fit();
    }

    /// The end of a NOTIFY: decides on sampling, exports what ended, says what to inject. `implicit`: it had a message
    /// that injects implicitly.
    pub(super) fn end_notify(
        &mut self,
        implicit: bool,
        env: &Env,
        exports: &mut Vec<FinishedSpan>,
    ) -> Option<Injection> {
        self.export(env, exports);
        if implicit && std::mem::take(&mut self.replaced) && !self.explicit {
            self.inject = self.inject.or(self.implicit);
        }
        let injection = self.inject.take().map(|span_id| self.injection(span_id, env));
        if self.reserved.is_empty() {
            self.answered = None;
        } else {
            self.reserved.iter_mut().for_each(|reserved| reserved.fresh = false);
            self.answered = Some(env.clock.now());
        }
        injection
    }

    fn injection(&mut self, span_id: SpanId, env: &Env) -> Injection {
        let explicit = self.explicit;
        let (trace_id, sampled, parent) = match &mut self.binding {
            Binding::Bound { trace_id, parent, sampled } => (*trace_id, sampled.unwrap_or(false), parent.as_deref()),
            Binding::Unbound { provisional } => {
                let trace_id = *provisional.get_or_insert_with(|| env.ids.new_trace_id());
                (trace_id, decide(&env.config, None, trace_id, None), None)
            }
        };
        let tracestate = parent.filter(|_| env.config.propagators.trace_context).and_then(|p| p.tracestate.clone());
        let baggage = if explicit && env.config.propagators.baggage { self.baggage.header() } else { None };
        Injection { explicit, trace_id, span_id, sampled, tracestate, baggage }
    }

    /// Decides on sampling once the trace id is bound, and exports the ended spans.
    fn export(&mut self, env: &Env, exports: &mut Vec<FinishedSpan>) {
        if !self.ended.is_empty() {
            self.bind(env);
        }
        let Binding::Bound { trace_id, parent, sampled } = &mut self.binding else { return };
        let sampled = *sampled.get_or_insert_with(|| {
            let root = self.root.and_then(|id| self.spans.iter().chain(&self.ended).find(|span| span.span_id == id));
            let sampled = decide(&env.config, parent.as_ref().map(|parent| &parent.context), *trace_id, root);
            let counters = &env.counters;
            if sampled { &counters.traces_sampled } else { &counters.traces_unsampled }.one();
            sampled
        });
        if !sampled {
            env.counters.spans_unsampled.add(self.ended.len());
            self.ended.clear();
            return;
        }
        let none = TraceState::NONE;
        let context = ExportContext {
            trace_id: *trace_id,
            remote_parent: parent.as_ref().map(|parent| parent.context.span_id()),
            trace_state: parent.as_ref().map_or(&none, |parent| parent.context.trace_state()),
            scope: &env.scope,
        };
        env.counters.spans_exported.add(self.ended.len());
        let service = &self.service;
        let finished = |span: OpenSpan| FinishedSpan { service: service.clone(), data: span.into_data(&context) };
        exports.extend(self.ended.drain(..).map(finished));
    }
}

fn decide(config: &TracerConfig, parent: Option<&SpanContext>, trace_id: TraceId, root: Option<&OpenSpan>) -> bool {
    let (name, kind, attributes) = match root {
        Some(root) => (root.name.as_str(), &root.kind, root.attributes.as_slice()),
        None => ("", &SpanKind::Internal, &[][..]),
    };
    config.sampler.decide(parent, trace_id, name, kind, attributes)
}

/// Reads what `extract=` gave, as far as these propagators are on.
pub(super) fn extract(trace: &mut Trace, [traceparent, tracestate, baggage]: [Option<&[u8]>; 3], env: &Env) {
    if trace.trace_id().is_some() {
        env.counters.extracts_late.one();
        return;
    }
    let mut parent = None;
    if env.config.propagators.trace_context {
        let extracted = propagation::extract(traceparent, tracestate);
        env.counters.extracts_invalid.add(extracted.invalid);
        parent = extracted.parent;
    }
    if env.config.propagators.baggage {
        env.counters.baggage_dropped.add(trace.baggage.extend(baggage.unwrap_or_default()));
    }
    trace.bind_extracted(parent, env);
}
