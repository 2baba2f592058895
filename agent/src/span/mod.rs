//! A finished span is its OTLP bytes: who takes it, sends it or shows it has this one shape.

mod origin;
pub(crate) mod proto;
pub(crate) mod view;
pub(crate) mod write;

use crate::heap::shared;
use opentelemetry::TraceId;
use std::sync::Arc;

pub use origin::{Origin, Origins};
pub(crate) use view::SpanView;

/// Takes the spans that ended.
pub trait SpanSink: Send + Sync {
    /// Takes spans, or counts them as dropped. Called from connection tasks: must neither block nor wait for I/O.
    fn submit(&self, spans: &[FinishedSpan]);
}

/// A span that has ended and will not change any more. A clone shares its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    origin: Arc<Origin>,
    trace_id: TraceId,
    bytes: Arc<[u8]>,
}

impl FinishedSpan {
    /// The span whose message `Span` of OTLP has these bytes, and this trace id in them.
    pub fn new(origin: Arc<Origin>, trace_id: TraceId, bytes: &[u8]) -> Self {
        Self { origin, trace_id, bytes: bytes.into() }
    }

    /// The resource and the scope that it belongs to.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Its trace; `TraceId::INVALID` if a received span has none.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Its message `Span` of OTLP.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `service.name` of its resource.
    pub(crate) fn service(&self) -> &str {
        self.origin.service()
    }

    pub(crate) fn view(&self) -> SpanView<'_> {
        SpanView::of(&self.bytes)
    }

    /// Memory that it holds, beside itself and an origin that is kept for others. What it shares counts in full, since it may
    /// be the last to hold it.
    pub fn held(&self) -> usize {
        shared(self.bytes.len()) + self.origin.held_alone()
    }
}

/// The memory that each of these received spans holds, with an origin for each run of one trace: every one may be the
/// last that holds it.
pub(crate) fn held_with_origins(spans: &[FinishedSpan]) -> impl Iterator<Item = (&FinishedSpan, usize)> {
    let mut last: Option<&FinishedSpan> = None;
    spans.iter().map(move |span| {
        let same = |last: &FinishedSpan| Arc::ptr_eq(&last.origin, &span.origin) && last.trace_id == span.trace_id;
        let origin = if last.is_some_and(same) { 0 } else { span.origin.held() };
        last = Some(span);
        (span, span.held() + origin)
    })
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
