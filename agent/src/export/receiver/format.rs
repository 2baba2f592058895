//! The forms of OTLP over HTTP: protobuf or JSON, as it is or compressed. An answer has the form of its request.

use super::config::ReceiverConfig;
use super::request::{DecodeError, ReceivedRequest};
use axum::body::Bytes;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;
use std::io::{self, Read};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const ENCODINGS: &str = if cfg!(feature = "zstd") { "gzip and zstd are" } else { "gzip is" };
/// Windows of zstd, as a power of two: what its format asks every decoder to support, and all levels but the "ultra" ones.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW: u32 = 23;

/// How a message is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy)]
enum Compression {
    None,
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

/// The form of a request's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) format: Format,
    compression: Compression,
}

/// A refused request: the HTTP status and the text for the sender.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Form {
    /// The form that the headers tell. What is wrong with it is answered in the form itself, as far as it is known.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, (Format, Refusal)> {
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
        let unsupported = |text| Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        let content_type = header(CONTENT_TYPE).unwrap_or("none");
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let format = match media_type.to_ascii_lowercase().as_str() {
            PROTOBUF => Format::Protobuf,
            JSON => Format::Json,
            _ => {
                let text = format!("content type {content_type:?}: only {PROTOBUF} and {JSON} are supported");
                return Err((Format::Protobuf, unsupported(text)));
            }
        };
        let encoding = header(CONTENT_ENCODING).unwrap_or("identity");
        let compression = match encoding.to_ascii_lowercase().as_str() {
            "identity" => Compression::None,
            "gzip" => Compression::Gzip,
            #[cfg(feature = "zstd")]
            "zstd" => Compression::Zstd,
            _ => {
                let text = format!("content encoding {encoding:?}: only {ENCODINGS} supported");
                return Err((format, unsupported(text)));
            }
        };
        Ok(Form { format, compression })
    }

    /// Decompresses and decodes.
    pub(super) fn decode(self, body: Bytes, config: &ReceiverConfig) -> Result<ReceivedRequest, Refusal> {
        let max_body = config.max_body;
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => read(MultiGzDecoder::new(&*body), "gzip", max_body)?,
            #[cfg(feature = "zstd")]
            Compression::Zstd => read(unzstd(&body)?, "zstd", max_body)?,
        };
        let decoded = match self.format {
            Format::Protobuf => ReceivedRequest::decode(body, config.max_decoded),
            Format::Json => ReceivedRequest::decode_json(&body, config.max_decoded),
        };
        decoded.map_err(|error| {
            let status = match error {
                DecodeError::Invalid(_) => StatusCode::BAD_REQUEST,
                DecodeError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            };
            Refusal(status, error.to_string())
        })
    }
}

#[cfg(feature = "zstd")]
fn unzstd(body: &[u8]) -> Result<impl Read + '_, Refusal> {
    let mut decoder = zstd::Decoder::with_buffer(body).map_err(|error| invalid("zstd", &error))?;
    decoder.window_log_max(ZSTD_WINDOW).map_err(|error| invalid("zstd", &error))?;
    Ok(decoder)
}

fn read(compressed: impl Read, name: &str, max: usize) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let limit = (max as u64).saturating_add(1);
    compressed.take(limit).read_to_end(&mut plain).map_err(|error| invalid(name, &error))?;
    if plain.len() > max {
        return Err(Refusal::too_large(max));
    }
    // What is kept of it counts by its length.
    plain.shrink_to_fit();
    Ok(plain.into())
}

fn invalid(name: &str, error: &io::Error) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, format!("invalid {name} data: {error}"))
}

impl Refusal {
    pub(super) fn too_large(limit: usize) -> Self {
        Self(StatusCode::PAYLOAD_TOO_LARGE, format!("the request body exceeds {limit} bytes"))
    }

    /// To be tried again later.
    pub(super) fn busy() -> Self {
        Self::later("too many requests at once")
    }

    /// The same for another reason.
    pub(super) fn later(why: &str) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0 == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl Format {
    /// The answer to a request that was taken, though perhaps not all of it.
    pub(super) fn accepted(self, rejected: usize) -> Response {
        let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected as i64,
            error_message: "the queue to the collector is full".to_owned(),
        });
        let body = match self {
            Format::Protobuf => ExportTraceServiceResponse { partial_success }.encode_to_vec(),
            Format::Json => match partial_success {
                None => json!({}),
                Some(ExportTracePartialSuccess { rejected_spans, error_message }) => {
                    json!({"partialSuccess": {"rejectedSpans": rejected_spans.to_string(), "errorMessage": error_message}})
                }
            }
            .to_string()
            .into_bytes(),
        };
        self.with_type(body)
    }

    /// OTLP's error format: a `google.rpc.Status`.
    pub(super) fn refused(self, refusal: Refusal) -> Response {
        let is_busy = refusal.is_busy();
        let code = if is_busy { tonic::Code::Unavailable } else { tonic::Code::InvalidArgument };
        let Refusal(status, message) = refusal;
        let body = match self {
            Format::Protobuf => tonic_types::Status { code: code as i32, message, details: Vec::new() }.encode_to_vec(),
            Format::Json => json!({"code": code as i32, "message": message}).to_string().into_bytes(),
        };
        let mut response = (status, self.with_type(body)).into_response();
        if is_busy {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    fn with_type(self, body: Vec<u8>) -> Response {
        let content_type = match self {
            Format::Protobuf => PROTOBUF,
            Format::Json => JSON,
        };
        ([(CONTENT_TYPE, content_type)], body).into_response()
    }
}
