//! A span written at once, from its first field to its last.

use super::proto::{
    NUMBER_LEN, any_value, field_len, key_value, put_bytes, put_fixed32, put_fixed64, put_len, put_lens, put_member,
    put_number, put_text, span, status, text_len,
};
use crate::cut;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::SpanFlags;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::encoding::{encoded_len_varint, key_len};

/// What stands before a span's attributes.
pub(crate) struct Head<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) tracestate: &'a str,
    /// `None` of a root.
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    /// Nanoseconds since the epoch.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Head<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, span::TRACE_ID, &self.trace_id.to_bytes());
        put_bytes(out, span::SPAN_ID, &self.span_id.to_bytes());
        put_text(out, span::TRACE_STATE, self.tracestate);
        if let Some(parent) = self.parent {
            put_bytes(out, span::PARENT_SPAN_ID, &parent.to_bytes());
        }
        put_text(out, span::NAME, self.name);
        put_number(out, span::KIND, self.kind as u64);
        put_fixed64(out, span::START, self.start);
        put_fixed64(out, span::END, self.end);
    }
}

/// What stands at a span's end: its status, and its flags, which are those of its trace (`traceparent`).
pub(crate) fn put_end(out: &mut Vec<u8>, code: StatusCode, message: &str, trace_flags: u32, parent_is_remote: bool) {
    let code_len = if code == StatusCode::Unset { 0 } else { NUMBER_LEN };
    put_len(out, span::STATUS, code_len + text_len(status::MESSAGE, message));
    put_text(out, status::MESSAGE, message);
    put_number(out, status::CODE, code as u64);
    let remote = if parent_is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    put_fixed32(out, span::FLAGS, trace_flags | SpanFlags::ContextHasIsRemoteMask as u32 | remote);
}

/// Appends attributes whose names differ, up to a number.
#[derive(Debug)]
pub(crate) struct AttributeWriter<'o> {
    pub(crate) out: &'o mut Vec<u8>,
    left: u32,
    max_value_len: Option<usize>,
    /// Attributes beyond the number.
    pub(crate) dropped: u32,
    /// Values that were too long.
    pub(crate) cut: usize,
}

impl<'o> AttributeWriter<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, max: u32, max_value_len: Option<usize>) -> Self {
        Self { out, left: max, max_value_len, dropped: 0, cut: 0 }
    }

    /// The beginning of an attribute with a value of so many bytes; false if there are too many. Names are constants, so
    /// that inlined most of it is done by the compiler.
    #[inline(always)]
    fn begin(&mut self, name: &str, value: usize) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            self.dropped += 1;
            return false;
        };
        self.left = left;
        let len = field_len(key_value::KEY, name.len()) + field_len(key_value::VALUE, value);
        put_lens(self.out, (span::ATTRIBUTES, len), (key_value::KEY, name.len()));
        self.out.extend_from_slice(name.as_bytes());
        true
    }

    #[inline(always)]
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let end = end_of(text.as_bytes(), self.max_value_len);
        let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        if self.begin(name, field_len(any_value::STRING, text.len())) {
            self.cut += usize::from(end.is_some());
            put_text_value(self.out, text.as_bytes());
        }
    }

    /// The same of a text in parts.
    pub(crate) fn joined(&mut self, name: &str, parts: &[&str]) {
        let len = parts.iter().map(|part| part.len()).sum();
        // Characters are not shorter than a byte.
        if self.max_value_len.is_some_and(|max| len > max) {
            self.text(name, &parts.concat());
        } else if self.begin(name, field_len(any_value::STRING, len)) {
            begin_text_value(self.out, len);
            parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        }
    }

    #[inline(always)]
    pub(crate) fn number(&mut self, name: &str, number: i64) {
        if self.begin(name, number_len(any_value::INT, number as u64)) {
            put_number_value(self.out, any_value::INT, number as u64);
        }
    }

    /// Says how many are not there.
    pub(crate) fn finish(self) {
        put_number(self.out, span::DROPPED_ATTRIBUTES, self.dropped.into());
    }
}

/// The field `value` of a `KeyValue`: a text.
#[inline(always)]
pub(crate) fn put_text_value(out: &mut Vec<u8>, text: &[u8]) {
    begin_text_value(out, text.len());
    out.extend_from_slice(text);
}

/// Its beginning; so many bytes of text follow.
#[inline(always)]
fn begin_text_value(out: &mut Vec<u8>, len: usize) {
    put_lens(out, (key_value::VALUE, field_len(any_value::STRING, len)), (any_value::STRING, len));
}

/// The same of a number or a truth.
pub(crate) fn put_number_value(out: &mut Vec<u8>, field: u32, number: u64) {
    put_len(out, key_value::VALUE, number_len(field, number));
    put_member(out, field, number);
}

fn number_len(field: u32, number: u64) -> usize {
    key_len(field) + encoded_len_varint(number)
}

/// Where a text that is longer than so many characters ends.
pub(crate) fn end_of(text: &[u8], max_len: Option<usize>) -> Option<usize> {
    // Characters are not shorter than a byte.
    let max = max_len.filter(|max| text.len() > *max)?;
    cut::end(std::str::from_utf8(text).ok()?, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use prost::Message;

    #[test]
    fn the_bytes_are_those_of_the_generated_types() {
        let attribute = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..Default::default()
        };
        let expected = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=b".to_owned(),
            parent_span_id: vec![3; 8],
            name: "GET".to_owned(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: 5,
            end_time_unix_nano: 6,
            attributes: vec![
                attribute("text", Value::StringValue("\u{e9}\u{e9}\u{e9}".to_owned())),
                attribute("empty", Value::StringValue(String::new())),
                attribute("long", Value::StringValue("abcd".to_owned())),
                attribute("parts", Value::StringValue("abcd".to_owned())),
                attribute("cut", Value::StringValue("abcd".to_owned())),
                attribute("number", Value::IntValue(-1)),
                attribute("zero", Value::IntValue(0)),
            ],
            dropped_attributes_count: 3,
            status: Some(Status { code: StatusCode::Error as i32, message: "no".to_owned() }),
            flags: 0x301,
            ..Default::default()
        };
        let mut out = Vec::new();
        let head = Head {
            trace_id: TraceId::from_bytes([1; 16]),
            span_id: SpanId::from_bytes([2; 8]),
            tracestate: "a=b",
            parent: Some(SpanId::from_bytes([3; 8])),
            name: "GET",
            kind: SpanKind::Server,
            start: 5,
            end: 6,
        };
        head.write(&mut out);
        let mut attributes = AttributeWriter::new(&mut out, 7, Some(4));
        attributes.text("text", "\u{e9}\u{e9}\u{e9}");
        attributes.text("empty", "");
        attributes.text("long", "abcde");
        attributes.joined("parts", &["a", "", "bcd"]);
        attributes.joined("cut", &["abc", "de"]);
        attributes.number("number", -1);
        attributes.number("zero", 0);
        attributes.text("beyond", "abcde");
        attributes.number("beyond too", 7);
        attributes.joined("beyond as well", &["a"]);
        assert_eq!((attributes.dropped, attributes.cut), (3, 2));
        attributes.finish();
        put_end(&mut out, StatusCode::Error, "no", 1, true);
        assert_eq!(Span::decode(&*out).unwrap(), expected);
        assert_eq!(out, expected.encode_to_vec());
    }
}
