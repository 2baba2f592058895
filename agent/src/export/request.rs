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

/// Spans of one resource.
struct OfResource<'a> {
    head: &'a Arc<[u8]>,
    scopes: Vec<OfScope<'a>>,
}

/// Those of one of its scopes.
struct OfScope<'a> {
    head: &'a [u8],
    spans: Vec<&'a [u8]>,
    /// Of the fields of the spans.
    len: usize,
}

impl OfScope<'_> {
    fn len(&self) -> usize {
        self.head.len() + self.len
    }
}

impl OfResource<'_> {
    fn len(&self) -> usize {
        let scopes = self.scopes.iter().map(|scope| field_len(resource_spans::SCOPE_SPANS, scope.len()));
        self.head.len() + scopes.sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_len(out, request::RESOURCE_SPANS, self.len());
        out.extend_from_slice(self.head);
        for scope in &self.scopes {
            put_len(out, resource_spans::SCOPE_SPANS, scope.len());
            out.extend_from_slice(scope.head);
            for span in &scope.spans {
                put_len(out, scope_spans::SPANS, span.len());
                out.extend_from_slice(span);
            }
        }
    }
}

/// The request for these spans, behind so many bytes for others.
pub(crate) fn encode(spans: &[FinishedSpan], before: usize) -> Vec<u8> {
    let resources = by_resource(spans);
    let len: usize = resources.iter().map(|resource| field_len(request::RESOURCE_SPANS, resource.len())).sum();
    let mut out = Vec::with_capacity(before + len);
    out.resize(before, 0);
    resources.iter().for_each(|resource| resource.write(&mut out));
    out
}

/// In the order in which resources, and their scopes, come.
fn by_resource(spans: &[FinishedSpan]) -> Vec<OfResource<'_>> {
    let mut resources = Vec::<OfResource<'_>>::new();
    let (mut by_resource, mut by_origin) = (HashMap::new(), HashMap::new());
    let mut last = None;
    for span in spans {
        let origin = span.origin();
        let (resource, scope) = match last {
            Some((known, place)) if Arc::ptr_eq(known, origin) => place,
            _ => *by_origin.entry(Arc::as_ptr(origin)).or_insert_with(|| {
                let head = &origin.resource_spans;
                let resource = *by_resource.entry(Arc::as_ptr(head)).or_insert_with(|| {
                    resources.push(OfResource { head, scopes: Vec::new() });
                    resources.len() - 1
                });
                let scope = resources.get_mut(resource).map_or(0, |resource| {
                    resource.scopes.push(OfScope { head: &origin.scope_spans, spans: Vec::new(), len: 0 });
                    resource.scopes.len() - 1
                });
                (resource, scope)
            }),
        };
        last = Some((origin, (resource, scope)));
        if let Some(of) = resources.get_mut(resource).and_then(|resource| resource.scopes.get_mut(scope)) {
            of.spans.push(span.bytes());
            of.len += field_len(scope_spans::SPANS, span.bytes().len());
        }
    }
    resources
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
        let service = text::service_name(otlp::ResourceSpans::decode(&*resource_head)?.resource.as_ref()).into();
        let resource_head = resource_head.into();
        for scope in scopes {
            let (of_scope, scope_head) = take_out(scope, scope_spans::SPANS);
            otlp::ScopeSpans::decode(&*scope_head)?;
            let origin = Origin::received(&service, &resource_head, scope_head);
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
        let made = encode(&spans, 5);
        assert_eq!(made.capacity(), made.len());
        assert_eq!(ExportTraceServiceRequest::decode(&made[5..]).unwrap(), sent);
        // Whatever the order in which they come.
        let mixed: Vec<_> = (0..204).map(|n| spans[n * 5 % 204].clone()).collect();
        let made = ExportTraceServiceRequest::decode(&*encode(&mixed, 0)).unwrap().resource_spans;
        let lens = |of: &otlp::ResourceSpans| of.scope_spans.iter().map(|scope| scope.spans.len()).collect::<Vec<_>>();
        assert_eq!(made.iter().map(lens).collect::<Vec<_>>(), [vec![200], vec![3, 1]]);
        assert!(encode(&[], 0).is_empty());
    }

    #[test]
    fn many_scopes_share_their_large_resource() {
        let large = "x".repeat(100_000);
        let sent = ExportTraceServiceRequest {
            resource_spans: vec![resource(&large, (0..1000).map(|n| scope(&n.to_string(), 1..2)).collect())],
        };
        let spans = decode(&sent.encode_to_vec()).unwrap();
        let first = spans[0].origin();
        assert!(spans.iter().all(|span| Arc::ptr_eq(&first.resource_spans, &span.origin().resource_spans)));
        assert_eq!((spans.len(), ExportTraceServiceRequest::decode(&*encode(&spans, 0)).unwrap()), (1000, sent));
    }

    /// They take a byte or two, and no decoder takes them for messages.
    #[test]
    fn groups_are_neither_scopes_nor_spans() {
        let group = |number: u8| vec![number << 3 | 3, number << 3 | 4];
        let within = |number: u8, content: Vec<u8>| [vec![number << 3 | 2, content.len() as u8], content].concat();
        for bytes in [group(1), within(1, group(2)), within(1, within(2, group(2)))] {
            assert!(ExportTraceServiceRequest::decode(&*bytes).is_err());
            assert!(decode(&bytes).is_err(), "{bytes:x?}");
        }
        // Of an unknown field, here 20, they are passed over.
        assert_eq!(decode(&within(1, within(2, within(2, vec![0xa3, 1, 0xa4, 1])))).unwrap().len(), 1);
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
