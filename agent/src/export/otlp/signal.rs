//! What is exported.

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
            Self::Traces => serde_json::to_vec(&ExportTraceServiceRequest::decode(message)?)?,
            Self::Metrics => serde_json::to_vec(&ExportMetricsServiceRequest::decode(message)?)?,
        })
    }
}
