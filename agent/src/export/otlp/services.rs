//! One SDK exporter per service, because an exporter has one resource. They
//! share the transport; the number kept ready is bounded.

use super::config::{Compression, OtlpConfig};
use super::transport::{CountingClient, Transport};
use crate::export::{resource, ExportStats};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::trace::SpanExporter as _;
use opentelemetry_sdk::Resource;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::metadata::MetadataMap;

/// The exporters by service, least recently used dropped first.
pub(super) struct ServiceExporters {
    config: Arc<OtlpConfig>,
    transport: Transport,
    stats: Arc<ExportStats>,
    exporters: HashMap<Arc<str>, Entry>,
    uses: u64,
}

struct Entry {
    exporter: Arc<SpanExporter>,
    last_use: u64,
}

impl ServiceExporters {
    pub(super) fn new(config: Arc<OtlpConfig>, transport: Transport, stats: Arc<ExportStats>) -> Self {
        Self { config, transport, stats, exporters: HashMap::new(), uses: 0 }
    }

    /// The exporter of this service, built if necessary. It stays usable after
    /// it was displaced by others.
    pub(super) fn get(&mut self, service: &Arc<str>) -> Result<Arc<SpanExporter>, ExporterBuildError> {
        self.uses += 1;
        if let Some(entry) = self.exporters.get_mut(service) {
            entry.last_use = self.uses;
            return Ok(entry.exporter.clone());
        }
        let exporter = Arc::new(self.build(service)?);
        if self.exporters.len() >= self.config.max_services.max(1) {
            let oldest = self.exporters.iter().min_by_key(|(_, e)| e.last_use);
            if let Some(service) = oldest.map(|(service, _)| service.clone()) {
                self.exporters.remove(&service);
            }
        }
        let entry = Entry { exporter: exporter.clone(), last_use: self.uses };
        self.exporters.insert(service.clone(), entry);
        Ok(exporter)
    }

    fn build(&self, service: &str) -> Result<SpanExporter, ExporterBuildError> {
        let config = &self.config;
        let retry = RetryPolicy::default()
            .with_max_retries(config.retry.max_retries)
            .with_initial_delay(config.retry.initial_delay)
            .with_max_delay(config.retry.max_delay);
        let compression = config.compression.map(|compression| match compression {
            Compression::Gzip => opentelemetry_otlp::Compression::Gzip,
            Compression::Zstd => opentelemetry_otlp::Compression::Zstd,
        });
        let mut exporter = match &self.transport {
            Transport::Http(client) => {
                let headers = config
                    .headers
                    .iter()
                    .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
                let mut builder = SpanExporter::builder()
                    .with_http()
                    .with_http_client(CountingClient { client: client.clone(), stats: self.stats.clone() })
                    .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                    .with_endpoint(config.url.to_string())
                    .with_timeout(config.timeout)
                    .with_headers(headers.collect())
                    .with_retry_policy(retry);
                if let Some(compression) = compression {
                    builder = builder.with_compression(compression);
                }
                builder.build()?
            }
            Transport::Grpc(channel) => {
                let stats = self.stats.clone();
                let mut builder = SpanExporter::builder()
                    .with_tonic()
                    .with_channel(channel.clone())
                    .with_timeout(config.timeout)
                    .with_metadata(MetadataMap::from_headers(config.headers.clone()))
                    .with_interceptor(move |request| {
                        stats.add_attempt();
                        Ok(request)
                    })
                    .with_retry_policy(retry);
                if let Some(compression) = compression {
                    builder = builder.with_compression(compression);
                }
                builder.build()?
            }
        };
        exporter.set_resource(&resource(service, &config.instance_id));
        Ok(exporter)
    }
}

/// The resource of a service.
fn resource(service: &str, instance_id: &str) -> Resource {
    let common = resource::common(instance_id);
    let attributes = common.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(attributes).with_service_name(service.to_owned()).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::otlp::Protocol;

    #[tokio::test]
    async fn least_recently_used_exporter_is_displaced() {
        let mut config = OtlpConfig::new("http://127.0.0.1:1", Protocol::Grpc).unwrap();
        config.max_services = 2;
        let transport = Transport::new(&config).unwrap();
        let mut exporters = ServiceExporters::new(Arc::new(config), transport, Arc::default());
        let [a, b, c] = ["a", "b", "c"].map(Arc::<str>::from);
        let first_a = exporters.get(&a).unwrap();
        let first_b = exporters.get(&b).unwrap();
        assert!(Arc::ptr_eq(&first_a, &exporters.get(&a).unwrap()));
        exporters.get(&c).unwrap();
        assert!(Arc::ptr_eq(&first_a, &exporters.get(&a).unwrap()));
        assert!(!Arc::ptr_eq(&first_b, &exporters.get(&b).unwrap()));
        assert_eq!(exporters.exporters.len(), 2);
    }
}
