//! Where the spans go.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};

/// Somebody is watching a demonstration: spans leave soon, not after the SDK's five seconds.
const EXPORT_INTERVAL: Duration = Duration::from_millis(200);

/// A provider that exports to the OTLP receiver at `endpoint` (http/protobuf), or nowhere.
pub(crate) fn provider(endpoint: Option<&str>) -> anyhow::Result<SdkTracerProvider> {
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("fake-server");
    }
    let mut builder = SdkTracerProvider::builder().with_resource(resource.build());
    if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http_client()?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(endpoint))
            .build()
            .with_context(|| format!("cannot export to {endpoint}"))?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(EXPORT_INTERVAL).build();
        builder = builder.with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build());
    }
    Ok(builder.build())
}

/// The SDK exports on a thread of its own, so the client blocks. It is named here because the exporter's own choice depends
/// on what else is built in the workspace.
fn http_client() -> anyhow::Result<reqwest::blocking::Client> {
    // There is a provider already after a first call.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The blocking client may not be made on a thread that runs asynchronous code.
    let client = std::thread::spawn(|| reqwest::blocking::Client::builder().no_proxy().build()).join();
    client.map_err(|_| anyhow::anyhow!("cannot make an HTTP client"))?.context("cannot make an HTTP client")
}

/// An OTLP endpoint is a base; traces have their own path below it.
fn traces_url(endpoint: &str) -> String {
    const PATH: &str = "/v1/traces";
    let base = endpoint.trim_end_matches('/');
    if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") }
}

#[cfg(test)]
mod tests {
    use super::traces_url;

    #[test]
    fn appends_the_path_once() {
        for endpoint in ["http://h:4318", "http://h:4318/", "http://h:4318/v1/traces", "http://h:4318/v1/traces/"] {
            assert_eq!(traces_url(endpoint), "http://h:4318/v1/traces");
        }
    }
}
