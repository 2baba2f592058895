//! Where the collector is and how to talk to it: from flags and from the
//! `OTEL_EXPORTER_OTLP_*` environment variables.

use super::super::{resource, QueueConfig};
use super::endpoint::{Endpoint, Form};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// OTLP's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Protobuf over HTTP POST.
    #[default]
    HttpProtobuf,
    /// gRPC.
    Grpc,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http/protobuf" => Ok(Self::HttpProtobuf),
            "grpc" => Ok(Self::Grpc),
            _ => Err(format!("unknown OTLP protocol {text:?}: expected http/protobuf or grpc")),
        }
    }
}

/// Compression of requests to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
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
    /// Wait after the first failure (default 250 ms), doubled at each further
    /// one. Up to half of each wait is left out at random.
    pub initial_delay: Duration,
    /// Longest wait between two attempts (default 5 s).
    pub max_delay: Duration,
    /// Longest wait that a collector may ask for by `Retry-After` or
    /// `RetryInfo` (default 60 s).
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
    /// Time for one attempt (default 10 s); zero is as long as `max_age`.
    pub timeout: Duration,
    /// A batch is given up when its oldest span ended so long ago (default
    /// 5 minutes).
    pub max_age: Duration,
    /// Certificates for `https`.
    pub tls: TlsFiles,
    /// When a failing collector is asked again.
    pub retry: RetryConfig,
    /// Bounds of the queue of spans and, separately, of the forwarder's queue.
    pub queue: QueueConfig,
    /// Most requests under way at once (default 4).
    pub max_concurrent: usize,
    /// `service.instance.id` of every resource, unless
    /// `OTEL_RESOURCE_ATTRIBUTES` has one (default a random UUID, the same in
    /// all of this process).
    pub instance_id: String,
}

/// Why the OTLP configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpConfigError {
    /// A flag or an environment variable has an unusable value.
    #[error("{name}: {reason}")]
    Invalid {
        /// Flag or variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A PEM file could not be read or has no usable content.
    #[error("{path}: {reason}")]
    TlsFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS or the HTTP client could not be set up.
    #[error("cannot set up the connection to {url}: {reason}")]
    Setup {
        /// The endpoint.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

pub(super) fn invalid(name: impl Into<String>, reason: impl fmt::Display) -> OtlpConfigError {
    OtlpConfigError::Invalid { name: name.into(), reason: reason.to_string() }
}

impl OtlpConfig {
    /// Configuration for an endpoint; everything else has its default.
    ///
    /// `endpoint` is a base URL as in `OTEL_EXPORTER_OTLP_ENDPOINT`: for HTTP,
    /// `/v1/traces` is appended.
    pub fn new(endpoint: &str, protocol: Protocol) -> Result<Self, OtlpConfigError> {
        Ok(Self::at(Endpoint::parse("endpoint", endpoint, Form::Base, protocol, false)?, protocol))
    }

    fn at(Endpoint { url, authorization }: Endpoint, protocol: Protocol) -> Self {
        Self {
            url,
            protocol,
            headers: authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect(),
            compression: None,
            timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(300),
            tls: TlsFiles::default(),
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            max_concurrent: 4,
            instance_id: resource::instance_id().to_owned(),
        }
    }

    /// Configuration from the command line's endpoint and protocol, which take
    /// precedence, and the variables
    /// `OTEL_EXPORTER_OTLP_[TRACES_]{ENDPOINT,PROTOCOL,HEADERS,COMPRESSION,TIMEOUT,CERTIFICATE,CLIENT_CERTIFICATE,CLIENT_KEY}`
    /// and `OTEL_BSP_{MAX_QUEUE_SIZE,MAX_EXPORT_BATCH_SIZE,SCHEDULE_DELAY,EXPORT_TIMEOUT}`
    /// as read by `env` (as a rule `|name| std::env::var(name).ok()`). `None`
    /// if no endpoint is given anywhere.
    pub fn resolve(
        endpoint: Option<&str>,
        protocol: Option<Protocol>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OtlpConfigError> {
        // The variable of the signal wins; an empty value is an unset one.
        let lookup = |suffix: &str| {
            ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"]
                .into_iter()
                .map(|prefix| format!("{prefix}{suffix}"))
                .find_map(|name| {
                    let value = env(&name)?.trim().to_owned();
                    (!value.is_empty()).then_some((name, value))
                })
        };
        let protocol = match (protocol, lookup("PROTOCOL")) {
            (Some(protocol), _) => protocol,
            (None, Some((name, value))) => value.parse().map_err(|e: String| invalid(name, e))?,
            (None, None) => Protocol::default(),
        };
        let insecure = false;
        let parse = |name: &str, text: &str, form| Endpoint::parse(name, text, form, protocol, insecure);
        let endpoint = match (endpoint, lookup("ENDPOINT")) {
            (Some(endpoint), _) => parse("--otlp", endpoint, Form::Base)?,
            (None, Some((name, value))) if name.contains("TRACES") => parse(&name, &value, Form::Complete)?,
            (None, Some((name, value))) => parse(&name, &value, Form::Base)?,
            (None, None) => return Ok(None),
        };
        let mut config = Self::at(endpoint, protocol);
        if let Some((name, value)) = lookup("HEADERS") {
            config.headers.extend(parse_headers(&value).map_err(|reason| invalid(name, reason))?);
        }
        if let Some((name, value)) = lookup("COMPRESSION") {
            config.compression = match value.to_ascii_lowercase().as_str() {
                "none" => None,
                "gzip" => Some(Compression::Gzip),
                "zstd" => Some(Compression::Zstd),
                _ => return Err(invalid(name, format!("unknown compression {value:?}"))),
            };
        }
        if let Some((name, value)) = lookup("TIMEOUT") {
            config.timeout = Duration::from_millis(positive(name, &value)?);
        }
        config.batching(&env)?;
        let file = |suffix| lookup(suffix).map(|(_, value)| PathBuf::from(value));
        config.tls = TlsFiles {
            ca: file("CERTIFICATE"),
            client_certificate: file("CLIENT_CERTIFICATE"),
            client_key: file("CLIENT_KEY"),
        };
        Ok(Some(config))
    }

    /// The variables of the SDK's batch span processor. An attempt ends after
    /// the shorter one of the two timeouts.
    fn batching(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), OtlpConfigError> {
        let number = |name: &str| -> Result<Option<u64>, OtlpConfigError> {
            let value = env(name).filter(|value| !value.trim().is_empty());
            value.map(|value| positive(name, value.trim())).transpose()
        };
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(spans) = number("OTEL_BSP_MAX_QUEUE_SIZE")? {
            self.queue.max_spans = size(spans);
        }
        if let Some(spans) = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")? {
            self.queue.batch_spans = size(spans);
        }
        if let Some(millis) = number("OTEL_BSP_SCHEDULE_DELAY")? {
            self.queue.batch_delay = Duration::from_millis(millis);
        }
        if let Some(millis) = number("OTEL_BSP_EXPORT_TIMEOUT")? {
            self.timeout = self.timeout.min(Duration::from_millis(millis));
        }
        Ok(())
    }

    /// Time for one attempt.
    pub(super) fn attempt_limit(&self) -> Duration {
        if self.timeout.is_zero() {
            self.max_age
        } else {
            self.timeout
        }
    }

    /// Whether the endpoint is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == Some(&http::uri::Scheme::HTTPS)
    }
}

fn positive(name: impl Into<String>, value: &str) -> Result<u64, OtlpConfigError> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(invalid(name, format!("{value:?} is not a number above 0 (times are in milliseconds)"))),
    }
}

/// Parses `name=value,name=value` with percent-encoded values.
fn parse_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        // The value may be a secret: errors name the header only.
        let (name, value) = pair.split_once('=').ok_or("a header without '=': expected name=value,name=value")?;
        let name = HeaderName::from_str(name.trim()).map_err(|_| format!("invalid header name {:?}", name.trim()))?;
        let value = percent_decode_str(value.trim())
            .decode_utf8()
            .ok()
            .and_then(|value| HeaderValue::from_str(&value).ok())
            .ok_or_else(|| format!("invalid value of header {name}"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        endpoint: Option<&str>,
        protocol: Option<Protocol>,
        env: &[(&str, &str)],
    ) -> Result<Option<OtlpConfig>, OtlpConfigError> {
        OtlpConfig::resolve(endpoint, protocol, |name| {
            let (_, value) = env.iter().find(|(n, _)| *n == name)?;
            Some((*value).to_owned())
        })
    }

    fn url(endpoint: Option<&str>, protocol: Option<Protocol>, env: &[(&str, &str)]) -> String {
        let config = resolve(endpoint, protocol, env).unwrap().unwrap();
        config.url.to_string()
    }

    #[test]
    fn endpoint_rules() {
        assert!(resolve(None, None, &[]).unwrap().is_none());
        let empty = [("OTEL_EXPORTER_OTLP_ENDPOINT", " ")];
        assert!(resolve(None, None, &empty).unwrap().is_none());

        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318/x/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own/path");
        let grpc = Some(Protocol::Grpc);
        assert_eq!(url(None, None, &[base]), "http://base:4318/x/v1/traces");
        assert_eq!(url(None, None, &[base, traces]), "https://own/path");
        assert_eq!(url(None, grpc, &[base]), "http://base:4318/x/");
        let flag = Some("http://flag:1");
        assert_eq!(url(flag, None, &[base, traces]), "http://flag:1/v1/traces");
        assert_eq!(url(flag, grpc, &[base]), "http://flag:1/");
    }

    #[test]
    fn variables_of_the_signal_win() {
        let config = resolve(
            Some("http://c"),
            None,
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, X-B=two%20%2C words ,"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
                ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
            ],
        )
        .unwrap()
        .unwrap();
        assert_eq!(config.protocol, Protocol::Grpc);
        assert_eq!(config.headers["a"], "1");
        assert_eq!(config.headers["x-b"], "two , words");
        assert_eq!(config.headers.len(), 2);
        assert_eq!(config.compression, Some(Compression::Zstd));
        assert_eq!(config.timeout, Duration::from_millis(1500));
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(
            config.tls,
            TlsFiles { ca: path("/ca.pem"), client_certificate: path("/c.pem"), client_key: path("/k.pem") }
        );
    }

    #[test]
    fn unusable_values_are_named_in_the_error() {
        for (name, value, expected) in [
            ("ENDPOINT", "localhost:4318", "must start with http://"),
            ("ENDPOINT", "ftp://x", "must start with http://"),
            ("ENDPOINT", "http://", "invalid URL"),
            ("PROTOCOL", "http/json", "unknown OTLP protocol"),
            ("HEADERS", "no-equals", "without '='"),
            ("HEADERS", "b@d=1", "invalid header name \"b@d\""),
            ("HEADERS", "key=%0A", "invalid value of header key"),
            ("COMPRESSION", "br", "unknown compression \"br\""),
            ("TIMEOUT", "0", "milliseconds"),
            ("TIMEOUT", "1s", "milliseconds"),
        ] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            let default = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
            let error = resolve(None, None, &[(&name, value), default]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&name), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        assert!(OtlpConfig::new("c:1", Protocol::HttpProtobuf).is_err());
    }
}
