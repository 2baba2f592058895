//! The collector that requests go to, until another one takes its place.

use super::backoff::Backoff;
use super::config::OtlpConfig;
use super::endpoint;
use super::error::OtlpConfigError;
use super::failure::{Failure, FailureKind};
use super::payload::Payload;
use super::transport::Transport;
use crate::worker::LONGEST_WAIT;
use spop_agent::ratelimit::LogLimit;
use std::sync::Arc;

/// What all deliveries to a collector share.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) config: Arc<OtlpConfig>,
    pub(super) transport: Transport,
    pub(super) backoff: Backoff,
    /// Where it is, for the log.
    pub(super) url: String,
    failure_logs: [LogLimit; FailureKind::COUNT],
}

impl Target {
    /// Prepares the connection; it is made when the first request needs it.
    pub(super) fn new(mut config: OtlpConfig) -> Result<Self, OtlpConfigError> {
        config.max_age = config.max_age.min(LONGEST_WAIT);
        let transport = Transport::new(&config)?;
        let (backoff, url) = (Backoff::new(config.retry.clone()), endpoint::shown(&config.url));
        Ok(Self { config: Arc::new(config), transport, backoff, url, failure_logs: Default::default() })
    }

    /// How often failures of this kind were not told yet, if this one is to be.
    pub(super) fn occurred(&self, kind: FailureKind) -> Option<u64> {
        self.failure_logs[kind as usize].occurred(1)
    }

    pub(super) fn log(&self, failure: &Failure, payload: &Payload) {
        let Some(times) = self.occurred(failure.kind) else { return };
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
