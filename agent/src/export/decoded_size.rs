//! How much memory an OTLP request takes once decoded, told before it is:
//! two bytes can become a span of some hundred, so the size of the body alone
//! bounds nothing.

mod json;

pub(super) use json::decoded_json_size;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::mem::size_of;

/// Fields of a message type that are lists or messages.
const MAX_FIELDS: usize = 3;
/// Nesting that prost, too, refuses to decode.
const MAX_DEPTH: usize = 100;

/// A message type: its size and the fields whose elements take more memory
/// than their content, with number and name.
struct Shape {
    size: usize,
    fields: &'static [(u32, &'static str, Field)],
}

enum Field {
    Message(&'static Shape),
    Messages(&'static Shape),
    /// A list of texts.
    Texts,
}
use Field::{Message, Messages, Texts};

static REQUEST: Shape = Shape { size: 0, fields: &[(1, "resourceSpans", Messages(&RESOURCE_SPANS))] };
static RESOURCE_SPANS: Shape = Shape {
    size: size_of::<trace::ResourceSpans>(),
    fields: &[(1, "resource", Message(&RESOURCE)), (2, "scopeSpans", Messages(&SCOPE_SPANS))],
};
static RESOURCE: Shape = Shape {
    // A part of ResourceSpans, apart from what it contains.
    size: 0,
    fields: &[(1, "attributes", Messages(&KEY_VALUE)), (3, "entityRefs", Messages(&ENTITY_REF))],
};
static ENTITY_REF: Shape =
    Shape { size: size_of::<common::EntityRef>(), fields: &[(3, "idKeys", Texts), (4, "descriptionKeys", Texts)] };
static SCOPE_SPANS: Shape = Shape {
    size: size_of::<trace::ScopeSpans>(),
    fields: &[(1, "scope", Message(&SCOPE)), (2, "spans", Messages(&SPAN))],
};
static SCOPE: Shape = Shape { size: 0, fields: &[(3, "attributes", Messages(&KEY_VALUE))] };
static SPAN: Shape = Shape {
    size: size_of::<trace::Span>(),
    fields: &[
        (9, "attributes", Messages(&KEY_VALUE)),
        (11, "events", Messages(&EVENT)),
        (13, "links", Messages(&LINK)),
    ],
};
static EVENT: Shape =
    Shape { size: size_of::<trace::span::Event>(), fields: &[(3, "attributes", Messages(&KEY_VALUE))] };
static LINK: Shape = Shape { size: size_of::<trace::span::Link>(), fields: &[(4, "attributes", Messages(&KEY_VALUE))] };
static KEY_VALUE: Shape = Shape { size: size_of::<common::KeyValue>(), fields: &[(2, "value", Message(&ANY_VALUE))] };
static ANY_VALUE: Shape = Shape {
    size: size_of::<common::AnyValue>(),
    fields: &[(5, "arrayValue", Message(&ARRAY)), (6, "kvlistValue", Message(&KEY_VALUES))],
};
static ARRAY: Shape = Shape { size: 0, fields: &[(1, "values", Messages(&ANY_VALUE))] };
static KEY_VALUES: Shape = Shape { size: 0, fields: &[(1, "values", Messages(&KEY_VALUE))] };

/// The memory that an encoded `ExportTraceServiceRequest` takes when decoded.
/// `None` if it is malformed.
pub(super) fn decoded_size(body: &[u8]) -> Option<usize> {
    measure(body, &REQUEST, 0).ok().flatten()
}

/// The memory of a list of so many things of this size, which grew one by one as a `Vec` does.
fn list(len: usize, size: usize) -> usize {
    const FIRST: usize = 4;
    let capacity = if len == 0 { 0 } else { len.next_power_of_two().max(FIRST) };
    capacity.saturating_mul(size)
}

fn measure(mut body: &[u8], shape: &Shape, depth: usize) -> Result<Option<usize>, DecodeError> {
    if depth > MAX_DEPTH {
        return Ok(None);
    }
    let mut total = 0_usize;
    let mut lens = [0_usize; MAX_FIELDS];
    while !body.is_empty() {
        let (tag, wire_type) = decode_key(&mut body)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut body, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut body)?).unwrap_or(usize::MAX);
        let Some((content, rest)) = body.split_at_checked(length) else {
            return Ok(None);
        };
        body = rest;
        let mut fields = shape.fields.iter().zip(&mut lens);
        let known = fields.find(|((number, _, _), _)| *number == tag);
        let size = match known {
            Some(((_, _, Message(inner) | Messages(inner)), len)) => {
                *len += 1;
                measure(content, inner, depth + 1)?
            }
            Some(((_, _, Texts), len)) => {
                *len += 1;
                Some(content.len())
            }
            // Unknown fields are skipped, texts and bytes are copied.
            None => Some(content.len()),
        };
        let Some(size) = size else { return Ok(None) };
        total = total.saturating_add(size);
    }
    let lists = shape.fields.iter().zip(lens).map(|((_, _, field), len)| match field {
        Message(inner) => len.saturating_mul(inner.size),
        Messages(inner) => list(len, inner.size),
        Texts => list(len, size_of::<String>()),
    });
    Ok(Some(lists.fold(total, usize::saturating_add)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;
    use trace::ResourceSpans;

    fn key_value(value: common::any_value::Value) -> common::KeyValue {
        common::KeyValue {
            key: "key".to_owned(),
            value: Some(common::AnyValue { value: Some(value) }),
            ..Default::default()
        }
    }

    #[test]
    fn counts_what_is_allocated() {
        use common::any_value::Value;
        let text = || key_value(Value::StringValue("12345".to_owned()));
        let list = common::KeyValueList { values: vec![text(), text()] };
        let span = trace::Span {
            trace_id: vec![1; 16],
            attributes: vec![text(), key_value(Value::KvlistValue(list))],
            events: vec![trace::span::Event::default(); 2],
            links: vec![trace::span::Link::default(); 3],
            ..Default::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![trace::ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![text()],
                    entity_refs: vec![common::EntityRef { id_keys: vec!["id".to_owned()], ..Default::default() }],
                    ..Default::default()
                }),
                scope_spans: vec![trace::ScopeSpans { spans: vec![span], ..Default::default() }],
                ..Default::default()
            }],
        };
        let any = size_of::<common::AnyValue>();
        // A list has room for four from its first element on.
        let lists = size_of::<trace::ResourceSpans>()
            + size_of::<trace::ScopeSpans>()
            + size_of::<trace::Span>()
            + size_of::<trace::span::Event>()
            + size_of::<trace::span::Link>()
            + 3 * size_of::<common::KeyValue>()
            + size_of::<common::EntityRef>()
            + size_of::<String>();
        let rest = 16 + 5 * (any + "key".len()) + 4 * "12345".len() + "id".len();
        let body = request.encode_to_vec();
        assert_eq!(decoded_size(&body), Some(4 * lists + rest));
        let decoded = ExportTraceServiceRequest::decode(&*body).unwrap();
        let ResourceSpans { scope_spans, .. } = &decoded.resource_spans[0];
        assert_eq!((decoded.resource_spans.capacity(), scope_spans[0].spans[0].links.capacity()), (4, 4));
    }

    #[test]
    fn malformed_input_has_no_size() {
        // A truncated field, a group that does not end, a bad key.
        for body in [&[0x0a, 5, 0][..], &[0x0b], &[0x07]] {
            assert_eq!(decoded_size(body), None, "{body:?}");
        }
        // An attribute's value with arrays in arrays.
        let nested = |levels: usize| {
            let arrays = [0x0a, 0x2a].repeat(levels);
            let path = arrays.into_iter().chain([0x12, 0x4a, 0x12, 0x12, 0x0a]);
            path.fold(Vec::new(), |body, tag| field(tag, &body))
        };
        for (levels, valid) in [(47, true), (48, false), (1000, false)] {
            let body = nested(levels);
            assert_eq!(decoded_size(&body).is_some(), valid, "{levels}");
            // Prost's limit is the same.
            let decoded = ExportTraceServiceRequest::decode(&body[..]);
            assert_eq!(decoded.is_ok(), valid, "{levels}");
        }
    }

    fn field(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![tag];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        field.extend_from_slice(content);
        field
    }
}
