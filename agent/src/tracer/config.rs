//! Options of the tracer.

use std::sync::Arc;
use std::time::Duration;

use super::limits::SpanLimits;
use super::propagation::Propagators;
use super::sampling::{Sampler, SamplingRule};

/// Options of a [`Tracer`](super::Tracer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TracerConfig {
    /// `service.name` of messages without `service=`.
    pub default_service: Arc<str>,
    /// An id without a message for so long has its spans ended. Slow requests must not be cut: more than the longest
    /// HAProxy timeout.
    pub idle_timeout: Duration,
    /// An id that is open for so long has its spans ended, messages or not.
    pub max_lifetime: Duration,
    /// Memory of all ids. Beyond it ended ids are forgotten, then the spans of the least recently used
    /// ids ended. The table has up to 16 parts, of at least 1 MiB each, that keep to their part of it.
    pub max_memory: usize,
    /// Open spans and reserved span ids of one id.
    pub max_spans_per_id: usize,
    /// Spans that one NOTIFY opens and ends. Beyond them none opens, and messages of further ids are rejected.
    pub max_spans_per_notify: usize,
    /// Messages of one NOTIFY; further ones are rejected.
    pub max_messages_per_notify: usize,
    /// How long an ended id is remembered, so that a late message joins its trace.
    pub remember_ended: Duration,
    /// How many ended ids are remembered.
    pub max_remembered: usize,
    /// Attributes, events and links of a span.
    pub span_limits: SpanLimits,
    /// Which traces are exported: the first rule that matches, else the sampler.
    pub sampling_rules: Vec<SamplingRule>,
    /// Which traces are exported if no rule says so.
    pub sampler: Sampler,
    /// What is extracted and injected.
    pub propagators: Propagators,
    /// No span is exported; the caller's context is passed on as it came. `OTEL_SDK_DISABLED`
    pub disabled: bool,
}

impl Default for TracerConfig {
    fn default() -> Self {
        TracerConfig {
            default_service: Arc::from("haproxy"),
            idle_timeout: Duration::from_secs(120),
            max_lifetime: Duration::from_secs(3600),
            max_memory: 64 * 1024 * 1024,
            max_spans_per_id: 256,
            max_spans_per_notify: 1024,
            max_messages_per_notify: 128,
            remember_ended: Duration::from_secs(30),
            max_remembered: 16_384,
            span_limits: SpanLimits::default(),
            sampling_rules: Vec::new(),
            sampler: Sampler::default(),
            propagators: Propagators::default(),
            disabled: false,
        }
    }
}
