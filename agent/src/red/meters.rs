//! OpenTelemetry's instruments, for the export by OTLP: a meter provider for each service, since the name of a service is
//! its resource's, as it is for spans.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};

use super::labels::Labels;
use super::side::{BOUNDARIES, Side};
use crate::resource;

/// A series of the SDK's.
#[derive(Clone)]
pub(super) struct Recorder {
    histogram: Histogram<f64>,
    attributes: Arc<[KeyValue]>,
}

impl Recorder {
    pub(super) fn record(&self, seconds: f64) {
        self.histogram.record(seconds, &self.attributes);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

/// The instruments of all services.
pub(super) struct Meters {
    common: Resource,
    /// The one of services that are too many.
    default_service: String,
    temporality: Temporality,
    /// Series are bounded by who asks for them; the SDK's own limit must not be lower.
    max_series: usize,
    known: Mutex<Vec<Meter>>,
}

struct Meter {
    service: Box<str>,
    reader: Reader,
    server: Histogram<f64>,
    client: Histogram<f64>,
    /// Lives as long as its instruments are read.
    _provider: SdkMeterProvider,
}

impl Meters {
    pub(super) fn new(default_service: &str, temporality: Temporality, max_series: usize) -> Self {
        Meters {
            common: resource::common(resource::instance_id()),
            default_service: default_service.to_owned(),
            temporality,
            max_series,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Meter>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recorder(&self, side: Side, labels: &Labels) -> Recorder {
        let service = Some(labels.service()).filter(|service| !service.is_empty()).unwrap_or(&self.default_service);
        let mut known = self.known();
        let place = known.iter().position(|meter| *meter.service == *service);
        let of_side = |meter: &Meter| match side {
            Side::Server => meter.server.clone(),
            Side::Client => meter.client.clone(),
        };
        let histogram = match place.and_then(|place| known.get(place)) {
            Some(meter) => of_side(meter),
            None => {
                let meter = self.meter(service);
                let histogram = of_side(&meter);
                known.push(meter);
                histogram
            }
        };
        Recorder { histogram, attributes: labels.attributes().into() }
    }

    fn meter(&self, service: &str) -> Meter {
        let reader = Reader(Arc::new(ManualReader::builder().with_temporality(self.temporality).build()));
        // Beside those of their own there is one of what is beyond, and one of services that are too many.
        let limit = self.max_series + 2;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource::of_service(&self.common, service))
            .with_reader(reader.clone())
            .with_view(move |_: &Instrument| Stream::builder().with_cardinality_limit(limit).build().ok())
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
        let meter = provider.meter_with_scope(scope.build());
        let histogram = |side: Side| {
            let builder = meter.f64_histogram(side.metric()).with_unit("s").with_description(side.description());
            builder.with_boundaries(BOUNDARIES.to_vec()).build()
        };
        let (server, client) = (histogram(Side::Server), histogram(Side::Client));
        Meter { service: service.into(), reader, server, client, _provider: provider }
    }

    /// What reads the metrics of each service.
    pub(super) fn readers(&self) -> Vec<Reader> {
        self.known().iter().map(|meter| meter.reader.clone()).collect()
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("services", &self.known().len()).finish_non_exhaustive()
    }
}

/// A reader that is asked by us, and known to its provider.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<ManualReader>);

impl Reader {
    /// The present metrics, if there are any.
    pub(super) fn metrics(&self) -> Option<ResourceMetrics> {
        let mut metrics = ResourceMetrics::default();
        self.0.collect(&mut metrics).ok()?;
        let is_empty = metrics.scope_metrics().next().is_none();
        (!is_empty).then_some(metrics)
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
