//! Why an attempt failed, whether another one makes sense, and what the
//! operator can do about it.

use super::config::OtlpConfig;
use http::StatusCode;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::time::{Duration, SystemTime};
use tonic::Code;
use tonic_types::StatusExt;

/// Kinds of failures, each with its own log limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No connection.
    Connect,
    /// The host's name was not resolved.
    Dns,
    /// No connection because of TLS.
    Tls,
    /// No answer in time.
    Timeout,
    /// The collector asks for patience.
    Busy,
    /// The collector refuses the request for good.
    Refused,
    /// The collector took only a part.
    Partial,
    /// Nothing was sent.
    Unmade,
}

impl FailureKind {
    pub(super) const COUNT: usize = Self::Unmade as usize + 1;
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) error: String,
    /// How long the collector asked to wait.
    pub(super) retry_after: Option<Duration>,
    tls: Option<rustls::Error>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, error: String) -> Self {
        Self { kind, error, retry_after: None, tls: None }
    }

    pub(super) fn timeout(limit: Duration) -> Self {
        Self::new(FailureKind::Timeout, format!("no answer within {limit:?}"))
    }

    /// Would another attempt have the same outcome?
    pub(super) fn is_final(&self) -> bool {
        self.kind == FailureKind::Refused
    }

    /// Of a request that got no answer.
    pub(super) fn of_connection(error: &(dyn Error + 'static)) -> Self {
        let text = error_chain(error);
        // Of an alert on an open connection, HTTP/2 keeps the text only; by then it can only be about the client.
        let is_alert = text.contains("received fatal alert");
        let alert = is_alert.then_some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
        let tls = sources(error).find_map(tls_error).or(alert);
        let kind = match &tls {
            Some(_) => FailureKind::Tls,
            None if text.contains("dns error") => FailureKind::Dns,
            None if sources(error).any(is_timeout) => FailureKind::Timeout,
            None => FailureKind::Connect,
        };
        Self { tls, ..Self::new(kind, text) }
    }

    /// Of an HTTP answer that is no success.
    pub(super) fn of_http(status: StatusCode, retry_after: Option<&str>) -> Self {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => FailureKind::Busy,
            _ => FailureKind::Refused,
        };
        let retry_after = retry_after.and_then(parse_retry_after);
        Self { retry_after, ..Self::new(kind, format!("the collector answered {status}")) }
    }

    /// Of a gRPC call.
    pub(super) fn of_grpc(status: &tonic::Status) -> Self {
        if let Some(error) = status.source() {
            return Self::of_connection(error);
        }
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let kind = match status.code() {
            Code::DeadlineExceeded => FailureKind::Timeout,
            Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
                FailureKind::Busy
            }
            // Only a server that says when to come back will recover.
            Code::ResourceExhausted if retry_after.is_some() => FailureKind::Busy,
            _ => FailureKind::Refused,
        };
        let text = format!("the collector answered {:?}: {}", status.code(), status.message());
        Self { retry_after, ..Self::new(kind, text) }
    }

    /// What to do about it, as an end of the log line.
    pub(super) fn hint(&self, config: &OtlpConfig) -> String {
        let host = config.url.host().unwrap_or_default();
        let advice = match (&self.kind, &self.tls) {
            (_, Some(error)) => tls_advice(error, config, host),
            (FailureKind::Dns, _) => {
                format!("the name {host} is not known here: check --otlp or OTEL_EXPORTER_OTLP_ENDPOINT")
            }
            (FailureKind::Connect, _) => {
                "is the collector running? The address is that of --otlp or OTEL_EXPORTER_OTLP_ENDPOINT".to_owned()
            }
            (FailureKind::Refused, _) if self.error.contains("401") || self.error.contains("403") => {
                "set the credentials in OTEL_EXPORTER_OTLP_HEADERS".to_owned()
            }
            _ => return String::new(),
        };
        format!("; {advice}")
    }
}

fn tls_advice(error: &rustls::Error, config: &OtlpConfig, host: &str) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let trusted = match &config.tls.ca {
        Some(path) => format!("{} (OTEL_EXPORTER_OTLP_CERTIFICATE)", path.display()),
        None => "the system's store".to_owned(),
    };
    match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {host} has expired: renew it at the collector")
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("the certificate of {host} is not valid yet: compare the clocks")
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!(
                "the collector's certificate is not for {host}: use one of its names in --otlp or \
                OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        }
        InvalidCertificate(_) => {
            format!(
                "the collector's certificate is not trusted by {trusted}: set OTEL_EXPORTER_OTLP_CERTIFICATE to the \
                PEM file of the authority that signed it"
            )
        }
        AlertReceived(_) if config.tls.client_certificate.is_none() => {
            "the collector may want a client certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
            OTEL_EXPORTER_OTLP_CLIENT_KEY"
                .to_owned()
        }
        AlertReceived(_) => {
            "the collector may not accept the client certificate: check OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
            OTEL_EXPORTER_OTLP_CLIENT_KEY"
                .to_owned()
        }
        InvalidMessage(_) => format!("{host} does not speak TLS at this port: http:// instead of https://?"),
        _ => "check OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
    }
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
}

/// An error with its sources: the outermost text alone ("transport error")
/// does not tell what is wrong.
pub(super) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = sources(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// I/O errors hide the errors that they wrap from the chain of sources.
fn tls_error(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error.clone());
    }
    let wrapped = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    tls_error(wrapped)
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

/// Seconds, or a date.
fn parse_retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        assert_eq!(parse_retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:00:10 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let wait = parse_retry_after(&later).unwrap();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        for text in ["", "-1", "soon"] {
            assert_eq!(parse_retry_after(text), None, "{text:?}");
        }
    }

    #[test]
    fn answers_are_final_or_not_as_otlp_says() {
        for (status, is_final) in [(429, false), (502, false), (503, false), (504, false), (400, true), (500, true)] {
            let failure = Failure::of_http(StatusCode::from_u16(status).unwrap(), Some("3"));
            assert_eq!(failure.is_final(), is_final, "{status}");
            assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
        }
        let exhausted = tonic::Status::resource_exhausted("full");
        assert!(Failure::of_grpc(&exhausted).is_final());
        let details = tonic_types::ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let patience = tonic::Status::with_error_details(Code::ResourceExhausted, "full", details);
        let failure = Failure::of_grpc(&patience);
        assert_eq!((failure.is_final(), failure.retry_after), (false, Some(Duration::from_secs(2))));
        assert!(!Failure::of_grpc(&tonic::Status::unavailable("busy")).is_final());
        assert!(Failure::of_grpc(&tonic::Status::unauthenticated("who?")).is_final());
    }
}
