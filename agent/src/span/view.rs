//! A finished span for those who show it: its bytes are looked at, and not turned into structures.

use super::proto::{event, key_value, link, span, status};
use crate::export::text;
use crate::semconv::{ERROR_TYPE, FOLLOWS_FROM, OPENTRACING_REF_TYPE};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::borrow::Cow;

/// The fields of an encoded message, as far as they can be read.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// A varint, or one of the types of fixed length.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// What protobuf had before messages within messages; no field of OTLP is one.
    Group,
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) content: Content<'a>,
    /// With its number and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// What is left; at the end, what cannot be read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let before = self.0;
        let mut rest = before;
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let content = match wire_type {
            WireType::Varint => Content::Number(decode_varint(&mut rest).ok()?),
            WireType::SixtyFourBit => {
                let (bytes, behind) = rest.split_first_chunk()?;
                rest = behind;
                Content::Number(u64::from_le_bytes(*bytes))
            }
            WireType::ThirtyTwoBit => {
                let (bytes, behind) = rest.split_first_chunk()?;
                rest = behind;
                Content::Number(u32::from_le_bytes(*bytes).into())
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (bytes, behind) = rest.split_at_checked(len)?;
                rest = behind;
                Content::Bytes(bytes)
            }
            WireType::StartGroup | WireType::EndGroup => {
                skip_field(wire_type, number, &mut rest, DecodeContext::default()).ok()?;
                Content::Group
            }
        };
        self.0 = rest;
        let whole = before.get(..before.len() - rest.len())?;
        Some(Field { number, content, whole })
    }
}

impl<'a> Content<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Content::Bytes(bytes) => bytes,
            Content::Number(_) | Content::Group => &[],
        }
    }

    fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    fn number(self) -> u64 {
        match self {
            Content::Number(number) => number,
            Content::Bytes(_) | Content::Group => 0,
        }
    }

    fn trace_id(self) -> TraceId {
        self.bytes().try_into().map_or(TraceId::INVALID, TraceId::from_bytes)
    }

    fn span_id(self) -> SpanId {
        self.bytes().try_into().map_or(SpanId::INVALID, SpanId::from_bytes)
    }
}

/// A span, without its lists.
#[derive(Debug, Clone)]
pub(crate) struct SpanView<'a> {
    bytes: &'a [u8],
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// `SpanId::INVALID` of a root.
    pub(crate) parent: SpanId,
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    /// Nanoseconds since the epoch.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status: StatusCode,
    /// What an error says.
    pub(crate) message: &'a str,
}

/// A span that another one refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkView {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// By a follows-from reference of OpenTracing.
    pub(crate) follows_from: bool,
}

impl<'a> SpanView<'a> {
    /// Of an encoded `Span`.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        let mut view = SpanView {
            bytes,
            trace_id: TraceId::INVALID,
            span_id: SpanId::INVALID,
            parent: SpanId::INVALID,
            name: "",
            kind: SpanKind::Unspecified,
            start: 0,
            end: 0,
            status: StatusCode::Unset,
            message: "",
        };
        for Field { number, content, .. } in Fields::of(bytes) {
            match number {
                span::TRACE_ID => view.trace_id = content.trace_id(),
                span::SPAN_ID => view.span_id = content.span_id(),
                span::PARENT_SPAN_ID => view.parent = content.span_id(),
                span::NAME => view.name = content.text(),
                span::KIND => view.kind = SpanKind::try_from(content.number() as i32).unwrap_or_default(),
                span::START => view.start = content.number(),
                span::END => view.end = content.number(),
                span::STATUS => {
                    for Field { number, content, .. } in Fields::of(content.bytes()) {
                        match number {
                            status::MESSAGE => view.message = content.text(),
                            status::CODE => {
                                view.status = StatusCode::try_from(content.number() as i32).unwrap_or_default();
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        view
    }

    pub(crate) fn is_error(&self) -> bool {
        self.status == StatusCode::Error
    }

    /// Why it failed: what its status says, else its `error.type`; empty if neither does, or it did not fail.
    pub(crate) fn failure(&self) -> Cow<'a, str> {
        match (self.is_error(), self.message) {
            (false, _) => Cow::default(),
            (true, "") => self.attribute(ERROR_TYPE).unwrap_or_default().into(),
            (true, message) => message.into(),
        }
    }

    /// The contents of a field that may come several times.
    fn all(&self, field: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Fields::of(self.bytes).filter(move |of| of.number == field).map(|of| of.content.bytes())
    }

    /// Name and value of each attribute.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.all(span::ATTRIBUTES).map(attribute)
    }

    /// The first attribute of this name, as text, if it has a value.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        find(self.attributes(), name)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = LinkView> + use<'a> {
        self.all(span::LINKS).map(|bytes| {
            let mut view = LinkView { trace_id: TraceId::INVALID, span_id: SpanId::INVALID, follows_from: false };
            for Field { number, content, .. } in Fields::of(bytes) {
                match number {
                    link::TRACE_ID => view.trace_id = content.trace_id(),
                    link::SPAN_ID => view.span_id = content.span_id(),
                    link::ATTRIBUTES => {
                        let (name, value) = attribute(content.bytes());
                        view.follows_from |=
                            name == OPENTRACING_REF_TYPE && value.and_then(value_text).as_deref() == Some(FOLLOWS_FROM);
                    }
                    _ => {}
                }
            }
            view
        })
    }

    /// When its events were.
    pub(crate) fn event_times(&self) -> impl Iterator<Item = u64> + use<'a> {
        let time = |bytes| Fields::of(bytes).find(|of| of.number == event::TIME).map_or(0, |of| of.content.number());
        self.all(span::EVENTS).map(time)
    }
}

/// Name and value, which is an `AnyValue`, of a `KeyValue`.
fn attribute(key_value: &[u8]) -> (&str, Option<&[u8]>) {
    let (mut name, mut value) = ("", None);
    for Field { number, content, .. } in Fields::of(key_value) {
        match number {
            key_value::KEY => name = content.text(),
            key_value::VALUE => value = Some(content.bytes()),
            _ => {}
        }
    }
    (name, value)
}

/// The first of these attributes with this name, as text, if it has a value.
pub(crate) fn find<'a>(
    mut attributes: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    name: &str,
) -> Option<String> {
    let (_, value) = attributes.find(|(of, _)| *of == name)?;
    value_text(value?)
}

/// The value of an encoded `KeyValue` as text, if it has one.
pub(crate) fn attribute_text(key_value: &[u8]) -> Option<String> {
    value_text(attribute(key_value).1?)
}

/// An encoded `AnyValue` as text; `None` if it has no value.
pub(crate) fn value_text(any_value: &[u8]) -> Option<String> {
    let value = AnyValue::decode(any_value).ok()?;
    value.value.is_some().then(|| text::of_value(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
    use opentelemetry_proto::tonic::trace::v1 as otlp;

    fn key_value(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
        KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
    }

    #[test]
    fn what_the_generated_types_write_is_seen() {
        let link = |span_id: u8, reference: &str| otlp::span::Link {
            trace_id: vec![7; 16],
            span_id: vec![span_id; 8],
            attributes: vec![key_value("other", "follows_from"), key_value(OPENTRACING_REF_TYPE, reference)],
            ..Default::default()
        };
        let span = otlp::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![3; 8],
            name: "n\u{e9}".to_owned(),
            kind: SpanKind::Client as i32,
            start_time_unix_nano: 5,
            end_time_unix_nano: u64::MAX,
            attributes: vec![
                key_value("a", "1"),
                key_value("b", ""),
                KeyValue { key: "c".into(), ..Default::default() },
            ],
            events: vec![otlp::span::Event { time_unix_nano: 6, name: "e".into(), ..Default::default() }],
            links: vec![link(8, FOLLOWS_FROM), link(9, "child_of")],
            status: Some(otlp::Status { code: StatusCode::Error as i32, message: "no".to_owned() }),
            flags: 0x301,
            ..Default::default()
        };
        let bytes = span.encode_to_vec();
        let view = SpanView::of(&bytes);
        assert_eq!(view.trace_id, TraceId::from_bytes([1; 16]));
        assert_eq!((view.span_id, view.parent), (SpanId::from_bytes([2; 8]), SpanId::from_bytes([3; 8])));
        assert_eq!((view.name, view.kind, view.start, view.end), ("n\u{e9}", SpanKind::Client, 5, u64::MAX));
        assert!(view.is_error() && view.message == "no");
        let attributes = ["a", "b", "c", "d"].map(|name| view.attribute(name));
        assert_eq!(attributes, [Some("1".to_owned()), Some(String::new()), None, None]);
        assert_eq!(view.event_times().collect::<Vec<_>>(), [6]);
        let links: Vec<_> = view.links().map(|link| (link.span_id.to_bytes()[0], link.follows_from)).collect();
        assert_eq!(links, [(8, true), (9, false)]);
    }

    #[test]
    fn ids_of_wrong_length_are_no_ids() {
        let span = otlp::Span { trace_id: vec![1; 15], span_id: vec![1; 9], ..Default::default() };
        let bytes = span.encode_to_vec();
        let view = SpanView::of(&bytes);
        assert_eq!((view.trace_id, view.span_id, view.parent), (TraceId::INVALID, SpanId::INVALID, SpanId::INVALID));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let view = SpanView::of(&bytes);
            let (links, times) = (view.links().count(), view.event_times().count());
            proptest::prop_assert!(links + times + view.attributes().count() <= bytes.len());
            let mut fields = Fields::of(&bytes);
            let len: usize = fields.by_ref().map(|field| field.whole.len()).sum();
            proptest::prop_assert_eq!(len + fields.rest().len(), bytes.len());
        }
    }
}
