//! What is sent: spans become an OTLP request, with one resource for each
//! service.

use crate::span::FinishedSpan;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use std::collections::HashMap;
use std::sync::Arc;

/// Makes requests of spans.
#[derive(Debug)]
pub(super) struct RequestBuilder {
    /// What all resources have beside their service's name.
    common: Resource,
}

impl RequestBuilder {
    /// Reads the environment.
    pub(super) fn new(instance_id: &str) -> Self {
        Self { common: crate::resource::common(instance_id) }
    }

    /// The request for these spans.
    pub(super) fn request(&self, spans: Vec<Arc<FinishedSpan>>) -> ExportTraceServiceRequest {
        let groups = group_by_service(spans).into_iter();
        ExportTraceServiceRequest {
            resource_spans: groups.map(|(service, spans)| self.of_service(&service, spans)).collect(),
        }
    }

    fn of_service(&self, service: &str, spans: Vec<Arc<FinishedSpan>>) -> ResourceSpans {
        let common = self.common.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource = Resource::builder_empty().with_attributes(common).with_service_name(service.to_owned()).build();
        let scope = spans.first().map(|span| (&span.data.instrumentation_scope, None).into());
        ResourceSpans {
            resource: Some(resource::v1::Resource {
                attributes: ResourceAttributesWithSchema::from(&resource).attributes.0,
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { scope, spans: spans.into_iter().map(span).collect(), ..Default::default() }],
            ..Default::default()
        }
    }
}

/// The span as it is sent.
fn span(span: Arc<FinishedSpan>) -> Span {
    // Without another exporter's reference to it the span is moved.
    let FinishedSpan { tracestate, data, .. } = Arc::unwrap_or_clone(span);
    let mut span = Span::from(data);
    if let Some(tracestate) = tracestate {
        for link in &mut span.links {
            tracestate.as_ref().clone_into(&mut link.trace_state);
        }
        tracestate.as_ref().clone_into(&mut span.trace_state);
    }
    span
}

/// In the order in which the services come.
fn group_by_service(spans: Vec<Arc<FinishedSpan>>) -> Vec<(Arc<str>, Vec<Arc<FinishedSpan>>)> {
    let mut groups = Vec::<(Arc<str>, Vec<_>)>::new();
    let mut index = HashMap::new();
    for span in spans {
        let group = *index.entry(span.service.clone()).or_insert_with(|| {
            groups.push((span.service.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(span);
    }
    groups
}
