//! The delivery of one request: attempts until the collector has answered, or
//! until its spans are too old.

use super::backoff::Backoff;
use super::config::OtlpConfig;
use super::failure::{Failure, FailureKind};
use super::transport::{Payload, Transport};
use crate::export::stats::{DropCause, DropLog, ExportStats, LogLimit};
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
        Self { config, transport, backoff, stats, drop_log, failure_logs: Default::default() }
    }

    /// Delivers a request with so many spans, the oldest of which came at
    /// `since`, and counts what became of them.
    pub(super) async fn deliver(&self, payload: &Payload, spans: usize, since: Instant) {
        let too_old = since + self.config.max_age;
        loop {
            let Ok(turn) = tokio::time::timeout_at(too_old, self.backoff.turn()).await else {
                self.stats.add_failure();
                return self.drop_log.dropped(&self.stats, DropCause::Expired, spans);
            };
            self.stats.add_attempt();
            let start = Instant::now();
            let outcome = self.attempt(payload).await;
            self.stats.add_duration(start.elapsed());
            match outcome {
                Ok(rejected) => {
                    let failures = turn.answered();
                    if failures > 0 {
                        tracing::info!(failures, "the collector takes spans again");
                    }
                    let rejected = rejected.min(spans);
                    self.stats.add_exported(spans - rejected);
                    return self.drop_log.dropped(&self.stats, DropCause::Rejected, rejected);
                }
                Err(failure) if failure.is_final() => {
                    turn.answered();
                    self.log(&failure, spans);
                    self.stats.add_failure();
                    return self.drop_log.dropped(&self.stats, DropCause::Rejected, spans);
                }
                Err(failure) => {
                    turn.failed(failure.retry_after);
                    self.stats.add_retry();
                    self.log(&failure, spans);
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

    /// Gives the number of spans that the collector says it rejected.
    async fn attempt(&self, payload: &Payload) -> Result<usize, Failure> {
        let limit = self.config.timeout;
        let sent = tokio::time::timeout(limit, self.transport.send(&self.config, payload)).await;
        let response = sent.unwrap_or_else(|_| Err(Failure::timeout(limit)))?;
        let Some(partial) = response.partial_success else { return Ok(0) };
        let rejected = usize::try_from(partial.rejected_spans).unwrap_or(0);
        if let Some(left_out) = self.failure_logs[FailureKind::Partial as usize].occurred(1) {
            let reason = excerpt(partial.error_message.as_bytes());
            tracing::warn!(rejected, ?reason, times = left_out, "the collector did not take all spans of a request");
        }
        Ok(rejected)
    }

    fn log(&self, failure: &Failure, spans: usize) {
        let Some(times) = self.failure_logs[failure.kind as usize].occurred(1) else { return };
        let Failure { error, retry_after, .. } = failure;
        let retry_after = retry_after.map(tracing::field::debug);
        let hint = failure.hint(&self.config);
        if failure.is_final() {
            tracing::warn!(spans, times, error, "the collector refuses spans{hint}");
        } else {
            tracing::warn!(times, error, retry_after, "OTLP export fails, spans are kept and sent again{hint}");
        }
    }
}
