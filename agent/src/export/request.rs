//! What is sent: spans become an OTLP request, with one resource for each
//! service.

use super::{resource, FinishedSpan};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
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
        Self { common: resource::common(instance_id) }
    }

    /// The request for these spans.
    pub(super) fn request(&self, spans: Vec<Arc<FinishedSpan>>) -> ExportTraceServiceRequest {
        let groups = group_by_service(spans).into_iter();
        ExportTraceServiceRequest {
            resource_spans: groups.flat_map(|(service, spans)| self.of_service(&service, spans)).collect(),
        }
    }

    fn of_service(&self, service: &str, spans: Vec<SpanData>) -> Vec<ResourceSpans> {
        let common = self.common.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource = Resource::builder_empty().with_attributes(common).with_service_name(service.to_owned()).build();
        group_spans_by_resource_and_scope(spans, &ResourceAttributesWithSchema::from(&resource))
    }
}

/// In the order in which the services come.
fn group_by_service(spans: Vec<Arc<FinishedSpan>>) -> Vec<(Arc<str>, Vec<SpanData>)> {
    let mut groups = Vec::<(Arc<str>, Vec<SpanData>)>::new();
    let mut index = HashMap::new();
    for span in spans {
        // Without another exporter's reference to it the span is moved.
        let FinishedSpan { service, data } = Arc::unwrap_or_clone(span);
        let group = *index.entry(service.clone()).or_insert_with(|| {
            groups.push((service, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(data);
    }
    groups
}
