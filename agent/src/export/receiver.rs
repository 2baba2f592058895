//! An OTLP/HTTP receiver: takes spans of other processes, so that they appear
//! in the console's trees beside HAProxy's and reach the same collector.

use super::decoded_size::decoded_size;
use crate::http_server::{HttpLimits, HttpServer, HttpSnapshot, HttpStats};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::Router;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const PROTOBUF: &str = "application/x-protobuf";
/// Time within which a connection must send the head of its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a sender may leave a response unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A valid request that the receiver got.
#[derive(Debug)]
pub struct ReceivedRequest {
    /// The protobuf message as it was sent, decompressed.
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
        let message =
            ExportTraceServiceRequest::decode(body.clone()).map_err(|error| DecodeError::Invalid(error.to_string()))?;
        let scopes = message.resource_spans.iter().flat_map(|r| &r.scope_spans);
        Ok(Self { spans: scopes.map(|scope| scope.spans.len()).sum(), body, message })
    }
}

/// Takes received requests: the console, the forwarder.
pub trait RequestSink: Send + Sync {
    /// Takes a request without blocking. Gives the number of spans that it had
    /// to drop, which the receiver reports to the sender as rejected.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize;
}

/// Bounds of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Largest request body, before and after decompression (default 4 MiB).
    pub max_body: usize,
    /// Most memory of a decoded request (default 32 MiB); a body of some
    /// megabytes can be made to take hundreds.
    pub max_decoded: usize,
    /// Most requests handled at once; more are answered 503 (default 16).
    pub max_concurrent: usize,
    /// Most open connections; more are closed at once (default 256).
    pub max_connections: usize,
    /// Time for a request's body to arrive (default 10 s).
    pub body_timeout: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            max_body: 4 << 20,
            max_decoded: 32 << 20,
            max_concurrent: 16,
            max_connections: 256,
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// The receiver's counters at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReceiverSnapshot {
    /// Valid requests.
    pub requests: u64,
    /// Spans in them.
    pub spans: u64,
    /// Spans reported to their sender as rejected because a sink was full.
    pub rejected_spans: u64,
    /// Requests answered with an error because of what they contain.
    pub rejected_requests: u64,
    /// Requests answered 503 because too many were being handled.
    pub busy_requests: u64,
    /// Its connections.
    pub http: HttpSnapshot,
}

#[derive(Debug, Default)]
struct ReceiverStats {
    requests: AtomicU64,
    spans: AtomicU64,
    rejected_spans: AtomicU64,
    rejected_requests: AtomicU64,
    busy_requests: AtomicU64,
    http: Arc<HttpStats>,
}

struct Shared {
    config: ReceiverConfig,
    sinks: Vec<Arc<dyn RequestSink>>,
    slots: Semaphore,
    stats: ReceiverStats,
}

/// A running OTLP/HTTP receiver: `POST /v1/traces` with protobuf.
pub struct Receiver {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    server: HttpServer,
}

impl Receiver {
    /// Listens on `addr` and serves on the current Tokio runtime.
    pub async fn bind(
        addr: SocketAddr,
        config: ReceiverConfig,
        sinks: Vec<Arc<dyn RequestSink>>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let limits = HttpLimits {
            max_connections: config.max_connections,
            head_timeout: HEAD_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        };
        let shared = Arc::new(Shared {
            slots: Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS)),
            config,
            sinks,
            stats: ReceiverStats::default(),
        });
        let router = Router::new().route("/v1/traces", post(receive)).with_state(shared.clone());
        let server = HttpServer::start(listener, router, limits, shared.stats.http.clone());
        Ok(Self { local_addr, shared, server })
    }

    /// The address that the receiver listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The receiver's counters.
    pub fn stats(&self) -> ReceiverSnapshot {
        let stats = &self.shared.stats;
        ReceiverSnapshot {
            requests: stats.requests.load(Relaxed),
            spans: stats.spans.load(Relaxed),
            rejected_spans: stats.rejected_spans.load(Relaxed),
            rejected_requests: stats.rejected_requests.load(Relaxed),
            busy_requests: stats.busy_requests.load(Relaxed),
            http: stats.http.snapshot(),
        }
    }

    /// Accepts no more connections and lets requests under way finish for at
    /// most `grace`. To be called before the sinks are shut down.
    pub async fn shutdown(&self, grace: Duration) {
        self.server.shutdown(super::deadline_after(grace)).await;
    }
}

/// A refused request: the HTTP status and the text for the sender.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    /// OTLP's error format: a protobuf `google.rpc.Status`.
    fn into_response(self) -> Response {
        let code = match self.0 {
            StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
            _ => tonic::Code::InvalidArgument,
        };
        let status = tonic_types::Status { code: code as i32, message: self.1, details: Vec::new() };
        (self.0, [(CONTENT_TYPE, PROTOBUF)], status.encode_to_vec()).into_response()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let stats = &shared.stats;
    let Ok(_slot) = shared.slots.try_acquire() else {
        stats.busy_requests.fetch_add(1, Relaxed);
        let text = "too many requests at once".to_owned();
        let refusal = Refusal(StatusCode::SERVICE_UNAVAILABLE, text);
        return ([(RETRY_AFTER, "1")], refusal).into_response();
    };
    let request = match read_request(&shared.config, &headers, body).await {
        Ok(request) => Arc::new(request),
        Err(refusal) => {
            stats.rejected_requests.fetch_add(1, Relaxed);
            tracing::debug!(status = %refusal.0, reason = refusal.1, "OTLP request refused");
            return refusal.into_response();
        }
    };
    stats.requests.fetch_add(1, Relaxed);
    stats.spans.fetch_add(request.spans as u64, Relaxed);
    let rejected = shared.sinks.iter().map(|sink| sink.accept(&request)).max();
    let rejected = rejected.unwrap_or(0);
    stats.rejected_spans.fetch_add(rejected as u64, Relaxed);
    let response = ExportTraceServiceResponse {
        partial_success: (rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected as i64,
            error_message: "the queue to the collector is full".to_owned(),
        }),
    };
    ([(CONTENT_TYPE, PROTOBUF)], response.encode_to_vec()).into_response()
}

async fn read_request(config: &ReceiverConfig, headers: &HeaderMap, body: Body) -> Result<ReceivedRequest, Refusal> {
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let content_type = header(CONTENT_TYPE).unwrap_or("none");
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(PROTOBUF) {
        let text = format!("content type {content_type:?}: only {PROTOBUF} is supported");
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let gzip = match header(CONTENT_ENCODING) {
        None | Some("identity") => false,
        Some("gzip") => true,
        Some(other) => {
            let text = format!("content encoding {other:?}: only gzip is supported");
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    };
    let body = tokio::time::timeout(config.body_timeout, Limited::new(body, config.max_body).collect())
        .await
        .map_err(|_| {
            let text = "the request body took too long".to_owned();
            Refusal(StatusCode::REQUEST_TIMEOUT, text)
        })?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large(config.max_body)
            } else {
                Refusal(StatusCode::BAD_REQUEST, "unreadable request body".to_owned())
            }
        })?
        .to_bytes();
    let body = if gzip { gunzip(&body, config)? } else { body };
    ReceivedRequest::decode(body, config.max_decoded).map_err(|error| {
        let status = match error {
            DecodeError::Invalid(_) => StatusCode::BAD_REQUEST,
            DecodeError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Refusal(status, error.to_string())
    })
}

fn too_large(limit: usize) -> Refusal {
    let text = format!("the request body exceeds {limit} bytes");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn gunzip(body: &[u8], config: &ReceiverConfig) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let limit = (config.max_body as u64).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("invalid gzip data: {error}")))?;
    if plain.len() > config.max_body {
        return Err(too_large(config.max_body));
    }
    Ok(plain.into())
}
