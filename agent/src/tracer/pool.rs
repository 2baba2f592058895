//! Memory of what is over, for what comes next: the open spans of a shard, and the bytes that they end as.

use std::time::SystemTime;

use opentelemetry::trace::SpanId;

use super::span::OpenSpan;
use crate::heap::{block, block_of};

/// Spans that are kept: as many as a few requests at once have open.
const MAX_SPANS: usize = 32;
/// Memory of a span that is kept; a larger one is given back.
const MAX_SPAN_BYTES: usize = 4 * 1024;

/// Spans that are over, and a buffer.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// With the memory of each.
    spans: Vec<(Box<OpenSpan>, usize)>,
    in_spans: usize,
    /// Those of the present NOTIFY that ended, in that order; it exports them at its end.
    #[allow(clippy::vec_box)] // They come in boxes, and go in them.
    pub(super) ended: Vec<Box<OpenSpan>>,
    /// For one span at a time, which is copied from it.
    pub(super) bytes: Vec<u8>,
}

impl Pool {
    pub(super) fn span(&mut self, name: &str, number: u32, span_id: SpanId, start: SystemTime) -> Box<OpenSpan> {
        match self.spans.pop() {
            Some((mut span, held)) => {
                self.in_spans = self.in_spans.saturating_sub(held);
                span.renew(name, number, span_id, start);
                span
            }
            None => Box::new(OpenSpan::new(name, number, span_id, start)),
        }
    }

    pub(super) fn give_back(&mut self, span: Box<OpenSpan>) {
        let held = span.held();
        if held <= MAX_SPAN_BYTES && self.spans.len() < MAX_SPANS {
            self.in_spans += held;
            self.spans.push((span, held));
        }
    }

    /// After each use: what a large span took is given back.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > 4 * MAX_SPAN_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Memory that it holds.
    pub(super) fn held(&self) -> usize {
        block_of::<(Box<OpenSpan>, usize)>(self.spans.capacity())
            + self.in_spans
            + block_of::<Box<OpenSpan>>(self.ended.capacity())
            + block(self.bytes.capacity())
    }
}
