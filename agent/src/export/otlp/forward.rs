//! Passing on OTLP requests of other processes, unchanged.

use super::transport::{compress, error_chain, Transport};
use super::{record, within, OtlpConfig};
use crate::export::queue::{BoundedQueue, Weight};
use crate::export::receiver::{ReceivedRequest, RequestSink};
use crate::export::stats::LogLimit;
use crate::export::worker::Worker;
use crate::export::{ExportSnapshot, ExportStats};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::Code;

/// Largest response body that is read.
const MAX_RESPONSE: usize = 64 << 10;

/// What is queued of a received request: not the decoded message, which can
/// take far more memory than the bytes that are counted.
struct Request {
    body: Bytes,
    spans: usize,
}

/// Forwards received OTLP requests to the collector: over HTTP the same
/// protobuf bytes, over gRPC the same message.
pub struct Forwarder {
    queue: Arc<BoundedQueue<Request>>,
    stats: Arc<ExportStats>,
    drop_log: LogLimit,
    worker: Worker,
}

impl Forwarder {
    pub(super) fn start(config: Arc<OtlpConfig>, transport: Transport) -> Self {
        let queue = crate::export::QueueConfig {
            // Requests are batches already: send each as soon as possible.
            batch_spans: 1,
            batch_delay: Duration::ZERO,
            ..config.queue.clone()
        };
        let queue = Arc::new(BoundedQueue::new(queue));
        let stats = Arc::<ExportStats>::default();
        let sender = Sender { config, transport, stats: stats.clone() };
        Self { worker: Worker::spawn(run(queue.clone(), sender)), queue, stats, drop_log: LogLimit::default() }
    }

    /// The forwarder's counters, in spans of the forwarded requests.
    pub fn stats(&self) -> ExportSnapshot {
        self.stats.snapshot()
    }

    pub(super) async fn shutdown(&self, deadline: Instant) {
        self.queue.close();
        if self.worker.join(deadline).await {
            self.stats.drop_pending();
            let lost = self.stats().dropped_shutdown;
            if lost > 0 {
                tracing::warn!(spans = lost, "received spans not forwarded at shutdown");
            }
        }
    }
}

impl RequestSink for Forwarder {
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        let spans = request.spans;
        self.stats.add_submitted(spans);
        let weight = Weight {
            // A request without spans takes a place, too.
            spans: spans.max(1),
            bytes: request.body.len(),
        };
        let request = Request { body: request.body.clone(), spans };
        match self.queue.push(request, weight) {
            Ok(()) => 0,
            Err(cause) => {
                self.stats.add_dropped(cause, spans);
                if let Some(spans) = self.drop_log.occurred(spans) {
                    tracing::warn!(spans, cause = cause.as_str(), "received spans not forwarded");
                }
                spans
            }
        }
    }
}

async fn run(queue: Arc<BoundedQueue<Request>>, sender: Sender) {
    let failure_log = LogLimit::default();
    let limit = sender.config.max_concurrent.max(1);
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            batch = queue.next_batch(), if open && under_way.len() < limit => match batch {
                Some(batch) => {
                    for request in batch {
                        let (sender, failure_log) = (&sender, &failure_log);
                        under_way.push(async move {
                            sender.forward(&request, failure_log).await;
                        });
                    }
                }
                None => open = false,
            },
            Some(()) = under_way.next() => {}
        }
    }
}

struct Sender {
    config: Arc<OtlpConfig>,
    transport: Transport,
    stats: Arc<ExportStats>,
}

/// A failed attempt.
struct Failure {
    error: String,
    retryable: bool,
    /// How long the collector asked to wait.
    retry_after: Option<Duration>,
}

/// A request as it goes over the wire, prepared once for all attempts.
enum Payload<'a> {
    Http(&'a reqwest::Client, Bytes, Option<&'static str>),
    Grpc(&'a Channel, ExportTraceServiceRequest),
}

impl Sender {
    async fn forward(&self, request: &Request, log: &LogLimit) {
        let sending = self.send_with_retries(&request.body);
        match within(self.config.timeout, sending).await {
            Ok(0) => record(Ok(()), request.spans, &self.stats, log),
            Ok(rejected) => {
                let rejected = rejected.min(request.spans);
                record(Ok(()), request.spans - rejected, &self.stats, log);
                let error = "the collector rejected a part of a request".to_owned();
                record(Err(error), rejected, &self.stats, log);
            }
            Err(error) => record(Err(error), request.spans, &self.stats, log),
        }
    }

    /// Gives the number of spans that the collector says it rejected.
    async fn send_with_retries(&self, body: &Bytes) -> Result<usize, String> {
        let retry = &self.config.retry;
        let payload = self.payload(body).map_err(|error| error.to_string())?;
        let mut delay = retry.initial_delay;
        let mut retries = 0;
        loop {
            self.stats.add_attempt();
            let result = match &payload {
                Payload::Http(client, body, encoding) => self.send_http(client, body, *encoding).await,
                Payload::Grpc(channel, message) => self.send_grpc(channel, message).await,
            };
            let failure = match result {
                Ok(response) => {
                    let rejected = response.partial_success.map_or(0, |p| p.rejected_spans);
                    return Ok(usize::try_from(rejected).unwrap_or(0));
                }
                Err(failure) => failure,
            };
            if !failure.retryable || retries >= retry.max_retries {
                return Err(failure.error);
            }
            retries += 1;
            tokio::time::sleep(delay.max(failure.retry_after.unwrap_or_default())).await;
            delay = delay.saturating_mul(2).min(retry.max_delay);
        }
    }

    fn payload(&self, body: &Bytes) -> Result<Payload<'_>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match &self.transport {
            Transport::Http(client) => {
                let (body, encoding) = compress(body, self.config.compression)?;
                Payload::Http(client, body, encoding)
            }
            Transport::Grpc(channel) => Payload::Grpc(channel, ExportTraceServiceRequest::decode(body.clone())?),
        })
    }

    async fn send_http(
        &self,
        client: &reqwest::Client,
        body: &Bytes,
        encoding: Option<&'static str>,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let mut request = client
            .post(self.config.url.to_string())
            .headers(self.config.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body.clone());
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let mut response = request.send().await.map_err(|error| Failure {
            error: error_chain(&error),
            retryable: true,
            retry_after: None,
        })?;
        let status = response.status();
        if !status.is_success() {
            let seconds = response.headers().get(RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(Failure {
                error: format!("the collector answered {status}"),
                retryable: matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                ),
                retry_after: seconds.map(Duration::from_secs),
            });
        }
        // The spans are delivered: an unreadable answer changes nothing.
        let mut answer = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if answer.len() + chunk.len() > MAX_RESPONSE {
                break;
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(ExportTraceServiceResponse::decode(&answer[..]).unwrap_or_default())
    }

    async fn send_grpc(
        &self,
        channel: &Channel,
        message: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let mut client = TraceServiceClient::new(channel.clone());
        if let Some(compression) = self.config.compression {
            client = client.send_compressed(match compression {
                super::Compression::Gzip => CompressionEncoding::Gzip,
                super::Compression::Zstd => CompressionEncoding::Zstd,
            });
        }
        let mut request = tonic::Request::new(message.clone());
        *request.metadata_mut() = MetadataMap::from_headers(self.config.headers.clone());
        match client.export(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(Failure {
                retryable: matches!(
                    status.code(),
                    Code::Cancelled
                        | Code::DeadlineExceeded
                        | Code::Aborted
                        | Code::OutOfRange
                        | Code::Unavailable
                        | Code::DataLoss
                ),
                retry_after: None,
                error: error_chain(&status),
            }),
        }
    }
}
