//! The series as Prometheus and OpenMetrics have them: names and labels follow OpenTelemetry's rules for that.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;

use super::Red;
use super::labels::Labels;
use super::side::Side;
use super::table::Series;
use crate::semconv::SERVICE_NAME;

impl Red {
    /// Writes both histograms; one without requests is left out.
    pub(crate) fn expose(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (server, client) = {
            let state = self.state();
            (state.server.all(), state.client.all())
        };
        for (side, all) in [(Side::Server, server), (Side::Client, client)] {
            if all.is_empty() {
                continue;
            }
            let name = side.metric().replace('.', "_") + "_seconds";
            let mut family = encoder.encode_descriptor(&name, side.description(), None, MetricType::Histogram)?;
            for Series { labels, histogram, .. } in all {
                histogram.encode(family.encode_family(&labels.as_prometheus_has_them())?)?;
            }
        }
        Ok(())
    }
}

impl Labels {
    fn as_prometheus_has_them(&self) -> Vec<(String, String)> {
        let service = Some((SERVICE_NAME, self.service())).filter(|(_, service)| !service.is_empty());
        let service = service.map(|(name, service)| (name.to_owned(), service.to_owned()));
        let attributes = self.attributes().into_iter();
        let attributes = attributes.map(|pair| (pair.key.to_string(), pair.value.to_string()));
        service.into_iter().chain(attributes).map(|(name, value)| (name.replace('.', "_"), value)).collect()
    }
}
