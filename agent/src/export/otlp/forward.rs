//! Passing on OTLP requests of other processes, unchanged.

use super::delivery::Delivery;
use super::payload::Payload;
use super::target::Target;
use crate::export::queue::{Batch, BoundedQueue};
use crate::export::receiver::{ReceivedRequest, RequestSink};
use crate::export::stats::DropLog;
use crate::export::weight::Weight;
use crate::export::{ExportSnapshot, ExportStats, QueueConfig};
use crate::worker::Worker;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is queued of a received request: not the decoded message, which can
/// take far more memory than the bytes that are counted.
struct Request {
    body: Bytes,
    spans: usize,
}

/// Forwards received OTLP requests to the collector: the same protobuf bytes.
pub struct Forwarder {
    queue: Arc<BoundedQueue<Request>>,
    stats: Arc<ExportStats>,
    drop_log: Arc<DropLog>,
    worker: Worker,
}

impl Forwarder {
    pub(super) fn start(targets: watch::Receiver<Arc<Target>>) -> Self {
        let queue = Arc::new(BoundedQueue::new(one_by_one(&targets.borrow().config.queue)));
        let stats = Arc::<ExportStats>::default();
        let drop_log = Arc::new(DropLog::new("received spans not forwarded"));
        let delivery = Delivery::new(targets, stats.clone(), drop_log.clone());
        Self { worker: Worker::spawn(run(queue.clone(), delivery)), queue, stats, drop_log }
    }

    pub(super) fn reconfigure(&self, queue: &QueueConfig) {
        self.queue.reconfigure(one_by_one(queue));
    }

    /// The forwarder's counters, in spans of the forwarded requests.
    pub fn stats(&self) -> ExportSnapshot {
        let snapshot = self.stats.snapshot().with_queue(self.queue.held(), self.queue.limit());
        // Requests without spans take a place in the queue, and are no spans.
        ExportSnapshot { queued_spans: snapshot.pending(), ..snapshot }
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

/// Requests are batches already: each is sent as soon as possible.
fn one_by_one(queue: &QueueConfig) -> QueueConfig {
    QueueConfig { batch_spans: 1, batch_delay: Duration::ZERO, ..queue.clone() }
}

impl RequestSink for Forwarder {
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        let spans = request.spans.len();
        self.stats.add_submitted(spans);
        let weight = weight(request);
        let request = Request { body: request.body.clone(), spans };
        match self.queue.push(request, weight) {
            Ok(()) => 0,
            Err(cause) => {
                self.drop_log.dropped(&self.stats, cause, spans);
                spans
            }
        }
    }

    fn is_busy(&self, request: &ReceivedRequest) -> bool {
        self.queue.has_room_later(weight(request))
    }
}

fn weight(request: &ReceivedRequest) -> Weight {
    // One without spans takes a place, too.
    Weight { spans: request.spans.len().max(1), bytes: request.body.len() }
}

async fn run(queue: Arc<BoundedQueue<Request>>, delivery: Delivery) {
    let limit = delivery.target().config.max_concurrent.max(1);
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            batch = queue.next_batch(), if open && under_way.len() < limit => match batch {
                Some(batch) => under_way.push(forward(batch, &delivery)),
                None => open = false,
            },
            Some(()) = under_way.next() => {}
        }
    }
}

/// A batch is one request as a rule; those without spans do not fill one.
async fn forward(batch: Batch<Request>, delivery: &Delivery) {
    for Request { body, spans } in &batch.items {
        match Payload::prepare(body.clone(), *spans, &delivery.target().config).await {
            Ok(payload) => delivery.deliver(payload, batch.since).await,
            Err(error) => delivery.not_sent(&error, *spans),
        }
    }
}
