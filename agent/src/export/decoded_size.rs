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

/// The memory that an encoded `ExportTraceServiceRequest` takes when decoded,
/// apart from spare capacity. `None` if it is malformed.
pub(super) fn decoded_size(body: &[u8]) -> Option<usize> {
    measure(body, &REQUEST, 0).ok().flatten()
}

/// The memory that a decoded span takes.
pub(super) fn size_of_span(span: &trace::Span) -> usize {
    size_of_message(span, &SPAN)
}

/// The memory that decoded spans of a resource take, with the resource.
pub(super) fn size_of_resource_spans(spans: &trace::ResourceSpans) -> usize {
    size_of_message(spans, &RESOURCE_SPANS)
}

fn size_of_message(message: &impl prost::Message, shape: &Shape) -> usize {
    let content = measure(&message.encode_to_vec(), shape, 0).ok().flatten();
    // Without a size it is nested deeper than what is ever received.
    shape.size.saturating_add(content.unwrap_or(usize::MAX))
}

fn measure(mut body: &[u8], shape: &Shape, depth: usize) -> Result<Option<usize>, DecodeError> {
    if depth > MAX_DEPTH {
        return Ok(None);
    }
    let mut total = 0_usize;
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
        let field = shape.fields.iter().find(|(number, _, _)| *number == tag);
        let size = match field.map(|(_, _, field)| field) {
            Some(Message(inner) | Messages(inner)) => match measure(content, inner, depth + 1)? {
                Some(size) => inner.size.saturating_add(size),
                None => return Ok(None),
            },
            Some(Texts) => size_of::<String>() + content.len(),
            // Unknown fields are skipped, texts and bytes are copied.
            None => content.len(),
        };
        total = total.saturating_add(size);
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

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
        let expected = size_of::<trace::ResourceSpans>()
            + size_of::<trace::ScopeSpans>()
            + size_of::<trace::Span>()
            + 16
            + 2 * size_of::<trace::span::Event>()
            + 3 * size_of::<trace::span::Link>()
            + 5 * (size_of::<common::KeyValue>() + any + "key".len())
            + 4 * "12345".len()
            + size_of::<common::EntityRef>()
            + size_of::<String>()
            + "id".len();
        assert_eq!(decoded_size(&request.encode_to_vec()), Some(expected));
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
