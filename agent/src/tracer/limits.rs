//! Limits on what a span may carry.

use opentelemetry::Value;

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
    /// Characters of a text in an attribute of a span, event or link; a longer one is cut.
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

impl SpanLimits {
    /// Cuts a text that is too long; true if it was.
    pub(super) fn cut(&self, value: &mut Value) -> bool {
        let (Value::String(text), Some(max)) = (&*value, self.max_value_len) else { return false };
        let Some((end, _)) = text.as_str().char_indices().nth(max) else { return false };
        *value = Value::from(text.as_str().get(..end).unwrap_or_default().to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_after_so_many_characters() {
        let limits = SpanLimits { max_value_len: Some(3), ..SpanLimits::default() };
        for (text, expected) in
            [("", ""), ("abc", "abc"), ("abcd", "abc"), ("\u{e9}\u{4e16}\u{1f600}x", "\u{e9}\u{4e16}\u{1f600}")]
        {
            let mut value = Value::from(text);
            assert_eq!((limits.cut(&mut value), value), (text != expected, Value::from(expected)));
        }
        let mut number = Value::I64(123_456);
        assert!(!limits.cut(&mut number));
        let mut value = Value::from("x");
        assert!(SpanLimits { max_value_len: Some(0), ..limits }.cut(&mut value));
        assert_eq!(value, Value::from(""));
        let mut long = Value::from("x".repeat(100_000));
        assert!(!SpanLimits::default().cut(&mut long), "no limit");
    }
}
