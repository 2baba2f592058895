//! Why an attempt failed, and whether another one makes sense.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use prost::Message;
use rustls::AlertDescription;
use serde_json::Value as Json;
use spop_agent::ratelimit::excerpt;
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
    /// The collector wants credentials, or other ones.
    Unauthorized,
    /// The collector refuses the request for its size.
    TooLarge,
    /// What answers is no OTLP collector.
    NotOtlp,
    /// What answers speaks HTTP instead of gRPC, or the reverse.
    OtherProtocol,
    /// The collector took only a part, or has a remark.
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
    pub(super) tls: Option<rustls::Error>,
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
        use FailureKind::{NotOtlp, Refused, TooLarge, Unauthorized};
        matches!(self.kind, Refused | Unauthorized | TooLarge | NotOtlp)
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
            None if is_other_protocol(error, &text) => FailureKind::OtherProtocol,
            None if sources(error).any(is_timeout) => FailureKind::Timeout,
            None => FailureKind::Connect,
        };
        Self { tls, ..Self::new(kind, text) }
    }

    /// Of an HTTP answer that is no success.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let reason = error_text(header(CONTENT_TYPE), body);
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => FailureKind::Busy,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureKind::Unauthorized,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => FailureKind::NotOtlp,
            StatusCode::PAYLOAD_TOO_LARGE => FailureKind::TooLarge,
            // What OpenTelemetry's Collector says of a body beyond its limit.
            StatusCode::BAD_REQUEST if is_about_size(&reason) => FailureKind::TooLarge,
            _ => FailureKind::Refused,
        };
        let colon = if reason.is_empty() { "" } else { ": " };
        let text = format!("the collector answered {status}{colon}{reason}");
        Self { retry_after: header(RETRY_AFTER).and_then(parse_retry_after), ..Self::new(kind, text) }
    }

    /// Of a gRPC call whose answer has no status.
    pub(super) fn of_missing_status(content_type: Option<&str>) -> Self {
        let media_type = media_type(content_type);
        if media_type.starts_with("application/grpc") {
            return Self::new(FailureKind::Refused, "the answer ended without a gRPC status".to_owned());
        }
        Self::new(FailureKind::OtherProtocol, format!("the answer is of the type {media_type:?}, not gRPC's"))
    }

    /// Of a gRPC status that is no success.
    pub(super) fn of_grpc(status: &tonic::Status) -> Self {
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let kind = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => FailureKind::Unauthorized,
            Code::Unimplemented => FailureKind::NotOtlp,
            // There is no code of its own for it.
            Code::ResourceExhausted | Code::OutOfRange if is_about_size(status.message()) => FailureKind::TooLarge,
            Code::DeadlineExceeded => FailureKind::Timeout,
            Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
                FailureKind::Busy
            }
            // Only a server that says when to come back will recover.
            Code::ResourceExhausted if retry_after.is_some() => FailureKind::Busy,
            _ => FailureKind::Refused,
        };
        let message = excerpt(status.message().as_bytes());
        let text = format!("the collector answered {:?}: {message}", status.code());
        Self { retry_after, ..Self::new(kind, text) }
    }
}

/// What the body of an error says, for the log; empty if that is for browsers only.
fn error_text(content_type: Option<&str>, body: &[u8]) -> String {
    let text = match media_type(content_type).as_str() {
        "application/x-protobuf" | "application/protobuf" => {
            tonic_types::Status::decode(body).map(|status| status.message).unwrap_or_default()
        }
        "application/json" => {
            let status: Json = serde_json::from_slice(body).unwrap_or_default();
            status["message"].as_str().unwrap_or_default().to_owned()
        }
        "text/plain" => String::from_utf8_lossy(body).into_owned(),
        _ => String::new(),
    };
    excerpt(text.trim().as_bytes()).into_owned()
}

/// Without parameters, in lower case.
pub(super) fn media_type(content_type: Option<&str>) -> String {
    content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
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

/// An HTTP client that reads HTTP/2's frames, and the reverse.
fn is_other_protocol(error: &(dyn Error + 'static), text: &str) -> bool {
    let mut hyper = sources(error).filter_map(|error| error.downcast_ref::<hyper::Error>());
    hyper.any(hyper::Error::is_parse) || text.contains("frame with invalid size")
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

/// As the servers of gRPC's languages and Go's HTTP server put it.
fn is_about_size(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["larger than max", "too large", "exceeds maximum size", "exceeds the maximum", "size limit"]
        .iter()
        .any(|text| reason.contains(text))
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
            let headers = HeaderMap::from_iter([(RETRY_AFTER, 3.into())]);
            let failure = Failure::of_http(StatusCode::from_u16(status).unwrap(), &headers, b"");
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

    #[test]
    fn requests_that_are_too_large_are_told_from_other_ones() {
        let plain = HeaderMap::from_iter([(CONTENT_TYPE, "text/plain".parse().unwrap())]);
        for (status, text, kind) in [
            (413, "", FailureKind::TooLarge),
            (400, "http: request body too large", FailureKind::TooLarge),
            (400, "no", FailureKind::Refused),
            (503, "queue too large", FailureKind::Busy),
        ] {
            let failure = Failure::of_http(StatusCode::from_u16(status).unwrap(), &plain, text.as_bytes());
            assert_eq!(failure.kind, kind, "{status} {text}");
            assert!(failure.error.ends_with(text), "{}", failure.error);
        }
        for (code, text, kind) in [
            // Go, C and Python, Java, .NET, Rust.
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", FailureKind::TooLarge),
            (Code::ResourceExhausted, "SERVER: Received message larger than max (5 vs. 4)", FailureKind::TooLarge),
            (Code::ResourceExhausted, "gRPC message exceeds maximum size 4: 5", FailureKind::TooLarge),
            (Code::ResourceExhausted, "Received message exceeds the maximum configured size.", FailureKind::TooLarge),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes", FailureKind::TooLarge),
            (Code::ResourceExhausted, "quota used up", FailureKind::Refused),
            (Code::OutOfRange, "out of range", FailureKind::Busy),
            (Code::InvalidArgument, "attribute too large", FailureKind::Refused),
        ] {
            assert_eq!(Failure::of_grpc(&tonic::Status::new(code, text)).kind, kind, "{code:?} {text}");
        }
    }

    #[test]
    fn an_error_says_why() {
        let status = tonic_types::Status { code: 3, message: "no spans".to_owned(), details: Vec::new() };
        assert_eq!(error_text(Some("application/x-protobuf"), &status.encode_to_vec()), "no spans");
        assert_eq!(error_text(Some("application/json"), br#"{"code":3,"message":"no spans"}"#), "no spans");
        assert_eq!(error_text(Some("text/plain; charset=utf-8"), b"404 page not found\n"), "404 page not found");
        assert_eq!(error_text(Some("text/html"), b"<html>"), "");
        assert_eq!(error_text(Some("text/plain"), &[b'x'; 10_000]).len(), 255);
    }
}
