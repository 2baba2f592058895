//! The real environment variables, which a process of its own has.

use crate::export_common::collector::Collector;
use crate::export_common::span;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spoa_otel::export::Pipeline;
use spoa_otel::export::otlp::{Given, OtlpConfig, OtlpExporter, Protocol};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

#[tokio::test]
async fn the_environment_configures_the_exporter() {
    let attributes = "deployment.environment.name=a%20test,service.name=nor-this,telemetry.sdk.language=c";
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        let (resource, token, encoding) = exported(protocol, attributes).await;
        assert_eq!(resource["service.name"], "haproxy-1");
        assert_eq!(resource["deployment.environment.name"], "a test");
        assert_eq!(resource["telemetry.sdk.language"], "rust", "that is not for the user to say");
        assert!(resource.contains_key("service.instance.id"));
        assert_eq!(token, ["a b"]);
        assert_eq!(encoding, "gzip");
    }
    let (resource, ..) = exported("grpc", "service.instance.id=mine").await;
    assert_eq!(resource["service.instance.id"], "mine");
    let (resource, ..) = exported("grpc", "service.instance.id=mine,malformed").await;
    assert_ne!(resource["service.instance.id"], "mine", "an error spoils all");
}

#[tokio::test]
#[ignore = "for the process of the other test"]
async fn export_a_span() {
    let mut warnings = Vec::new();
    let config = OtlpConfig::resolve(Given::default(), |name| std::env::var(name).ok(), &mut warnings);
    let config = config.unwrap().unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.protocol, std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").unwrap().parse::<Protocol>().unwrap());
    let pipeline = Pipeline::new(vec![Arc::new(OtlpExporter::start(config).unwrap())]);
    pipeline.submit(&[span("haproxy-1", 1, 0, "n", 0, 1).finished()]);
    pipeline.shutdown(Duration::from_secs(20)).await;
}

/// What arrives of a process with such an environment: the resource of its span, the values of the header `x-token`, and
/// the encoding.
async fn exported(protocol: &str, attributes: &str) -> (BTreeMap<String, String>, Vec<String>, String) {
    let (collector, encoding) = match protocol {
        "grpc" => (Collector::grpc().await, "grpc-encoding"),
        _ => (Collector::http().await, "content-encoding"),
    };
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--ignored", "--exact", "environment::export_a_span"]);
    process.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.addr));
    process.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
    process.env("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b");
    process.env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip");
    process.env("OTEL_SERVICE_NAME", "not-this-one").env("OTEL_RESOURCE_ATTRIBUTES", attributes);
    let output = process.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");

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
