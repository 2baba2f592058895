//! Export of finished spans.
//!
//! [`Pipeline::submit`] hands a span to every configured [`Exporter`]. Each has
//! a queue of its own, bounded in spans and in bytes, and a task of its own
//! that does the I/O, so a slow destination delays neither the connections nor
//! the other exporters; what does not fit is dropped, counted by
//! [cause](DropCause) and logged at a limited rate.
//!
//! - [`otlp`]: to a collector, over OTLP/HTTP or OTLP/gRPC.
//! - [`console`]: as a tree of each finished trace on the terminal.
//! - [`memory`]: keeps the recent traces for the page `/traces`.
//! - [`receiver`]: takes OTLP from other processes into the console's trees and
//!   the recent traces, and forwards it to the collector.

pub(crate) mod axis;
pub mod console;
mod decoded_size;
pub(crate) mod heading;
pub mod memory;
pub mod otlp;
mod queue;
pub mod receiver;
mod request;
pub(crate) mod resource;
mod stats;
pub(crate) mod text;
pub(crate) mod tree;

pub use queue::QueueConfig;
pub use stats::{DropCause, ExportSnapshot, ExportStats, RequestDurations};

use crate::heap::{block, block_of, shared};
use opentelemetry::trace::{Event, Link, Status};
use opentelemetry::{Array, KeyValue, StringValue, TraceId, Value};
use opentelemetry_sdk::trace::SpanData;
use std::borrow::Cow;
use std::future::Future;
use std::mem::size_of;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A span that has ended and will not change any more.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    /// `service.name` of the resource that the span belongs to.
    pub service: Arc<str>,
    /// The caller's `tracestate`: that of the span and of its links, whose
    /// contexts have none of their own. All spans of a trace share it.
    pub tracestate: Option<Arc<str>>,
    /// The span.
    pub data: SpanData,
}

impl FinishedSpan {
    /// Memory that the span holds behind an `Arc`, in the blocks that an
    /// allocator gives out. What it shares with others counts in full, since it
    /// may be the last to hold it; the trace state once more for each link, as
    /// it is sent.
    pub fn held(&self) -> usize {
        let data = &self.data;
        let events = data.events.iter().map(|event| text(&event.name) + attributes(&event.attributes));
        let links = data.links.iter().map(|link| attributes(&link.attributes));
        let tracestate = self.tracestate.as_ref().map_or(0, |state| shared(state.len()));
        let status = match &data.status {
            Status::Error { description } => text(description),
            _ => 0,
        };
        shared(size_of::<Self>())
            + shared(self.service.len())
            + text(&data.name)
            + status
            + attributes(&data.attributes)
            + block_of::<Event>(data.events.events.capacity())
            + events.sum::<usize>()
            + block_of::<Link>(data.links.links.capacity())
            + links.sum::<usize>()
            + tracestate * (1 + data.links.len())
    }
}

#[allow(clippy::ptr_arg)] // What is borrowed takes nothing.
fn text(text: &Cow<'static, str>) -> usize {
    match text {
        Cow::Borrowed(_) => 0,
        Cow::Owned(text) => block(text.capacity()),
    }
}

fn attributes(attributes: &Vec<KeyValue>) -> usize {
    let texts = attributes.iter().map(|kv| block(kv.key.as_str().len()) + value(&kv.value));
    block_of::<KeyValue>(attributes.capacity()) + texts.sum::<usize>()
}

fn value(value: &Value) -> usize {
    match value {
        Value::String(text) => block(text.as_str().len()),
        Value::Array(Array::String(texts)) => {
            block_of::<StringValue>(texts.capacity())
                + texts.iter().map(|text| block(text.as_str().len())).sum::<usize>()
        }
        Value::Array(Array::I64(values)) => block_of::<i64>(values.capacity()),
        Value::Array(Array::F64(values)) => block_of::<f64>(values.capacity()),
        Value::Array(Array::Bool(values)) => block(values.capacity()),
        _ => 0,
    }
}

/// Tells how many spans of a trace are still open in this process.
///
/// Implemented by the table of open spans and asked by the console before it
/// prints a trace, which is once per trace as a rule. The other way round (a
/// notice for each span opened) would cost something per span, and at that
/// time a span's trace id is not known yet: it binds late.
pub trait OpenSpans: Send + Sync {
    /// The number of open spans of this trace. Called from the console's task;
    /// must not block.
    fn open_spans(&self, trace_id: TraceId) -> usize;
}

/// Future of [`Exporter::shutdown`].
pub type ShutdownFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A destination of finished spans.
pub trait Exporter: Send + Sync {
    /// Name for logs and metric labels.
    fn name(&self) -> &'static str;

    /// Takes a span, or counts it as dropped. Called from connection tasks:
    /// must neither block nor wait for I/O.
    fn submit(&self, span: &Arc<FinishedSpan>);

    /// The exporter's counters.
    fn stats(&self) -> ExportSnapshot;

    /// Takes no more spans, delivers what is queued until the deadline and
    /// counts the rest as [`DropCause::Shutdown`].
    fn shutdown(&self, deadline: Instant) -> ShutdownFuture<'_>;
}

/// All configured exporters.
#[derive(Default)]
pub struct Pipeline {
    exporters: Vec<Arc<dyn Exporter>>,
}

impl Pipeline {
    /// A pipeline to these exporters; without any, spans go nowhere.
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters }
    }

    /// Hands a finished span to every exporter. Never blocks.
    pub fn submit(&self, span: Arc<FinishedSpan>) {
        for exporter in &self.exporters {
            exporter.submit(&span);
        }
    }

    /// Every exporter's name and counters.
    pub fn stats(&self) -> Vec<(&'static str, ExportSnapshot)> {
        self.exporters.iter().map(|exporter| (exporter.name(), exporter.stats())).collect()
    }

    /// Stops all exporters at once, waiting at most `grace` for what they have
    /// queued. Gives every exporter's final counters; what did not leave in
    /// time is in [`ExportSnapshot::dropped_shutdown`].
    pub async fn shutdown(&self, grace: Duration) -> Vec<(&'static str, ExportSnapshot)> {
        let deadline = deadline_after(grace);
        let stops = self.exporters.iter().map(|e| e.shutdown(deadline));
        futures_util::future::join_all(stops).await;
        let stats = self.stats();
        for (name, stats) in &stats {
            if stats.dropped_shutdown > 0 {
                tracing::warn!(exporter = name, spans = stats.dropped_shutdown, "spans lost at shutdown");
            }
        }
        stats
    }
}

impl crate::tracer::SpanSink for Pipeline {
    fn submit(&self, span: Arc<FinishedSpan>) {
        Pipeline::submit(self, span);
    }
}

impl OpenSpans for crate::tracer::Tracer {
    fn open_spans(&self, trace_id: TraceId) -> usize {
        crate::tracer::Tracer::open_spans(self, trace_id)
    }
}

/// Longest time that is waited for, whatever an option says: the clock cannot
/// tell times without end.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

pub(crate) fn deadline_after(grace: Duration) -> Instant {
    Instant::now() + grace.min(LONGEST_WAIT)
}
