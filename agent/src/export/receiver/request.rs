//! A request's body, decoded.

use crate::export::decoded_size::{decoded_json_size, decoded_size};
use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// A valid request that the receiver got.
#[derive(Debug)]
pub struct ReceivedRequest {
    /// The protobuf message as it was sent, decompressed; made anew if it was sent as JSON.
    pub body: Bytes,
    /// `body`, decoded.
    pub message: ExportTraceServiceRequest,
    /// Number of spans in `message`.
    pub spans: usize,
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
        let message = ExportTraceServiceRequest::decode(body.clone()).map_err(invalid)?;
        Ok(Self::new(body, message))
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
        Ok(Self::new(message.encode_to_vec().into(), message))
    }

    fn new(body: Bytes, message: ExportTraceServiceRequest) -> Self {
        let scopes = message.resource_spans.iter().flat_map(|r| &r.scope_spans);
        Self { spans: scopes.map(|scope| scope.spans.len()).sum(), body, message }
    }
}

fn invalid(error: impl std::error::Error) -> DecodeError {
    DecodeError::Invalid(error.to_string())
}
