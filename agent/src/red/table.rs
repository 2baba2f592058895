//! The series of one histogram.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::{DefaultHashBuilder, HashTable};
use opentelemetry::{SpanId, TraceId};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use super::labels::{Key, Labels, Measured};
use super::meters::Recorder;
use super::side::BOUNDARIES;

/// The ids of a span, as labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids(TraceId, SpanId);

impl EncodeLabelSet for Ids {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        // As OpenTelemetry's specification of compatibility with Prometheus names them.
        [("trace_id", self.0.to_string()), ("span_id", self.1.to_string())].encode(encoder)
    }
}

/// The durations of the requests that have these labels.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: Arc<Labels>,
    pub(super) histogram: HistogramWithExemplars<Ids>,
    /// The same for the collector.
    recorder: Option<Recorder>,
}

impl Series {
    fn new(labels: Labels, recorder: Option<Recorder>) -> Self {
        let histogram = HistogramWithExemplars::new(BOUNDARIES.into_iter());
        Series { labels: Arc::new(labels), histogram, recorder }
    }

    pub(super) fn observe(&self, measured: &Measured<'_>) {
        let seconds = measured.duration.as_secs_f64();
        let ids = measured.exemplar.map(|(trace, span)| Ids(trace, span));
        self.histogram.observe(seconds, ids, ids.map(|_| SystemTime::now()));
        if let Some(recorder) = &self.recorder {
            recorder.record(seconds);
        }
    }
}

/// Finds a series by its key.
#[derive(Debug, Default)]
pub(super) struct Table {
    series: HashTable<Series>,
    /// Its seed is random: the texts come from the network, and nobody may know which ones collide.
    hasher: DefaultHashBuilder,
}

impl Table {
    pub(super) fn find(&self, key: &Key<'_>) -> Option<&Series> {
        self.series.find(self.hasher.hash_one(key), |series| series.labels.key() == *key)
    }

    /// Adds the series if it is not there, with a recorder for its labels.
    pub(super) fn find_or_add(&mut self, key: &Key<'_>, recorder: impl FnOnce(&Labels) -> Option<Recorder>) -> &Series {
        let Table { series, hasher } = self;
        let is_it = |series: &Series| series.labels.key() == *key;
        let hash = |series: &Series| hasher.hash_one(series.labels.key());
        series
            .entry(hasher.hash_one(key), is_it, hash)
            .or_insert_with(|| {
                let labels = Labels::from(key);
                let recorder = recorder(&labels);
                Series::new(labels, recorder)
            })
            .into_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn all(&self) -> Vec<Series> {
        self.series.iter().cloned().collect()
    }
}
