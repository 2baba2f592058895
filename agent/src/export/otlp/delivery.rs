//! The delivery of one request: attempts until the collector has answered, or
//! until its spans are too old.

use super::failure::FailureKind;
use super::payload::Payload;
use super::target::Target;
use crate::export::stats::{DropCause, DropLog, ExportStats};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use spop_agent::ratelimit::excerpt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// What all deliveries of an exporter share.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Where they go. When another collector takes over, attempts that are under way come to their end, and all further
    /// ones go there.
    target: watch::Receiver<Arc<Target>>,
    stats: Arc<ExportStats>,
    drop_log: Arc<DropLog>,
}

impl Delivery {
    pub(super) fn new(target: watch::Receiver<Arc<Target>>, stats: Arc<ExportStats>, drop_log: Arc<DropLog>) -> Self {
        Self { target, stats, drop_log }
    }

    /// Where requests go now.
    pub(super) fn target(&self) -> Arc<Target> {
        self.target.borrow().clone()
    }

    /// Delivers a request, the oldest span of which came at `since`, and counts what became of its spans. If the
    /// collector finds it too large, its halves are sent, and theirs, down to single spans.
    pub(super) async fn deliver(&self, payload: Payload, since: Instant) {
        let mut waiting = vec![payload];
        while let Some(payload) = waiting.pop() {
            let Some(payload) = self.is_too_large(payload, since).await else { continue };
            self.stats.add_halved();
            let spans = payload.spans;
            match payload.halve().await {
                // The first half is the next.
                Ok(halves) => waiting.extend(halves.into_iter().rev()),
                Err(error) => self.not_sent(&error, spans),
            }
        }
    }

    /// Attempts until the spans are delivered or lost, which is counted, or until it is clear that there are too many
    /// of them: the request comes back then.
    async fn is_too_large(&self, mut payload: Payload, since: Instant) -> Option<Payload> {
        let spans = payload.spans;
        let mut targets = self.target.clone();
        // Attempts that failed, and when the next one may be made.
        let (mut failed, mut own) = (0, None);
        let mut target = self.target();
        loop {
            let present = targets.borrow_and_update().clone();
            if !Arc::ptr_eq(&present, &target) {
                // Another collector has said nothing yet.
                (target, failed, own) = (present, 0, None);
            }
            payload = match payload.made_for(&target.config).await {
                Ok(payload) => payload,
                Err(error) => {
                    self.not_sent(&error, spans);
                    return None;
                }
            };
            let too_old = since + target.config.max_age;
            let turn = tokio::select! {
                biased;
                // Also if a turn is always to be had.
                () = sleep_until(too_old), if failed > 0 => None,
                turn = timeout_at(too_old, target.backoff.turn(own)) => turn.ok(),
                // Not to be waited for any more.
                Ok(()) = targets.changed() => continue,
            };
            let Some(turn) = turn else {
                self.stats.add_failure();
                self.drop_log.dropped(&self.stats, DropCause::Expired, spans);
                return None;
            };
            self.stats.add_attempt();
            let start = Instant::now();
            let outcome = target.transport.send(&target.config, &payload).await;
            self.stats.add_duration(start.elapsed());
            match outcome {
                Ok(success) => {
                    let failures = turn.answered();
                    if failures > 0 {
                        tracing::info!(failures, "the collector takes spans again");
                    }
                    let rejected = rejected(&success, &target).min(spans);
                    self.stats.add_exported(spans - rejected);
                    self.drop_log.dropped(&self.stats, DropCause::Rejected, rejected);
                    return None;
                }
                Err(failure) if failure.kind == FailureKind::TooLarge && spans > 1 => {
                    turn.answered();
                    target.log(&failure, &payload);
                    return Some(payload);
                }
                Err(failure) if failure.is_final() => {
                    turn.answered();
                    target.log(&failure, &payload);
                    self.stats.add_failure();
                    self.drop_log.dropped(&self.stats, DropCause::Rejected, spans);
                    return None;
                }
                Err(failure) => {
                    failed += 1;
                    own = Some(turn.failed(failure.retry_after, failed));
                    self.stats.add_retry();
                    target.log(&failure, &payload);
                }
            }
        }
    }

    /// Counts a request that could not be made.
    pub(super) fn not_sent(&self, error: &std::io::Error, spans: usize) {
        if let Some(times) = self.target().occurred(FailureKind::Unmade) {
            tracing::error!(times, %error, "an OTLP request could not be made");
        }
        self.stats.add_failure();
        self.drop_log.dropped(&self.stats, DropCause::ExportFailed, spans);
    }
}

/// The number of spans that the collector says it rejected. Without any it may still have a remark.
fn rejected(success: &ExportTracePartialSuccess, target: &Target) -> usize {
    let rejected = usize::try_from(success.rejected_spans).unwrap_or(0);
    if rejected == 0 && success.error_message.is_empty() {
        return 0;
    }
    if let Some(times) = target.occurred(FailureKind::Partial) {
        let (url, says) = (&target.url, excerpt(success.error_message.as_bytes()));
        if rejected > 0 {
            tracing::warn!(url, rejected, says = &*says, times, "the collector did not take all spans of a request");
        } else {
            tracing::warn!(url, says = &*says, times, "the collector took all spans of a request, with a remark");
        }
    }
    rejected
}
