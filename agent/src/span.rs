//! A finished span, who takes it, and who knows how many of its trace are open: what the tracer and the exporters have in
//! common.

use crate::heap::{block, block_of, shared};
use opentelemetry::trace::{Event, Link, Status};
use opentelemetry::{Array, KeyValue, StringValue, TraceId, Value};
use opentelemetry_sdk::trace::SpanData;
use std::borrow::Cow;
use std::mem::size_of;
use std::sync::Arc;

/// Takes the spans that ended.
pub trait SpanSink: Send + Sync {
    /// Takes a span, or counts it as dropped. Called from connection tasks: must neither block nor wait for I/O.
    fn submit(&self, span: Arc<FinishedSpan>);
}

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
