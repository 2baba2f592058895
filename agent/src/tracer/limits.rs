//! Limits on what a span may carry.

/// What a span may carry. What is beyond is dropped, and counted in the span and by the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanLimits {
    /// Attributes of a span: `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub max_attributes_per_span: u32,
    /// Events of a span: `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub max_events_per_span: u32,
    /// Links of a span: `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub max_links_per_span: u32,
    /// Attributes of an event: `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub max_attributes_per_event: u32,
    /// Attributes of a link: `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub max_attributes_per_link: u32,
    /// Characters of a text in an attribute of a span or event; a longer one is cut.
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`.
    pub max_value_len: Option<usize>,
}

impl Default for SpanLimits {
    /// 128 of each, values of any length.
    fn default() -> Self {
        SpanLimits {
            max_attributes_per_span: 128,
            max_events_per_span: 128,
            max_links_per_span: 128,
            max_attributes_per_event: 128,
            max_attributes_per_link: 128,
            max_value_len: None,
        }
    }
}
