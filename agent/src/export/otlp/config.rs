//! Where the collector is and how to talk to it.

use super::endpoint::{Endpoint, Form, shown};
use super::error::OtlpConfigError;
use super::protocol::Protocol;
use super::signal::Signal;
use crate::export::QueueConfig;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use std::path::PathBuf;
use std::time::Duration;

/// Compression of requests to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip
    Gzip,
    /// Zstandard
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    /// Reads `none`, `gzip` or `zstd`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(None),
            "gzip" => Ok(Some(Self::Gzip)),
            #[cfg(feature = "zstd")]
            "zstd" => Ok(Some(Self::Zstd)),
            #[cfg(not(feature = "zstd"))]
            "zstd" => Err("zstd is left out of this build: expected gzip or none".to_owned()),
            _ => Err(format!("unknown compression {text:?}: expected gzip, zstd or none")),
        }
    }
}

/// PEM files for connections to an `https` endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate, for mutual TLS.
    pub client_certificate: Option<PathBuf>,
    /// Private key of the client certificate.
    pub client_key: Option<PathBuf>,
}

/// When a failing collector is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// Wait after the first failure, doubled at each further one. Up to half of
    /// each wait is left out at random.
    pub initial_delay: Duration,
    /// Longest wait between two attempts.
    pub max_delay: Duration,
    /// Longest wait that a collector may ask for by `Retry-After` or
    /// `RetryInfo`.
    pub max_retry_after: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

/// Configuration of the OTLP exporter.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// URL that the requests go to: complete for HTTP, scheme and authority
    /// for gRPC.
    pub url: Uri,
    /// Transport.
    pub protocol: Protocol,
    /// Headers (gRPC: metadata) added to every request.
    pub headers: HeaderMap,
    /// Compression of the requests.
    pub compression: Option<Compression>,
    /// Time for one attempt; zero is as long as `max_age`.
    pub timeout: Duration,
    /// A batch is given up when its oldest span ended so long ago.
    pub max_age: Duration,
    /// Certificates for `https`.
    pub tls: TlsFiles,
    /// When a failing collector is asked again.
    pub retry: RetryConfig,
    /// Bounds of the queue of spans and, separately, of the forwarder's queue.
    pub queue: QueueConfig,
    /// Most requests under way at once.
    pub max_concurrent: usize,
    /// What is exported.
    pub(super) signal: Signal,
    /// Where the user said what may be wrong.
    pub(super) given_by: GivenBy,
}

/// The options and variables that the texts for the user name.
#[derive(Debug, Clone)]
pub(super) struct GivenBy {
    pub(super) endpoint: String,
    pub(super) ca: String,
    pub(super) client_certificate: String,
    pub(super) client_key: String,
}

impl Default for GivenBy {
    fn default() -> Self {
        Self {
            endpoint: "--otlp or OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            ca: "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
            client_certificate: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE".to_owned(),
            client_key: "OTEL_EXPORTER_OTLP_CLIENT_KEY".to_owned(),
        }
    }
}

impl OtlpConfig {
    /// Default of [`max_age`](Self::max_age).
    pub const MAX_AGE: Duration = Duration::from_secs(300);

    /// What stands in the way of a connection.
    pub(super) fn setup_error(&self, reason: impl Into<String>) -> OtlpConfigError {
        OtlpConfigError::Setup { url: shown(&self.url), reason: reason.into() }
    }

    /// Configuration for an endpoint; everything else has its default.
    ///
    /// `endpoint` is a base URL as in `OTEL_EXPORTER_OTLP_ENDPOINT`: for HTTP,
    /// `/v1/traces` is appended unless it ends with that.
    pub fn new(endpoint: &str, protocol: Protocol) -> Result<Self, OtlpConfigError> {
        let of = (protocol, Signal::Traces);
        Ok(Self::at(Endpoint::parse("endpoint", endpoint, Form::Base, of, false)?, of))
    }

    pub(super) fn at(Endpoint { url, authorization }: Endpoint, (protocol, signal): (Protocol, Signal)) -> Self {
        Self {
            url,
            protocol,
            headers: authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect(),
            compression: None,
            timeout: Duration::from_secs(10),
            max_age: Self::MAX_AGE,
            tls: TlsFiles::default(),
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            max_concurrent: 4,
            signal,
            given_by: GivenBy::default(),
        }
    }

    /// Time for one attempt.
    pub(super) fn attempt_limit(&self) -> Duration {
        if self.timeout.is_zero() { self.max_age } else { self.timeout }
    }

    /// Whether the endpoint is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == Some(&http::uri::Scheme::HTTPS)
    }
}
