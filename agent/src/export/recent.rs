//! The recent traces, kept for the page `/traces`.
//!
//! Spans are kept as they come, this process's own and those that the
//! [receiver](super::receiver) got. What is held is bounded in traces and in
//! bytes: the trace that had no new span for longest makes room. One trace may
//! take a quarter of the bytes, so that no single one pushes out all others.

use super::decoded_size::{size_of_resource_spans, size_of_span};
use super::receiver::{ReceivedRequest, RequestSink};
use super::request::RequestBuilder;
use super::stats::{DropCause, DropLog, ExportSnapshot, ExportStats};
use super::text::{self, nanos};
use super::tree::Node;
use super::weight::Weight;
use super::{Exporter, ShutdownFuture};
use crate::resource;
use crate::span::FinishedSpan;
use bytesize::ByteSize;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The part of all bytes that one trace may take: one in so many.
const TRACE_SHARE: usize = 4;

/// Bounds of the recent traces.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RecentConfig {
    /// How many recent traces to keep for the page /traces; 0 keeps none
    #[arg(long = "admin-traces", value_name = "N", default_value_t = 500)]
    pub max_traces: usize,

    /// Memory of the recent traces: the oldest make room for new ones, and one trace may take a quarter of it
    #[arg(long = "admin-traces-bytes", value_name = "SIZE", default_value = "32MiB", value_parser = spop_agent::size::parse)]
    pub max_bytes: usize,
}

impl Default for RecentConfig {
    fn default() -> Self {
        Self { max_traces: 500, max_bytes: 32 << 20 }
    }
}

impl RecentConfig {
    /// `max_bytes` for people.
    pub(crate) fn memory(&self) -> ByteSize {
        ByteSize::b(self.max_bytes as u64)
    }
}

/// The memory's own counters at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecentSnapshot {
    /// Gauge: traces held; their spans and bytes are in [`ExportSnapshot`].
    pub traces: u64,
    /// Traces that made room for newer ones.
    pub evicted_traces: u64,
    /// Spans of these.
    pub evicted_spans: u64,
}

/// Keeps the recent traces in memory.
///
/// A span counts as exported when it is kept, and no more when it makes room
/// for a newer one.
pub struct Recent {
    config: RecentConfig,
    builder: RequestBuilder,
    stats: ExportStats,
    drop_log: DropLog,
    ring: Mutex<Ring>,
}

/// A trace as far as it is kept.
#[derive(Clone)]
pub(crate) struct KeptTrace {
    pub(crate) id: TraceId,
    /// Not empty; in the order in which they came.
    pub(crate) spans: Arc<Vec<KeptSpan>>,
    /// Spans that came when the trace had its share of the memory.
    pub(crate) not_kept: usize,
}

/// A span as it came.
#[derive(Clone)]
pub(crate) enum KeptSpan {
    Own(Arc<FinishedSpan>),
    Received(Arc<ReceivedSpan>),
}

pub(crate) struct ReceivedSpan {
    origin: Arc<Origin>,
    span: otlp::Span,
}

/// What the spans of one resource and scope have in common.
struct Origin {
    service: String,
    /// With one scope, and without spans.
    frame: otlp::ResourceSpans,
}

impl Recent {
    /// A memory with these bounds. Reads `OTEL_RESOURCE_ATTRIBUTES`, which is a
    /// part of what it shows.
    pub fn new(config: RecentConfig) -> Self {
        Self {
            ring: Mutex::new(Ring::new(config.max_traces, config.max_bytes)),
            config,
            builder: RequestBuilder::new(resource::instance_id()),
            stats: ExportStats::default(),
            drop_log: DropLog::new("spans not kept for /traces"),
        }
    }

    /// The bounds.
    pub fn config(&self) -> &RecentConfig {
        &self.config
    }

    /// The memory's own counters.
    pub fn recent_stats(&self) -> RecentSnapshot {
        let ring = self.lock();
        RecentSnapshot { traces: ring.traces.len() as u64, ..ring.stats }
    }

    /// All traces, the one with the latest span first.
    pub(crate) fn traces(&self) -> Vec<KeptTrace> {
        let ring = self.lock();
        ring.by_age.values().rev().filter_map(|id| ring.get(*id)).collect()
    }

    /// The trace of this id.
    pub(crate) fn trace(&self, id: TraceId) -> Option<KeptTrace> {
        self.lock().get(id)
    }

    /// The trace as an OTLP request.
    pub(crate) fn request(&self, trace: &KeptTrace) -> ExportTraceServiceRequest {
        let own = trace.spans.iter().filter_map(|span| match span {
            KeptSpan::Own(span) => Some(span.clone()),
            KeptSpan::Received(_) => None,
        });
        let mut request = self.builder.request(own.collect());
        let mut groups = HashMap::new();
        for span in trace.spans.iter() {
            let KeptSpan::Received(received) = span else { continue };
            let group = *groups.entry(Arc::as_ptr(&received.origin)).or_insert_with(|| {
                request.resource_spans.push(received.origin.frame.clone());
                request.resource_spans.len() - 1
            });
            for scope in &mut request.resource_spans[group].scope_spans {
                scope.spans.push(received.span.clone());
            }
        }
        request
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: TraceId, span: KeptSpan, bytes: usize) {
        self.stats.add_submitted(1);
        let kept = self.lock().keep(id, span, bytes);
        match kept {
            // What made room is freed here, after the lock.
            Ok(_evicted) => self.stats.add_exported(1),
            Err(cause) => self.drop_log.dropped(&self.stats, cause, 1),
        }
    }
}

impl Exporter for Recent {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn submit(&self, span: &Arc<FinishedSpan>) {
        let id = span.data.span_context.trace_id();
        self.keep(id, KeptSpan::Own(span.clone()), span.held());
    }

    fn stats(&self) -> ExportSnapshot {
        self.stats.snapshot().with_queue(self.lock().held)
    }

    fn shutdown(&self, _: Instant) -> ShutdownFuture<'_> {
        self.lock().closed = true;
        Box::pin(std::future::ready(()))
    }
}

impl RequestSink for Recent {
    /// Keeps the spans as far as there is room; what is not kept is not a
    /// reason to reject it, so this never reports a drop to the sender.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        for resource_spans in &request.message.resource_spans {
            let service = text::service_name(resource_spans.resource.as_ref());
            for scope_spans in &resource_spans.scope_spans {
                let scope = otlp::ScopeSpans {
                    scope: scope_spans.scope.clone(),
                    spans: Vec::new(),
                    schema_url: scope_spans.schema_url.clone(),
                };
                let frame = otlp::ResourceSpans {
                    resource: resource_spans.resource.clone(),
                    scope_spans: vec![scope],
                    schema_url: resource_spans.schema_url.clone(),
                };
                let origin_size = service.len() + size_of_resource_spans(&frame);
                let origin = Arc::new(Origin { service: service.clone(), frame });
                let mut last = None;
                for span in &scope_spans.spans {
                    let id = span.trace_id.as_slice().try_into().map_or(TraceId::INVALID, TraceId::from_bytes);
                    if id == TraceId::INVALID {
                        self.stats.add_submitted(1);
                        self.drop_log.dropped(&self.stats, DropCause::Rejected, 1);
                        continue;
                    }
                    // Every trace that holds the origin may be the last one that does.
                    let origin_share = if last == Some(id) { 0 } else { origin_size };
                    last = Some(id);
                    let bytes = size_of_span(span).saturating_add(origin_share);
                    let received = ReceivedSpan { origin: origin.clone(), span: span.clone() };
                    self.keep(id, KeptSpan::Received(Arc::new(received)), bytes);
                }
            }
        }
        0
    }
}

impl KeptSpan {
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::Own(span) => &span.service,
            Self::Received(received) => &received.origin.service,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own(span) => &span.data.name,
            Self::Received(received) => &received.span.name,
        }
    }

    pub(crate) fn is_error(&self) -> bool {
        match self {
            Self::Own(span) => matches!(span.data.status, Status::Error { .. }),
            Self::Received(received) => is_error(&received.span),
        }
    }

    pub(crate) fn node(&self) -> Node {
        match self {
            Self::Own(span) => Node {
                id: span.data.span_context.span_id(),
                parent: span.data.parent_span_id,
                start: nanos(span.data.start_time),
                end: nanos(span.data.end_time),
            },
            Self::Received(received) => node(&received.span),
        }
    }

    /// Its attribute of this name, as text.
    pub(crate) fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Own(span) => text::own_attribute(&span.data.attributes, name),
            Self::Received(received) => text::attribute(&received.span.attributes, name).map(Cow::Owned),
        }
    }

    /// Whether its name or the value of an attribute, as text, is as wanted.
    pub(crate) fn any_text(&self, wanted: impl Fn(&str) -> bool) -> bool {
        wanted(self.name())
            || match self {
                Self::Own(span) => span.data.attributes.iter().any(|kv| wanted(&kv.value.as_str())),
                Self::Received(received) => {
                    let mut values = received.span.attributes.iter().filter_map(|kv| kv.value.as_ref());
                    values.any(|value| wanted(&text::of_value(value)))
                }
            }
    }
}

/// Whether a span's status is an error.
pub(crate) fn is_error(span: &otlp::Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == otlp::status::StatusCode::Error)
}

/// What the tree has to know of a span.
pub(crate) fn node(span: &otlp::Span) -> Node {
    let id = |bytes: &[u8]| bytes.try_into().map_or(SpanId::INVALID, SpanId::from_bytes);
    Node {
        id: id(&span.span_id),
        parent: id(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
    }
}

/// Traces by id, bounded in traces and in bytes.
struct Ring {
    max_traces: usize,
    max_bytes: usize,
    traces: HashMap<TraceId, Entry>,
    /// The one whose latest span is oldest comes first.
    by_age: BTreeMap<u64, TraceId>,
    next_age: u64,
    held: Weight,
    stats: RecentSnapshot,
    closed: bool,
}

struct Entry {
    age: u64,
    /// Shared with readers: a span that comes meanwhile is added to a copy.
    spans: Arc<Vec<KeptSpan>>,
    bytes: usize,
    not_kept: usize,
}

impl Ring {
    /// Memory of a trace beside its spans.
    const TRACE: usize = size_of::<(TraceId, Entry)>() + size_of::<(u64, TraceId)>();

    fn new(max_traces: usize, max_bytes: usize) -> Self {
        Self {
            max_traces,
            max_bytes,
            traces: HashMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            held: Weight::default(),
            stats: RecentSnapshot::default(),
            closed: false,
        }
    }

    fn get(&self, id: TraceId) -> Option<KeptTrace> {
        let entry = self.traces.get(&id)?;
        Some(KeptTrace { id, spans: entry.spans.clone(), not_kept: entry.not_kept })
    }

    /// Adds a span. Gives the traces that made room for it, or says why it cannot be kept.
    fn keep(&mut self, id: TraceId, span: KeptSpan, bytes: usize) -> Result<Vec<Entry>, DropCause> {
        if self.closed {
            return Err(DropCause::Shutdown);
        }
        if self.max_traces == 0 {
            return Err(DropCause::QueueFull);
        }
        let bytes = bytes.saturating_add(size_of::<KeptSpan>());
        let share = self.max_bytes / TRACE_SHARE;
        let known = self.traces.get_mut(&id);
        let before = known.as_ref().map_or(Self::TRACE, |entry| entry.bytes);
        if before.saturating_add(bytes) > share {
            if let Some(entry) = known {
                entry.not_kept += 1;
            }
            return Err(DropCause::QueueBytes);
        }
        let age = self.next_age;
        self.next_age += 1;
        match known {
            Some(entry) => {
                self.by_age.remove(&entry.age);
                entry.age = age;
                entry.bytes += bytes;
                Arc::make_mut(&mut entry.spans).push(span);
            }
            None => {
                let entry = Entry { age, spans: Arc::new(vec![span]), bytes: before + bytes, not_kept: 0 };
                self.traces.insert(id, entry);
                self.held.bytes += before;
            }
        }
        self.by_age.insert(age, id);
        self.held.bytes += bytes;
        self.held.spans += 1;
        Ok(self.make_room())
    }

    /// Takes out what is too much. The newest stays: its share is within the bounds.
    fn make_room(&mut self) -> Vec<Entry> {
        let mut evicted = Vec::new();
        while self.traces.len() > self.max_traces || self.held.bytes > self.max_bytes {
            let oldest = self.by_age.pop_first().and_then(|(_, id)| self.traces.remove(&id));
            let Some(entry) = oldest else { break };
            self.held.bytes -= entry.bytes;
            self.held.spans -= entry.spans.len();
            self.stats.evicted_traces += 1;
            self.stats.evicted_spans += entry.spans.len() as u64;
            evicted.push(entry);
        }
        evicted
    }
}

#[cfg(test)]
mod tests;
