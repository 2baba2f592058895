//! What all ids share.

use std::sync::Arc;

use opentelemetry_sdk::trace::RandomIdGenerator;

use super::clock::Clock;
use super::config::TracerConfig;
use super::counters::Counters;
use super::logs::Logs;
use super::sampling::Sampling;
use crate::span::{Origin, Origins};

/// What all ids share.
pub(super) struct Env {
    pub(super) config: TracerConfig,
    pub(super) counters: Counters,
    pub(super) logs: Logs,
    pub(super) sampling: Sampling,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RandomIdGenerator,
    pub(super) origins: Origins,
    /// Of messages without `service=`.
    pub(super) default_origin: Arc<Origin>,
}
