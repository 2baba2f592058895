//! The delivery of one request: attempts until the collector has answered, or
//! until its spans are too old.

use super::backoff::Backoff;
use super::config::OtlpConfig;
use super::endpoint;
use super::failure::{Failure, FailureKind};
use super::payload::Payload;
use super::transport::Transport;
use crate::export::stats::{DropCause, DropLog, ExportStats};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use spop_agent::ratelimit::LogLimit;
use spop_agent::ratelimit::excerpt;
use std::sync::Arc;
use tokio::time::Instant;

/// What all deliveries of an exporter share.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) config: Arc<OtlpConfig>,
    pub(super) transport: Transport,
    /// Shared by all that send to this collector.
    pub(super) backoff: Arc<Backoff>,
    pub(super) stats: Arc<ExportStats>,
    pub(super) drop_log: Arc<DropLog>,
    /// Where it is, for the log.
    url: String,
    failure_logs: [LogLimit; FailureKind::COUNT],
}

impl Delivery {
    pub(super) fn new(
        config: Arc<OtlpConfig>,
        transport: Transport,
        backoff: Arc<Backoff>,
        stats: Arc<ExportStats>,
        drop_log: Arc<DropLog>,
    ) -> Self {
        let url = endpoint::shown(&config.url);
        Self { config, transport, backoff, stats, drop_log, url, failure_logs: Default::default() }
    }

    /// Delivers a request, the oldest span of which came at `since`, and counts what became of its spans. If the
    /// collector finds it too large, its halves are sent, and theirs, down to single spans.
    pub(super) async fn deliver(&self, payload: Payload, since: Instant) {
        let mut waiting = vec![payload];
        while let Some(payload) = waiting.pop() {
            if !self.is_too_large(&payload, since).await {
                continue;
            }
            self.stats.add_halved();
            match payload.halve(&self.config).await {
                // The first half is the next.
                Ok(halves) => waiting.extend(halves.into_iter().rev()),
                Err(error) => self.not_sent(&error, payload.spans),
            }
        }
    }

    /// Attempts until the spans are delivered or lost, which is counted, or until it is clear that there are too many
    /// of them.
    async fn is_too_large(&self, payload: &Payload, since: Instant) -> bool {
        let spans = payload.spans;
        let too_old = since + self.config.max_age;
        loop {
            let Ok(turn) = tokio::time::timeout_at(too_old, self.backoff.turn()).await else {
                self.stats.add_failure();
                self.drop_log.dropped(&self.stats, DropCause::Expired, spans);
                return false;
            };
            self.stats.add_attempt();
            let start = Instant::now();
            let outcome = self.transport.send(&self.config, payload).await;
            self.stats.add_duration(start.elapsed());
            match outcome {
                Ok(success) => {
                    let failures = turn.answered();
                    if failures > 0 {
                        tracing::info!(failures, "the collector takes spans again");
                    }
                    let rejected = self.rejected(&success).min(spans);
                    self.stats.add_exported(spans - rejected);
                    self.drop_log.dropped(&self.stats, DropCause::Rejected, rejected);
                    return false;
                }
                Err(failure) if failure.kind == FailureKind::TooLarge && spans > 1 => {
                    turn.answered();
                    self.log(&failure, payload);
                    return true;
                }
                Err(failure) if failure.is_final() => {
                    turn.answered();
                    self.log(&failure, payload);
                    self.stats.add_failure();
                    self.drop_log.dropped(&self.stats, DropCause::Rejected, spans);
                    return false;
                }
                Err(failure) => {
                    turn.failed(failure.retry_after);
                    self.stats.add_retry();
                    self.log(&failure, payload);
                }
            }
        }
    }

    /// Counts a request that could not be made.
    pub(super) fn not_sent(&self, error: &std::io::Error, spans: usize) {
        if let Some(times) = self.failure_logs[FailureKind::Unmade as usize].occurred(1) {
            tracing::error!(times, %error, "an OTLP request could not be made");
        }
        self.stats.add_failure();
        self.drop_log.dropped(&self.stats, DropCause::ExportFailed, spans);
    }

    /// The number of spans that the collector says it rejected. Without any it may still have a remark.
    fn rejected(&self, success: &ExportTracePartialSuccess) -> usize {
        let rejected = usize::try_from(success.rejected_spans).unwrap_or(0);
        if rejected == 0 && success.error_message.is_empty() {
            return 0;
        }
        if let Some(times) = self.failure_logs[FailureKind::Partial as usize].occurred(1) {
            let (url, says) = (&self.url, excerpt(success.error_message.as_bytes()));
            if rejected > 0 {
                tracing::warn!(
                    url,
                    rejected,
                    says = &*says,
                    times,
                    "the collector did not take all spans of a request"
                );
            } else {
                tracing::warn!(url, says = &*says, times, "the collector took all spans of a request, with a remark");
            }
        }
        rejected
    }

    fn log(&self, failure: &Failure, payload: &Payload) {
        let Some(times) = self.failure_logs[failure.kind as usize].occurred(1) else { return };
        let Failure { error, retry_after, .. } = failure;
        let (url, spans, bytes) = (&self.url, payload.spans, payload.body.len());
        let hint = failure.hint(&self.config);
        if failure.kind == FailureKind::TooLarge && spans > 1 {
            tracing::warn!(url, spans, bytes, times, error, "a request is too large for the collector, halved{hint}");
        } else if failure.is_final() {
            tracing::warn!(url, spans, bytes, times, error, "the collector refuses spans{hint}");
        } else {
            let retry_after = retry_after.map(tracing::field::debug);
            tracing::warn!(url, times, error, retry_after, "OTLP export fails, spans are kept and sent again{hint}");
        }
    }
}
