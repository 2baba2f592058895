//! What all ids share.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry_sdk::trace::RandomIdGenerator;

use super::clock::Clock;
use super::config::TracerConfig;
use super::counters::Counters;
use super::logs::Logs;
use super::sampling::{Request, Sampling};
use crate::semconv::URL_PATH;
use crate::span::{Origin, Origins};

/// What all ids share, until the configuration changes.
pub(super) struct Env {
    pub(super) config: TracerConfig,
    pub(super) counters: Arc<Counters>,
    pub(super) logs: Arc<Logs>,
    pub(super) sampling: Sampling,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RandomIdGenerator,
    pub(super) origins: Arc<Origins>,
    /// Of messages without `service=`.
    pub(super) default_origin: Arc<Origin>,
}

impl Env {
    /// At the beginning.
    pub(super) fn new(config: TracerConfig, clock: Arc<dyn Clock>) -> Self {
        let origins = Arc::<Origins>::default();
        Self {
            sampling: Sampling::new(&config.sampling_rules, config.sampler.clone(), config.disabled),
            counters: Arc::default(),
            logs: Arc::default(),
            clock,
            ids: RandomIdGenerator::default(),
            default_origin: origins.of(&config.default_service),
            origins,
            config,
        }
    }

    /// Decides about a trace for good. `path`: of its request, if it is known.
    pub(super) fn decided(&self, request: &Request<'_>, path: Option<&str>, now: Instant) -> bool {
        let is_path = |name: &str| path.filter(|_| name == URL_PATH).map(str::to_owned);
        let verdict = self.sampling.decide(request, is_path, now);
        self.sampling.count(verdict);
        let counters = &self.counters;
        if verdict.sampled { &counters.traces_sampled } else { &counters.traces_unsampled }.one();
        verdict.sampled
    }

    /// The same with another configuration; counters go on. The default service stays: open ids are found by it.
    pub(super) fn with(&self, config: TracerConfig) -> Self {
        Self {
            sampling: self.sampling.with(&config.sampling_rules, config.sampler.clone(), config.disabled),
            counters: self.counters.clone(),
            logs: self.logs.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            origins: self.origins.clone(),
            default_origin: self.default_origin.clone(),
            config: TracerConfig { default_service: self.config.default_service.clone(), ..config },
        }
    }
}
