//! Writes metric families: each with its help, its type and its rows.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::metric::{Kind, Metric};
use spop_agent::histogram::Durations;

/// A label set with one label for each `(name, value)`.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// The families of one scrape. Units are part of the names; `_total` and `_info` are appended.
pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Families(encoder)
    }

    /// The families that a source declares, with the figures of its snapshot.
    pub(super) fn metrics<S>(&mut self, stats: &S, metrics: &[Metric<S>]) -> fmt::Result {
        metrics.iter().try_for_each(|Metric { name, help, kind, label, rows }| {
            let mut rows = rows.iter().map(|&(value, figure)| (value, figure(stats)));
            match (kind, label.is_empty()) {
                (Kind::Counter, true) => rows.try_for_each(|(_, count)| self.counter(name, help, count)),
                (Kind::Counter, false) => self.counters_by(label, name, help, rows),
                (Kind::Gauge, true) => rows.try_for_each(|(_, figure)| self.gauge(name, help, figure)),
                (Kind::Gauge, false) => {
                    self.gauges(name, help, rows.map(|(value, figure)| ([(*label, value)], figure)))
                }
            }
        })
    }

    /// The families that several sources declare, each with a label for itself.
    pub(super) fn metrics_by<S>(
        &mut self,
        source: &'static str,
        sources: &[(&'static str, S)],
        metrics: &[Metric<S>],
    ) -> fmt::Result {
        metrics.iter().try_for_each(|Metric { name, help, kind, label, rows }| {
            let rows = sources.iter().flat_map(|(value, stats)| {
                rows.iter().map(move |&(row, figure)| {
                    let own = Some((*label, row)).filter(|(label, _)| !label.is_empty());
                    (std::iter::once((source, *value)).chain(own).collect::<Vec<_>>(), figure(stats))
                })
            });
            match kind {
                Kind::Counter => self.counters(name, help, rows),
                Kind::Gauge => self.gauges(name, help, rows),
            }
        })
    }

    pub(super) fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn histogram<const FIRST: u64, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        durations: &Durations<FIRST, N>,
    ) -> fmt::Result {
        encode(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, durations)
    }

    /// A counter for each label set.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// A counter for each value of one label.
    pub(super) fn counters_by(
        &mut self,
        label: &'static str,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        self.counters(name, help, rows.into_iter().map(|(value, count)| ([(label, value)], count)))
    }

    /// A gauge for each label set.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// A histogram for each label set.
    pub(super) fn histograms<L: EncodeLabelSet, const FIRST: u64, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, Durations<FIRST, N>)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        rows.into_iter().try_for_each(|(labels, durations)| encode(family.encode_family(&labels)?, &durations))
    }
}

fn encode<const FIRST: u64, const N: usize>(
    mut metric: MetricEncoder<'_>,
    durations: &Durations<FIRST, N>,
) -> fmt::Result {
    let sum = durations.sum().as_secs_f64();
    metric.encode_histogram::<NoLabelSet>(sum, durations.count(), &durations.buckets(), None)
}
