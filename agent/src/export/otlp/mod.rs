//! OTLP to a collector, over HTTP/protobuf or gRPC.
//!
//! [`OtlpExporter`] sends the spans of this process; [`Forwarder`] passes on
//! requests that the [receiver](super::receiver) got from other processes. Both
//! use one connection, and each its own bounded queue.
//!
//! A batch whose delivery fails stays in the queue and is sent again until the
//! collector takes it, refuses it for good, or it is older than
//! [`max_age`](OtlpConfig::max_age). While the collector fails, one request at
//! a time asks it again. A request that the collector took without being able
//! to say so is sent twice; nothing is lost without being counted. A batch that
//! the collector finds too large is halved.
//!
//! Requests with spans are made and sent with `opentelemetry-proto`, not by the
//! SDK's OTLP exporter: that gives up after a number of attempts within one
//! timeout and tells neither why nor how much of a request the collector
//! rejected. Those with metrics are made by it, and sent as those with spans.

mod advice;
mod answer;
mod backoff;
mod config;
mod delivery;
mod endpoint;
mod environment;
mod error;
mod failure;
mod forward;
mod metrics;
mod payload;
mod protocol;
mod proxy;
mod signal;
mod target;
mod tls;
mod transport;

pub use config::{Compression, OtlpConfig, RetryConfig, TlsFiles};
pub use endpoint::redacted;
pub use environment::{By, Given, VARIABLES};
pub use error::OtlpConfigError;
pub use forward::Forwarder;
pub(crate) use metrics::MetricsSender;
pub use metrics::{METRICS_VARIABLES, MetricsConfig};
pub use protocol::Protocol;

use super::queue::{Batch, BoundedQueue};
use super::stats::{DropLog, ExportSnapshot, ExportStats};
use super::weight::Weight;
use super::{Exporter, ShutdownFuture};
use crate::span::FinishedSpan;
use crate::worker::Worker;
use delivery::Delivery;
use futures_util::stream::{FuturesUnordered, StreamExt};
use payload::Payload;
use std::sync::Arc;
use target::Target;
use tokio::sync::watch;
use tokio::time::Instant;

type Queue = Arc<BoundedQueue<FinishedSpan>>;

/// Exports finished spans to a collector.
pub struct OtlpExporter {
    queue: Queue,
    stats: Arc<ExportStats>,
    drop_log: Arc<DropLog>,
    target: watch::Sender<Arc<Target>>,
    worker: Worker,
    forwarder: Arc<Forwarder>,
}

/// Another collector, or the same one otherwise, for an exporter that goes on.
pub struct Replacement(Target);

impl Replacement {
    /// Prepares the connection on the current Tokio runtime; certificates and keys are read anew. The collector need not be
    /// reachable.
    ///
    /// # Errors
    /// The connection cannot be set up.
    pub fn new(config: OtlpConfig) -> Result<Self, OtlpConfigError> {
        Target::new(config).map(Self)
    }
}

impl OtlpExporter {
    /// Starts the export task on the current Tokio runtime. The collector need
    /// not be reachable.
    pub fn start(config: OtlpConfig) -> Result<Self, OtlpConfigError> {
        let queue = Arc::new(BoundedQueue::new(config.queue.clone()));
        let (target, targets) = watch::channel(Arc::new(Target::new(config)?));
        let stats = Arc::<ExportStats>::default();
        let drop_log = Arc::new(DropLog::new("spans not exported to the collector"));
        let delivery = Delivery::new(targets.clone(), stats.clone(), drop_log.clone());
        let worker = Worker::spawn(run(queue.clone(), delivery));
        let forwarder = Arc::new(Forwarder::start(targets));
        Ok(Self { queue, stats, drop_log, target, worker, forwarder })
    }

    /// From now on requests go there, those that wait included, and the queues have other bounds; the most requests under
    /// way stay as many. An attempt that is under way comes to its end. No span is lost, and counters go on.
    pub fn replace(&self, Replacement(target): Replacement) {
        self.queue.reconfigure(target.config.queue.clone());
        self.forwarder.reconfigure(&target.config.queue);
        self.target.send_replace(Arc::new(target));
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

    fn submit(&self, spans: &[FinishedSpan]) {
        self.stats.add_submitted(spans.len());
        let weighed = spans.iter().map(|span| (span.clone(), Weight { spans: 1, bytes: span.held() }));
        self.drop_log.all(&self.stats, &self.queue.push_all(weighed));
    }

    fn stats(&self) -> ExportSnapshot {
        let snapshot = self.stats.snapshot().with_queue(self.queue.held(), self.queue.limit());
        // A batch of which a part is delivered holds its places to its end.
        ExportSnapshot { queued_spans: snapshot.pending(), ..snapshot }
    }

    fn shutdown(&self, deadline: Instant) -> ShutdownFuture<'_> {
        Box::pin(async move {
            self.queue.close();
            self.target.borrow().backoff.end_soon();
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

/// Takes batches from the queue and delivers them, a bounded number at a time.
async fn run(queue: Queue, delivery: Delivery) {
    let limit = delivery.target().config.max_concurrent.max(1);
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            batch = queue.next_batch(), if open && under_way.len() < limit => match batch {
                Some(batch) => under_way.push(export(batch, &delivery)),
                None => open = false,
            },
            Some(()) = under_way.next() => {}
        }
    }
}

async fn export(mut batch: Batch<FinishedSpan>, delivery: &Delivery) {
    let spans = std::mem::take(&mut batch.items);
    match Payload::of_spans(&spans, &delivery.target().config).await {
        Ok(payload) => {
            // The request is what is held of them.
            drop(spans);
            delivery.deliver(payload, batch.since).await;
        }
        Err(error) => delivery.not_sent(&error, spans.len()),
    }
}
