//! Spans as a collector got them, with what the tests ask of them.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;

/// A span with the service of its resource.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent: String,
    pub name: String,
    pub proto: ProtoSpan,
}

impl Span {
    /// An attribute, as text.
    pub fn tag(&self, key: &str) -> Option<String> {
        attribute(&self.proto.attributes, key)
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = &attributes.iter().find(|kv| kv.key == key)?.value.as_ref()?.value;
    Some(match value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        Value::BoolValue(b) => b.to_string(),
        other => format!("{other:?}"),
    })
}

pub fn of_request(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let attributes = resource_spans.resource.map(|r| r.attributes).unwrap_or_default();
        let service = attribute(&attributes, "service.name").unwrap_or_default();
        for proto in resource_spans.scope_spans.into_iter().flat_map(|s| s.spans) {
            spans.push(Span {
                service: service.clone(),
                trace_id: hex(&proto.trace_id),
                span_id: hex(&proto.span_id),
                parent: hex(&proto.parent_span_id),
                name: proto.name.clone(),
                proto,
            });
        }
    }
    spans
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The spans by their trace.
pub fn by_trace(spans: Vec<Span>) -> HashMap<String, Vec<Span>> {
    let mut traces: HashMap<_, Vec<_>> = HashMap::new();
    for span in spans {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    traces
}

/// The only span of a service with this name.
pub fn find<'s>(spans: &'s [Span], service: &str, name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|s| s.service == service && s.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name:?} of {service}: {:#?}", names(spans)));
    assert!(found.next().is_none(), "{name:?} of {service} twice: {:#?}", names(spans));
    first
}

pub fn names(spans: &[Span]) -> Vec<String> {
    spans.iter().map(|s| format!("{}/{} {} <- {}", s.service, s.name, s.span_id, s.parent)).collect()
}

/// The spans of one proxy: name, parent's name (or none), name of the linked span (or none).
const NINE: [(&str, Option<&str>, Option<&str>); 9] = [
    ("HAProxy session", None, None),
    ("Client session", Some("HAProxy session"), None),
    ("Frontend TCP request", Some("Client session"), None),
    ("Frontend HTTP request", Some("Client session"), Some("Frontend TCP request")),
    ("Backend TCP request", Some("Client session"), Some("Frontend HTTP request")),
    ("Backend HTTP request", Some("Client session"), Some("Backend TCP request")),
    ("Server session", Some("HAProxy session"), None),
    ("TCP response", Some("Server session"), None),
    ("HTTP response", Some("Server session"), Some("TCP response")),
];

/// Exactly the nine spans of a proxy, with parents and links as they have to be.
pub fn assert_nine(spans: &[Span], service: &str, parent_of_session: &str) {
    let of_service = spans.iter().filter(|s| s.service == service).count();
    assert_eq!(of_service, 9, "spans of {service}: {:#?}", names(spans));
    for (name, parent, link) in NINE {
        let span = find(spans, service, name);
        let parent_id = match parent {
            Some(parent) => find(spans, service, parent).span_id.as_str(),
            None => parent_of_session,
        };
        assert_eq!(span.parent, parent_id, "parent of {service}/{name}: {:#?}", names(spans));
        let links: Vec<_> = span.proto.links.iter().map(|l| hex(&l.span_id)).collect();
        let expected: Vec<_> = link.iter().map(|linked| find(spans, service, linked).span_id.clone()).collect();
        assert_eq!(links, expected, "links of {service}/{name}");
        for link in &span.proto.links {
            assert_eq!(attribute(&link.attributes, "opentracing.ref_type").as_deref(), Some("follows_from"));
        }
    }
}

/// Every span has a length, and none starts before its parent.
pub fn assert_times(spans: &[Span]) {
    let starts: HashMap<_, _> = spans.iter().map(|s| (&s.span_id, s.proto.start_time_unix_nano)).collect();
    for span in spans {
        assert!(span.proto.start_time_unix_nano < span.proto.end_time_unix_nano, "{} has no length", span.name);
        if let Some(parent) = starts.get(&span.parent) {
            assert!(
                *parent <= span.proto.start_time_unix_nano,
                "{}/{} starts before its parent",
                span.service,
                span.name
            );
        }
    }
}
