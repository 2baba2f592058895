//! The two histograms.

use opentelemetry_semantic_conventions::metric::{HTTP_CLIENT_REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION};

/// The upper bounds of the buckets in seconds, as OpenTelemetry's conventions advise.
pub(super) const BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Whose requests a histogram counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Those of clients to us.
    Server,
    /// Ours to servers.
    Client,
}

impl Side {
    /// The name of its metric.
    pub(super) fn metric(self) -> &'static str {
        match self {
            Side::Server => HTTP_SERVER_REQUEST_DURATION,
            Side::Client => HTTP_CLIENT_REQUEST_DURATION,
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Side::Server => "Duration of HTTP server requests.",
            Side::Client => "Duration of HTTP client requests.",
        }
    }
}
