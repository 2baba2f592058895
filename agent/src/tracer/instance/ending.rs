//! How spans end: by `finish=`, by a limit, by the log line of their request.

use std::time::{Instant, SystemTime};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{Binding, Exports, Instance};
use crate::tracer::env::Env;
use crate::tracer::pool::Pool;
use crate::tracer::request_end::{Known, RequestEnd};
use crate::tracer::span::{EndCause, OpenSpan};
use spop_agent::time::Timestamp;

impl Instance {
    /// Ends a span by `finish=`.
    pub(in crate::tracer) fn finish(&mut self, at: usize, now: SystemTime, env: &Env, pool: &mut Pool) {
        if let Some(mut span) = self.spans.swap_remove(at) {
            span.end_at(now, &env.counters);
            env.counters.spans_finished.one();
            self.cut = false;
            pool.ended.push(span);
        }
    }

    /// Ends all spans by `finish=str("*")`.
    pub(in crate::tracer) fn finish_all(&mut self, now: SystemTime, env: &Env, pool: &mut Pool) {
        env.counters.spans_finished.add(self.spans.len());
        self.cut &= self.spans.is_empty();
        self.end_all(now, env, pool, |_| ());
        self.release_reserved(env);
    }

    /// Waits no more for what was to open before now. What the present NOTIFY reserves the next one opens.
    fn release_reserved(&mut self, env: &Env) {
        let before = self.reserved.len();
        if before == 0 {
            return;
        }
        for reserved in self.reserved.take() {
            if reserved.fresh {
                self.reserved.push(reserved);
            }
        }
        env.counters.reserved_never_opened.add(before - self.reserved.len());
    }

    /// Ends all spans for another reason than `finish=`, and exports them.
    pub(in crate::tracer) fn end(
        &mut self,
        cause: EndCause,
        at: SystemTime,
        now: Instant,
        env: &Env,
        pool: &mut Pool,
        exports: &mut Exports,
    ) {
        cause.count(&env.counters, self.spans.len());
        if self.spans.is_empty() {
            // Nothing is cut: what was announced never came.
            self.release_reserved(env);
        } else {
            self.cut = true;
        }
        self.end_all(at, env, pool, |span| span.set_end_cause(cause));
        self.export(now, env, pool, exports);
    }

    /// Ends all spans as the log line of their request says, and exports them.
    pub(in crate::tracer) fn end_request(
        &mut self,
        end: &RequestEnd<'_>,
        now: Timestamp,
        env: &Env,
        pool: &mut Pool,
        exports: &mut Exports,
    ) -> Known {
        let (open, is_recording) = (self.spans.len(), self.is_recording(env));
        if is_recording {
            // The first one stands for the request if none says that it does.
            let first = self.spans.iter().min_by_key(|span| span.number).map(|span| span.span_id);
            let server =
                self.spans.iter().find(|span| span.kind == SpanKind::Server).map(|span| span.span_id).or(first);
            for span in self.spans.iter_mut() {
                let side = match span.kind {
                    SpanKind::Client => end.client.as_ref(),
                    _ => Some(&end.server).filter(|_| Some(span.span_id) == server),
                };
                if let Some(side) = side {
                    span.end_as(side, &env.config.span_limits, &env.counters);
                }
            }
        }
        env.counters.spans_ended_line.add(open);
        self.cut &= open == 0;
        self.end_all(end.at, env, pool, |_| ());
        self.release_reserved(env);
        self.export(now.clock, env, pool, exports);
        match self.binding {
            Binding::Bound { sampled: Some(false), .. } => Known::Unsampled,
            _ if open > 0 => Known::Ended,
            _ if self.root.is_some() => Known::EndedBefore,
            _ => Known::Nothing,
        }
    }

    fn end_all(&mut self, at: SystemTime, env: &Env, pool: &mut Pool, mut mark: impl FnMut(&mut OpenSpan)) {
        let mut spans = self.spans.take();
        spans.sort_unstable_by_key(|span| span.number);
        for span in &mut spans {
            span.end_at(at, &env.counters);
            mark(span);
        }
        pool.ended.extend(spans);
    }
}
