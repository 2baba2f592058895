//! `ExportTraceServiceRequest`, made of spans and taken apart into them, without a look into the spans.

use crate::export::text;
use crate::span::proto::{field_len, put_len, request, resource_spans, scope_spans};
use crate::span::view::{Content, Field, Fields};
use crate::span::{FinishedSpan, Origin, SpanView};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::{DecodeError, Message};
use std::collections::HashMap;
use std::sync::Arc;

/// Spans of one origin.
struct Group<'a> {
    origin: &'a Arc<Origin>,
    spans: Vec<&'a [u8]>,
    /// Of the fields of the spans.
    len: usize,
}

impl Group<'_> {
    fn scope_len(&self) -> usize {
        self.origin.scope_spans.len() + self.len
    }

    fn resource_len(&self) -> usize {
        self.origin.resource_spans.len() + field_len(resource_spans::SCOPE_SPANS, self.scope_len())
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_len(out, request::RESOURCE_SPANS, self.resource_len());
        out.extend_from_slice(&self.origin.resource_spans);
        put_len(out, resource_spans::SCOPE_SPANS, self.scope_len());
        out.extend_from_slice(&self.origin.scope_spans);
        for span in &self.spans {
            put_len(out, scope_spans::SPANS, span.len());
            out.extend_from_slice(span);
        }
    }
}

/// The request for these spans, behind so many bytes for others.
pub(crate) fn encode(spans: &[FinishedSpan], before: usize) -> Vec<u8> {
    let groups = group(spans);
    let len: usize = groups.iter().map(|group| field_len(request::RESOURCE_SPANS, group.resource_len())).sum();
    let mut out = Vec::with_capacity(before + len);
    out.resize(before, 0);
    groups.iter().for_each(|group| group.write(&mut out));
    out
}

/// In the order in which the origins come.
fn group(spans: &[FinishedSpan]) -> Vec<Group<'_>> {
    let mut groups = Vec::<Group<'_>>::new();
    let mut index = HashMap::new();
    let mut last = 0;
    for span in spans {
        let origin = span.origin();
        if !groups.get(last).is_some_and(|group| Arc::ptr_eq(group.origin, origin)) {
            last = *index.entry(Arc::as_ptr(origin)).or_insert_with(|| {
                groups.push(Group { origin, spans: Vec::new(), len: 0 });
                groups.len() - 1
            });
        }
        if let Some(group) = groups.get_mut(last) {
            group.spans.push(span.bytes());
            group.len += field_len(scope_spans::SPANS, span.bytes().len());
        }
    }
    groups
}

/// The spans of a request.
///
/// # Errors
/// Something in it cannot be decoded.
pub(crate) fn decode(request: &[u8]) -> Result<Vec<FinishedSpan>, DecodeError> {
    let mut spans = Vec::new();
    let (resources, rest) = take_out(request, request::RESOURCE_SPANS);
    ExportTraceServiceRequest::decode(&*rest)?;
    for resource in resources {
        let (scopes, resource_head) = take_out(resource, resource_spans::SCOPE_SPANS);
        let service = text::service_name(otlp::ResourceSpans::decode(&*resource_head)?.resource.as_ref());
        for scope in scopes {
            let (of_scope, scope_head) = take_out(scope, scope_spans::SPANS);
            otlp::ScopeSpans::decode(&*scope_head)?;
            let origin = Origin::received(&service, &resource_head, &scope_head);
            for bytes in of_scope {
                // One at a time: decoded they may be much larger.
                otlp::Span::decode(bytes)?;
                spans.push(FinishedSpan::new(origin.clone(), SpanView::of(bytes).trace_id, bytes));
            }
        }
    }
    Ok(spans)
}

/// The contents of the fields of this number, and the message without them.
fn take_out(message: &[u8], number: u32) -> (Vec<&[u8]>, Vec<u8>) {
    let (mut contents, mut rest) = (Vec::new(), Vec::new());
    let mut fields = Fields::of(message);
    for Field { number: of, content, whole } in fields.by_ref() {
        match content {
            Content::Bytes(content) if of == number => contents.push(content),
            _ => rest.extend_from_slice(whole),
        }
    }
    // A decoder will say what is wrong with what cannot be read.
    rest.extend_from_slice(fields.rest());
    (contents, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use proptest::prelude::*;

    fn scope(name: &str, spans: std::ops::Range<u8>) -> otlp::ScopeSpans {
        let scope = InstrumentationScope { name: name.to_owned(), ..Default::default() };
        let span = |id: u8| otlp::Span { span_id: vec![id], name: "n".repeat(id.into()), ..Default::default() };
        otlp::ScopeSpans { scope: Some(scope), spans: spans.map(span).collect(), schema_url: name.to_owned() }
    }

    fn resource(url: &str, scope_spans: Vec<otlp::ScopeSpans>) -> otlp::ResourceSpans {
        otlp::ResourceSpans { schema_url: url.to_owned(), scope_spans, ..Default::default() }
    }

    #[test]
    fn a_request_taken_apart_and_made_again() {
        let of = |name: &str, spans| resource("r", vec![scope(name, spans)]);
        let resource_spans = vec![of("a", 0..200), resource("r", vec![scope("b", 2..5), scope("c", 5..6)])];
        let sent = ExportTraceServiceRequest { resource_spans };
        let spans = decode(&sent.encode_to_vec()).unwrap();
        assert_eq!(spans.len(), 204);
        // Each scope has a resource of its own.
        let expected = [of("a", 0..200), of("b", 2..5), of("c", 5..6)].to_vec();
        let made = encode(&spans, 5);
        assert_eq!(made.capacity(), made.len());
        assert_eq!(ExportTraceServiceRequest::decode(&made[5..]).unwrap().resource_spans, expected);
        // Whatever the order in which they come.
        let mixed: Vec<_> = (0..204).map(|n| spans[n * 5 % 204].clone()).collect();
        let made = ExportTraceServiceRequest::decode(&*encode(&mixed, 0)).unwrap().resource_spans;
        let lens: Vec<_> = made.iter().map(|resource| resource.scope_spans[0].spans.len()).collect();
        assert_eq!(lens, [200, 3, 1]);
        assert!(encode(&[], 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_taken_apart_is_what_a_decoder_takes(
            mut bytes in Just(()).prop_map(|()| {
                let of = |name: &str, spans| resource("r", vec![scope(name, spans)]);
                ExportTraceServiceRequest { resource_spans: vec![of("a", 0..3), of("b", 1..2)] }.encode_to_vec()
            }),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let decoded = ExportTraceServiceRequest::decode(&*bytes);
            prop_assert_eq!(decoded.is_ok(), decode(&bytes).is_ok());
        }
    }
}
