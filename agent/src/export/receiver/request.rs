//! A request's body, decoded.

use crate::export::decoded_size::{decoded_json_size, decoded_size};
use crate::export::request;
use crate::span::FinishedSpan;
use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// A valid request that the receiver got.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The protobuf message as it was sent, decompressed; made anew if it was sent as JSON.
    pub body: Bytes,
    /// The spans in it.
    pub spans: Vec<FinishedSpan>,
}

/// A body that is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is no `ExportTraceServiceRequest`.
    #[error("invalid ExportTraceServiceRequest: {0}")]
    Invalid(String),
    /// Decoded, it would take more memory than this.
    #[error("the decoded request exceeds {0} bytes")]
    TooLarge(usize),
}

impl ReceivedRequest {
    /// Decodes the protobuf message `ExportTraceServiceRequest`, if it takes at most `max_decoded` bytes of memory then.
    ///
    /// # Errors
    /// The body is malformed, nested too deeply, or would take more.
    pub fn decode(body: Bytes, max_decoded: usize) -> Result<Self, DecodeError> {
        match decoded_size(&body) {
            None => return Err(DecodeError::Invalid("malformed, or nested too deeply".to_owned())),
            Some(size) if size > max_decoded => return Err(DecodeError::TooLarge(max_decoded)),
            Some(_) => {}
        }
        Self::of(body)
    }

    /// Decodes the same message in OTLP's JSON.
    ///
    /// # Errors
    /// The body is malformed, nested too deeply, or would take more.
    pub fn decode_json(body: &[u8], max_decoded: usize) -> Result<Self, DecodeError> {
        if decoded_json_size(body).map_err(invalid)? > max_decoded {
            return Err(DecodeError::TooLarge(max_decoded));
        }
        let message: ExportTraceServiceRequest = serde_json::from_slice(body).map_err(invalid)?;
        Self::of(message.encode_to_vec().into())
    }

    fn of(body: Bytes) -> Result<Self, DecodeError> {
        let spans = request::decode(&body).map_err(invalid)?;
        Ok(Self { body, spans })
    }
}

fn invalid(error: impl std::error::Error) -> DecodeError {
    DecodeError::Invalid(error.to_string())
}
