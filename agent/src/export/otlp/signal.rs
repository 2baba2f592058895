//! What is exported.

use crate::export::finite::make_finite;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::io;

/// A kind of telemetry, with a path and variables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) const ALL: [Self; 2] = [Self::Traces, Self::Metrics];

    /// What completes a base URL for OTLP/HTTP.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// The method that takes it over gRPC.
    pub(super) fn grpc_method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// What the names of its own variables begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Traces => "OTEL_EXPORTER_OTLP_TRACES_",
            Self::Metrics => "OTEL_EXPORTER_OTLP_METRICS_",
        }
    }

    /// A request in protobuf as JSON.
    pub(super) fn to_json(self, message: &[u8]) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Traces => {
                let mut request = ExportTraceServiceRequest::decode(message)?;
                request.resource_spans.iter_mut().for_each(make_finite);
                serde_json::to_vec(&request)?
            }
            Self::Metrics => serde_json::to_vec(&ExportMetricsServiceRequest::decode(message)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    /// As another process may have sent them, in protobuf.
    #[test]
    fn numbers_that_json_does_not_have_are_texts() {
        let attribute = |number| KeyValue {
            key: "ratio".into(),
            value: Some(AnyValue { value: Some(Value::DoubleValue(number)) }),
            ..Default::default()
        };
        let span = Span { attributes: [f64::NAN, f64::INFINITY, 0.5].map(attribute).into(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let json = String::from_utf8(Signal::Traces.to_json(&request).unwrap()).unwrap();
        assert!(json.contains(r#""stringValue":"NaN""#) && json.contains(r#""stringValue":"Infinity""#), "{json}");
        assert!(json.contains(r#""doubleValue":0.5"#) && !json.contains("Value\":null"), "{json}");
    }
}
