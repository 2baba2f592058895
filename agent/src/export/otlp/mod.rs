//! OTLP to a collector, over HTTP/protobuf or gRPC.
//!
//! [`OtlpExporter`] sends the spans of this process through the SDK's OTLP
//! exporter; [`Forwarder`] passes on requests that the
//! [receiver](super::receiver) got from other processes. Both use one
//! connection, and each its own bounded queue. A batch that fails is sent
//! again a bounded number of times within the OTLP timeout, then counted as
//! dropped.

mod config;
mod forward;
mod services;
mod transport;

pub use config::{Compression, OtlpConfig, OtlpConfigError, Protocol, RetryConfig, TlsFiles};
pub use forward::Forwarder;

use super::queue::{BoundedQueue, Weight};
use super::stats::{DropCause, ExportSnapshot, ExportStats, LogLimit};
use super::worker::Worker;
use super::{Exporter, FinishedSpan, ShutdownFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use services::ServiceExporters;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use transport::Transport;

/// Exports finished spans to a collector.
pub struct OtlpExporter {
    queue: Arc<BoundedQueue<Arc<FinishedSpan>>>,
    stats: Arc<ExportStats>,
    drop_log: LogLimit,
    worker: Worker,
    forwarder: Arc<Forwarder>,
}

impl OtlpExporter {
    /// Starts the export task on the current Tokio runtime. The collector need
    /// not be reachable.
    pub fn start(config: OtlpConfig) -> Result<Self, OtlpConfigError> {
        let config = Arc::new(config);
        let transport = Transport::new(&config)?;
        let queue = Arc::new(BoundedQueue::new(config.queue.clone()));
        let stats = Arc::<ExportStats>::default();
        let services = ServiceExporters::new(config.clone(), transport.clone(), stats.clone());
        let worker = Worker::spawn(run(config.clone(), queue.clone(), services, stats.clone()));
        let forwarder = Arc::new(Forwarder::start(config, transport));
        Ok(Self { queue, stats, drop_log: LogLimit::default(), worker, forwarder })
    }

    /// The forwarder to the same collector. It stops with the exporter.
    pub fn forwarder(&self) -> Arc<Forwarder> {
        self.forwarder.clone()
    }
}

impl Exporter for OtlpExporter {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn submit(&self, span: &Arc<FinishedSpan>) {
        self.stats.add_submitted(1);
        let bytes = span.estimated_size();
        if let Err(cause) = self.queue.push(span.clone(), Weight { spans: 1, bytes }) {
            self.stats.add_dropped(cause, 1);
            if let Some(spans) = self.drop_log.occurred(1) {
                tracing::warn!(spans, cause = cause.as_str(), "spans dropped before OTLP export");
            }
        }
    }

    fn stats(&self) -> ExportSnapshot {
        self.stats.snapshot()
    }

    fn shutdown(&self, deadline: Instant) -> ShutdownFuture<'_> {
        Box::pin(async move {
            self.queue.close();
            tokio::join!(
                async {
                    if self.worker.join(deadline).await {
                        self.stats.drop_pending();
                    }
                },
                self.forwarder.shutdown(deadline),
            );
        })
    }
}

/// Takes batches from the queue and exports them, a bounded number at a time.
async fn run(
    config: Arc<OtlpConfig>,
    queue: Arc<BoundedQueue<Arc<FinishedSpan>>>,
    mut services: ServiceExporters,
    stats: Arc<ExportStats>,
) {
    let failure_log = LogLimit::default();
    let mut waiting = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            batch = queue.next_batch(), if open && waiting.is_empty() => match batch {
                Some(batch) => waiting = group_by_service(batch),
                None => open = false,
            },
            Some(()) = under_way.next() => {}
        }
        while under_way.len() < config.max_concurrent.max(1) {
            let Some((service, spans)) = waiting.pop_front() else {
                break;
            };
            let exporter = services.get(&service);
            let (config, stats, failure_log) = (&config, &stats, &failure_log);
            under_way.push(async move {
                let count = spans.len();
                let result = match exporter {
                    Ok(exporter) => within(config.timeout, exporter.export(spans)).await,
                    Err(error) => Err(error.to_string()),
                };
                record(result, count, stats, failure_log);
            });
        }
    }
}

/// Limits an export to the OTLP timeout; the SDK's own limit ends retries but
/// not the attempt under way.
async fn within<T, E: std::fmt::Display>(
    timeout: Duration,
    export: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(timeout, export).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no success within the timeout of {timeout:?}")),
    }
}

fn record(result: Result<(), String>, spans: usize, stats: &ExportStats, log: &LogLimit) {
    match result {
        Ok(()) => stats.add_exported(spans),
        Err(error) => {
            stats.add_failure();
            stats.add_dropped(DropCause::ExportFailed, spans);
            if let Some(spans) = log.occurred(spans) {
                tracing::warn!(spans, error, "spans lost: OTLP export failed");
            }
        }
    }
}

fn group_by_service(batch: Vec<Arc<FinishedSpan>>) -> VecDeque<(Arc<str>, Vec<SpanData>)> {
    let mut groups = VecDeque::<(Arc<str>, Vec<SpanData>)>::new();
    let mut index = HashMap::new();
    for span in batch {
        // Without another exporter's reference to it the span is moved.
        let FinishedSpan { service, data } = Arc::unwrap_or_clone(span);
        let group = *index.entry(service.clone()).or_insert_with(|| {
            groups.push_back((service, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(data);
    }
    groups
}
