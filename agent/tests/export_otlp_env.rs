//! The real environment variables, in a process of their own.

mod export_common;

use export_common::collector::Collector;
use export_common::span;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spoa_otel::export::otlp::{Given, OtlpConfig, OtlpExporter, Protocol};
use spoa_otel::export::Pipeline;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_environment_configures_the_exporter() {
    // One test, so no other thread reads the environment meanwhile.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = |name: &str, value: &str| std::env::set_var(name, value);
    set("OTEL_SERVICE_NAME", "not-this-one");
    set("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b");
    set("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip");
    let attributes = "deployment.environment.name=a%20test,service.name=nor-this,telemetry.sdk.language=c";
    set("OTEL_RESOURCE_ATTRIBUTES", attributes);
    for (protocol, name) in
        [(Protocol::HttpProtobuf, "http/protobuf"), (Protocol::HttpJson, "http/json"), (Protocol::Grpc, "grpc")]
    {
        set("OTEL_EXPORTER_OTLP_PROTOCOL", name);
        let (resource, token, encoding) = runtime.block_on(exported(protocol));
        assert_eq!(resource["service.name"], "haproxy-1");
        assert_eq!(resource["deployment.environment.name"], "a test");
        assert_eq!(resource["telemetry.sdk.language"], "rust", "that is not for the user to say");
        assert!(resource.contains_key("service.instance.id"));
        assert_eq!(token, ["a b"]);
        assert_eq!(encoding, "gzip");
    }
    set("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine");
    let (resource, ..) = runtime.block_on(exported(Protocol::Grpc));
    assert_eq!(resource["service.instance.id"], "mine");
    set("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine,malformed");
    let (resource, ..) = runtime.block_on(exported(Protocol::Grpc));
    assert_ne!(resource["service.instance.id"], "mine", "an error spoils all");
}

/// Exports a span to the endpoint of the environment. Gives its resource, the
/// values of the header `x-token`, and the encoding.
async fn exported(protocol: Protocol) -> (BTreeMap<String, String>, Vec<String>, String) {
    let (collector, encoding) = match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => (Collector::http().await, "content-encoding"),
        Protocol::Grpc => (Collector::grpc().await, "grpc-encoding"),
    };
    let url = format!("http://{}", collector.addr);
    std::env::set_var("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    let mut warnings = Vec::new();
    let config = OtlpConfig::resolve(Given::default(), |name| std::env::var(name).ok(), &mut warnings);
    let config = config.unwrap().unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.protocol, protocol);
    let pipeline = Pipeline::new(vec![Arc::new(OtlpExporter::start(config).unwrap())]);
    pipeline.submit(Arc::new(span("haproxy-1", 1, 0, "n", 0, 1)));
    pipeline.shutdown(Duration::from_secs(20)).await;

    let arrived = collector.arrived().remove(0);
    let resource = arrived.message.resource_spans[0].resource.clone().unwrap();
    let text = |value| match value {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    let attributes = resource.attributes.into_iter();
    let attributes = attributes.map(|kv| (kv.key, text(kv.value.unwrap().value.unwrap())));
    let header = |name| arrived.headers.get_all(name).iter();
    let token = header("x-token").map(|value| value.to_str().unwrap().to_owned());
    let encoding = arrived.headers[encoding].to_str().unwrap().to_owned();
    (attributes.collect(), token.collect(), encoding)
}
