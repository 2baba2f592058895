//! Export of finished spans.

use std::sync::Arc;

use opentelemetry_sdk::trace::SpanData;

/// A span that has ended and will not change any more.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    /// `service.name` of the resource that the span belongs to.
    pub service: Arc<str>,
    /// The span.
    pub data: SpanData,
}
