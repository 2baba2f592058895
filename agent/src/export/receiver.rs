//! An OTLP/HTTP receiver: takes spans of other processes, so that they appear
//! in the console's trees beside HAProxy's and reach the same collector.

mod body;
mod format;

use super::decoded_size::{decoded_json_size, decoded_size};
use crate::http_server::{HttpLimits, HttpServer, HttpSnapshot, HttpStats, Peer};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use body::Budget;
use format::{Form, Refusal};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spop_agent::ServerConfig;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;

/// Time within which a connection must send the head of its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a sender may leave a response unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Takes received requests: the console, the forwarder.
pub trait RequestSink: Send + Sync {
    /// Takes a request without waiting for anybody. Gives the number of spans that it had
    /// to drop, which the receiver reports to the sender as rejected.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize;
}

/// Bounds of the receiver.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ReceiverConfig {
    /// Largest request body, before and after decompression
    #[arg(id = "receiver_max_body", long = "receiver-max-body", value_name = "SIZE", default_value = "4MiB", value_parser = spop_agent::size::parse)]
    pub max_body: usize,

    /// Most memory of a decoded request: a body of some megabytes can be made to take hundreds
    #[arg(id = "receiver_max_decoded", long = "receiver-max-decoded", value_name = "SIZE", default_value = "32MiB", value_parser = spop_agent::size::parse)]
    pub max_decoded: usize,

    /// Most memory of all bodies that arrive or wait for their turn, and half of it for those of one peer; further
    /// requests are answered 503
    #[arg(id = "receiver_max_buffered", long = "receiver-max-buffered", value_name = "SIZE", default_value = "64MiB", value_parser = spop_agent::size::parse)]
    pub max_buffered: usize,

    /// Most requests decoded at once, beside what serves HAProxy; further ones wait
    #[arg(id = "receiver_threads", long = "receiver-threads", value_name = "N", default_value_t = 1)]
    pub threads: usize,

    /// Most connections to the receiver; an idle one makes room, else further ones are closed
    #[arg(id = "receiver_max_connections", long = "receiver-max-connections", value_name = "N", default_value_t = 256)]
    pub max_connections: usize,

    /// Most of these of one peer, which is an address, or a /64 network of IPv6
    #[arg(id = "receiver_max_per_peer", long = "receiver-max-per-peer", value_name = "N", default_value_t = 128)]
    pub max_per_peer: usize,

    /// File descriptors that the connections leave to others; further ones are closed at once. On the command line it is
    /// that of the SPOP server
    #[arg(skip = ServerConfig::default().reserved_files)]
    pub reserved_files: u64,

    /// How long a request's body may take, and then wait for its turn
    #[arg(id = "receiver_body_timeout", long = "receiver-body-timeout", value_name = "TIME", default_value = "10s", value_parser = spop_agent::duration::parse)]
    pub body_timeout: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            max_body: 4 << 20,
            max_decoded: 32 << 20,
            max_buffered: 64 << 20,
            threads: 1,
            max_connections: 256,
            max_per_peer: 128,
            reserved_files: ServerConfig::default().reserved_files,
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
    /// Requests answered 503 because too much was being handled.
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
    budget: Arc<Budget>,
    decoders: Arc<Semaphore>,
    stats: ReceiverStats,
}

/// A running OTLP/HTTP receiver: `POST /v1/traces` with protobuf or JSON.
pub struct Receiver {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    server: HttpServer,
}

impl Receiver {
    /// Listens on `addr` and serves on the current Tokio runtime.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        config: ReceiverConfig,
        sinks: Vec<Arc<dyn RequestSink>>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let limits = HttpLimits {
            max_connections: config.max_connections,
            max_per_peer: config.max_per_peer,
            reserved_files: config.reserved_files,
            head_timeout: HEAD_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        };
        let shared = Arc::new(Shared {
            budget: Budget::new(config.max_buffered),
            decoders: Arc::new(Semaphore::new(config.threads.clamp(1, Semaphore::MAX_PERMITS))),
            config,
            sinks,
            stats: ReceiverStats::default(),
        });
        let router = Router::new().route("/v1/traces", post(receive)).route("/v1/traces/", post(receive));
        let router = router.with_state(shared.clone());
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

async fn receive(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let stats = &shared.stats;
    let (format, outcome) = match Form::of(&headers) {
        Ok(form) => (form.format, handle(&shared, peer, form, body).await),
        Err((format, refusal)) => (format, Err(refusal)),
    };
    match outcome {
        Ok(rejected) => format.accepted(rejected),
        Err(refusal) => {
            let counter = if refusal.is_busy() { &stats.busy_requests } else { &stats.rejected_requests };
            counter.fetch_add(1, Relaxed);
            tracing::debug!(status = %refusal.0, reason = refusal.1, "OTLP request refused");
            format.refused(refusal)
        }
    }
}

/// Gives the number of spans that the sinks rejected.
async fn handle(shared: &Arc<Shared>, peer: Peer, form: Form, body: Body) -> Result<usize, Refusal> {
    let timeout = shared.config.body_timeout;
    let mut part = shared.budget.part(peer);
    let body = tokio::time::timeout(timeout, body::read(body, shared.config.max_body, &mut part))
        .await
        .map_err(|_| Refusal(StatusCode::REQUEST_TIMEOUT, "the request body took too long".to_owned()))??;
    let decoder = tokio::time::timeout(timeout, shared.decoders.clone().acquire_owned()).await;
    let Ok(Ok(decoder)) = decoder else { return Err(Refusal::busy()) };
    let shared = shared.clone();
    // Some milliseconds, in which this thread serves HAProxy. All of it is over when the permit is given back.
    let work = move || {
        let (_decoder, _part) = (decoder, part);
        let request = Arc::new(form.decode(body, &shared.config)?);
        let stats = &shared.stats;
        stats.requests.fetch_add(1, Relaxed);
        stats.spans.fetch_add(request.spans as u64, Relaxed);
        let rejected = shared.sinks.iter().map(|sink| sink.accept(&request)).max().unwrap_or(0);
        stats.rejected_spans.fetch_add(rejected as u64, Relaxed);
        Ok(rejected)
    };
    let failed = |_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be handled".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
