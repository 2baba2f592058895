//! From a line to spans.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use opentelemetry::SpanId;
use smallvec::SmallVec;
use spop_agent::ratelimit::{LogLimit, excerpt};
use spop_agent::time::Timestamp;
use spop_core::Value;

use super::config::LineConfig;
use super::counters::{Counters, LineStats};
use super::ended::Ended;
use super::gaps::Gaps;
use super::outcome::Outcome;
use super::record::{Record, Unusable};
use super::sink::{LineSink, Sender};
use super::spans::{Beyond, Source};
use super::syslog::{self, Message};
use crate::export::text::nanos;
use crate::metric::Counter;
use crate::red::Red;
use crate::request_context::{RANDOM, RequestContext};
use crate::semconv::{HAPROXY_TERMINATION_STATE, HTTP_REQUEST_SIZE, HTTP_RESPONSE_SIZE, HTTP_RESPONSE_STATUS_CODE};
use crate::tracer::request_end::{Known, RequestEnd, SideEnd};
use crate::tracer::{LineTracer, Tracer};

/// A line of a request that ended so long ago, or will, is not believed.
const FARTHEST: Duration = Duration::from_secs(24 * 3600);

/// What takes lines, and makes spans of them.
#[derive(Debug)]
pub struct Lines {
    config: ArcSwap<LineConfig>,
    tracer: Arc<Tracer>,
    red: Arc<Red>,
    counters: Counters,
    gaps: Mutex<Gaps>,
    /// Log lines of our own about those that are cut, and about those that are malformed.
    cut: LogLimit,
    malformed: LogLimit,
    missing: LogLimit,
}

impl LineSink for Lines {
    fn take(&self, sender: Sender, line: &[u8]) {
        self.take_at(sender, line, Timestamp::now());
    }
}

impl Lines {
    /// Lines whose spans go to this tracer's destinations, and by its rules; all of their requests are measured.
    pub fn new(config: LineConfig, tracer: Arc<Tracer>, red: Arc<Red>) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            tracer,
            red,
            counters: Counters::default(),
            gaps: Mutex::default(),
            cut: LogLimit::new(),
            malformed: LogLimit::new(),
            missing: LogLimit::new(),
        }
    }

    /// Makes something else of lines from now on.
    pub fn reconfigure(&self, config: LineConfig) {
        self.config.store(Arc::new(config));
    }

    /// The counters.
    pub fn stats(&self) -> LineStats {
        let gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        LineStats {
            missing: gaps.missing(),
            sources: gaps.sources(),
            sources_forgotten: gaps.forgotten(),
            ..self.counters.snapshot()
        }
    }

    /// Takes a line that came at this instant.
    pub fn take_at(&self, sender: Sender, line: &[u8], now: Timestamp) {
        let (process, params) = match syslog::read(line) {
            Message::Ours { process, params } => (process, params),
            Message::Foreign => return self.counters.foreign.one(),
            Message::Cut => return self.was_cut(),
            Message::Malformed => return self.is_malformed("it is no message of syslog by RFC 5424"),
        };
        let record = match Record::read(params) {
            Ok(record) => record,
            Err(Unusable::Cut) => return self.was_cut(),
            Err(Unusable::Malformed(param)) => return self.is_malformed(param),
        };
        let tracer = &self.tracer.for_line();
        let by_haproxy = |text| RequestContext::by_haproxy(text, record.parent, tracer.new_span_id());
        let context = match record.context {
            [] => None,
            text => match RequestContext::parse(text).or_else(|| by_haproxy(text)) {
                Some(context) => Some(context),
                None => return self.is_malformed("c, or p"),
            },
        };
        if Duration::from_micros(record.end).abs_diff(since_epoch(now.wall)) > FARTHEST {
            return self.is_malformed("e: it is too far from now");
        }
        self.counters.ours.one();
        self.count_missing(sender, process, &record);
        self.outcome(&record, context, tracer, now).one();
    }

    fn was_cut(&self) {
        self.counters.cut.one();
        if let Some(left_out) = self.cut.pass() {
            tracing::warn!(
                left_out,
                "HAProxy cut a log line: give its `log` directive `len 65535`, as in haproxy-lean.cfg"
            );
        }
    }

    /// `what`: a parameter's name.
    fn is_malformed(&self, what: &str) {
        self.counters.malformed.one();
        if let Some(left_out) = self.malformed.pass() {
            tracing::warn!(
                left_out,
                what,
                "a log line is malformed: compare log-format-sd with haproxy-lean.cfg; `option logasap` must not be set"
            );
        }
    }

    fn count_missing(&self, sender: Sender, process: &[u8], record: &Record<'_>) {
        let Some(number) = record.number else { return };
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let more = gaps.line(sender, process, record.frontend, number);
        drop(gaps);
        // One may be overtaken by the next.
        if more > 1
            && let Some(missing) = self.missing.occurred(more)
        {
            let [process, frontend] = [process, record.frontend.as_bytes()].map(excerpt);
            tracing::warn!(
                missing,
                ?sender,
                ?process,
                ?frontend,
                "log lines of HAProxy did not come, or without their numbers"
            );
        }
    }

    /// Makes what is to be made of a request, and says how it is to be counted.
    fn outcome(
        &self,
        record: &Record<'_>,
        context: Option<RequestContext>,
        tracer: &LineTracer<'_>,
        now: Timestamp,
    ) -> &Counter {
        let counters = &self.counters;
        let ended = Ended::of(record);
        let config = &**self.config.load();
        let known = match context {
            Some(context) => Ok((context, context.flags.is_sampled() && !tracer.is_disabled())),
            None => self.without_context(&ended, tracer, now),
        };
        let decided = known.and_then(|(context, sampled)| match kept(&ended, tracer, config) {
            _ if sampled => Ok((context, None, &counters.traced)),
            Some(ERROR) => Ok((context, Some(ERROR), &counters.kept_error)),
            Some(kept) => Ok((context, Some(kept), &counters.kept_slow)),
            None => Err(&counters.unsampled),
        });
        self.measure(&ended, tracer, decided.as_ref().ok().map(|(context, ..)| context));
        let (context, kept, counter) = match decided {
            Ok(decided) => decided,
            Err(counter) => return counter,
        };
        let origin = tracer.origin(&record.service);
        let tracestate = tracer.tracestate(&record.tracestate);
        let limits = tracer.span_limits();
        let source = Source { ended: &ended, context, tracestate, origin: &origin, limits, kept };
        let new_id: &dyn Fn() -> SpanId = &|| tracer.new_span_id();
        let mut beyond = Beyond::default();
        let spans = source.spans(config.phases.then_some(new_id), &mut beyond);
        counters.spans.add(spans.len());
        tracer.take_finished(&spans, beyond.attributes_dropped, beyond.values_cut);
        counter
    }

    /// Counts a request and how long it took, whether it has spans or not. `context`: of its spans.
    fn measure(&self, ended: &Ended<'_>, tracer: &LineTracer<'_>, context: Option<&RequestContext>) {
        if !ended.is_http() {
            return;
        }
        let service = tracer.service(&ended.record.service);
        self.red.server(service, &ended.measured_server(context.map(|context| (context.trace_id, context.server))));
        if let Some(client) = ended.measured_client(context.map(|context| (context.trace_id, context.client))) {
            self.red.client(service, &client);
        }
    }

    /// A line without ids: spans of messages may be open under its request's id; or HAProxy could not read the request,
    /// which is a trace of its own; or it was not to be traced.
    fn without_context(
        &self,
        ended: &Ended<'_>,
        tracer: &LineTracer<'_>,
        now: Timestamp,
    ) -> Result<(RequestContext, bool), &Counter> {
        let (record, counters) = (ended.record, &self.counters);
        if !record.id.is_empty() {
            match end_request(ended, tracer, now) {
                Known::Ended => return Err(&counters.completed),
                Known::EndedBefore => return Err(&counters.ended_before),
                Known::Unsampled => return Err(&counters.unsampled),
                Known::Nothing => {}
            }
        }
        if !record.method.is_empty() || record.tcp {
            return Err(&counters.untraced);
        }
        if record.status.is_none() {
            return Err(&counters.no_request);
        }
        let (trace_id, sampled) = tracer.new_trace(&record.service, now.clock);
        let [server, client] = [(); 2].map(|()| tracer.new_span_id());
        let flags = RANDOM.with_sampled(sampled);
        Ok((RequestContext { trace_id, server, client, parent: None, flags }, sampled))
    }
}

/// Why a request that is not sampled is kept nevertheless.
fn kept(ended: &Ended<'_>, tracer: &LineTracer<'_>, config: &LineConfig) -> Option<&'static str> {
    if tracer.is_disabled() {
        None
    } else if config.keep_errors && ended.server.error.is_some() {
        Some(ERROR)
    } else {
        config.keep_slower_than.filter(|limit| ended.times.duration() >= *limit).map(|_| SLOW)
    }
}

fn end_request(ended: &Ended<'_>, tracer: &LineTracer<'_>, now: Timestamp) -> Known {
    let Ended { record, times, server, client, .. } = ended;
    let client = client.as_ref();
    let mut server_attributes = status(server);
    let sizes = [(HTTP_REQUEST_SIZE, record.uploaded), (HTTP_RESPONSE_SIZE, record.downloaded)];
    server_attributes.extend(sizes.into_iter().filter_map(|(name, size)| Some((name, Value::UInt64(size?)))));
    if record.termination != *b"--" {
        server_attributes.push((HAPROXY_TERMINATION_STATE, Value::String(&record.termination)));
    }
    let client_attributes = client.map(status).unwrap_or_default();
    let end = RequestEnd {
        at: UNIX_EPOCH + Duration::from_nanos(times.end),
        server: SideEnd { error: server.error.as_deref(), attributes: &server_attributes },
        client: client.map(|client| SideEnd { error: client.error.as_deref(), attributes: &client_attributes }),
    };
    tracer.end_request(&record.service, &record.id, &end, now)
}

/// Values of [`HAPROXY_SPAN_KEPT`](crate::semconv::HAPROXY_SPAN_KEPT).
const ERROR: &str = "error";
const SLOW: &str = "slow";

type Attributes<'a> = SmallVec<[(&'static str, Value<'a>); 6]>;

fn status<'a>(outcome: &Outcome) -> Attributes<'a> {
    outcome.status.map(|status| (HTTP_RESPONSE_STATUS_CODE, Value::Int64(status.into()))).into_iter().collect()
}

fn since_epoch(time: SystemTime) -> Duration {
    Duration::from_nanos(nanos(time))
}
