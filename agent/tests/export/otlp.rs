//! What a collector gets: content, headers, compression.

use crate::export_common::collector::{Arrived, Collector};
use crate::export_common::{EPOCH, TRACE, TestSpan, at, context, span, until};
use opentelemetry::trace::{Event, Link, SpanKind, Status};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue as ProtoKeyValue, any_value,
};
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans};
use prost::Message;
use spoa_otel::export::otlp::{Compression, OtlpConfig, OtlpExporter, Protocol};
use spoa_otel::export::{ExportSnapshot, Pipeline};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

async fn collector(protocol: Protocol) -> (Collector, OtlpConfig) {
    let collector = match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::http().await,
        Protocol::Grpc => Collector::grpc().await,
    };
    let config = OtlpConfig::new(&format!("http://{}", collector.addr), protocol).unwrap();
    (collector, config)
}

/// Exports these spans and gives the final counters.
async fn export(config: OtlpConfig, spans: Vec<TestSpan>) -> ExportSnapshot {
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    let pipeline = Pipeline::new(vec![exporter]);
    for span in spans {
        pipeline.submit(&[span.finished()]);
    }
    let stats = pipeline.shutdown(Duration::from_secs(20)).await;
    assert_eq!(stats[0].0, "otlp");
    stats[0].1
}

fn kv(key: &str, value: any_value::Value) -> ProtoKeyValue {
    ProtoKeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(value: &str) -> any_value::Value {
    any_value::Value::StringValue(value.to_owned())
}

/// A span that uses every field, and what must arrive of it.
fn full_span() -> (TestSpan, proto::Span) {
    let mut full = span("haproxy-1", 0x11, 0x22, "GET", 0, 1_500);
    full.tracestate = Some("vendor=opaque,b=2".into());
    let data = &mut full.data;
    data.parent_span_is_remote = true;
    data.span_kind = SpanKind::Server;
    data.attributes = vec![
        KeyValue::new("text", "ä"),
        KeyValue::new("int", -5_i64),
        KeyValue::new("float", 1.5),
        KeyValue::new("bool", true),
        KeyValue::new("list", Value::Array(Array::String(vec![StringValue::from("x")]))),
    ];
    data.dropped_attributes_count = 3;
    let attribute = vec![KeyValue::new("k", "v")];
    data.events.events = vec![Event::new("log", at(700), attribute, 1)];
    data.events.dropped_count = 2;
    let attribute = vec![KeyValue::new("opentracing.ref_type", "follows_from")];
    data.links.links = vec![Link::new(context(0x77, 0x88), attribute, 0)];
    data.links.dropped_count = 4;
    data.status = Status::error("503");

    let list = ArrayValue { values: vec![AnyValue { value: Some(text("x")) }] };
    let expected = proto::Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, 0x11],
        trace_state: "vendor=opaque,b=2".to_owned(),
        parent_span_id: vec![0, 0, 0, 0, 0, 0, 0, 0x22],
        // Sampled, "remoteness is known", remote.
        flags: 0x301,
        name: "GET".to_owned(),
        kind: proto::span::SpanKind::Server as i32,
        start_time_unix_nano: EPOCH * 1000,
        end_time_unix_nano: EPOCH * 1000 + 1_500_000,
        attributes: vec![
            kv("text", text("ä")),
            kv("int", any_value::Value::IntValue(-5)),
            kv("float", any_value::Value::DoubleValue(1.5)),
            kv("bool", any_value::Value::BoolValue(true)),
            kv("list", any_value::Value::ArrayValue(list)),
        ],
        dropped_attributes_count: 3,
        events: vec![proto::span::Event {
            time_unix_nano: EPOCH * 1000 + 700_000,
            name: "log".to_owned(),
            attributes: vec![kv("k", text("v"))],
            dropped_attributes_count: 1,
        }],
        dropped_events_count: 2,
        links: vec![proto::span::Link {
            trace_id: 0x77_u128.to_be_bytes().to_vec(),
            span_id: vec![0, 0, 0, 0, 0, 0, 0, 0x88],
            trace_state: "vendor=opaque,b=2".to_owned(),
            attributes: vec![kv("opentracing.ref_type", text("follows_from"))],
            dropped_attributes_count: 0,
            flags: 0x101,
        }],
        dropped_links_count: 4,
        status: Some(proto::Status { code: proto::status::StatusCode::Error as i32, message: "503".to_owned() }),
    };
    (full, expected)
}

/// Everything that arrived, by service.
fn by_service(arrived: &[Arrived]) -> BTreeMap<String, Vec<ResourceSpans>> {
    let mut services = BTreeMap::<_, Vec<_>>::new();
    for request in arrived {
        for resource_spans in &request.message.resource_spans {
            let name = attribute(resource_spans, "service.name").unwrap();
            services.entry(name).or_default().push(resource_spans.clone());
        }
    }
    services
}

fn attribute(resource_spans: &ResourceSpans, key: &str) -> Option<String> {
    let resource = resource_spans.resource.as_ref()?;
    let found = resource.attributes.iter().find(|kv| kv.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_field_arrives_over_both_protocols() {
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc] {
        let (collector, config) = collector(protocol).await;
        let (full, expected) = full_span();
        let root = span("haproxy-2", 1, 0, "root", 0, 1);
        let second = span("haproxy-1", 2, 1, "second", 0, 1);
        let stats = export(config, vec![full, root, second]).await;
        assert_eq!((stats.submitted, stats.exported, stats.dropped()), (3, 3, 0));
        // One request for both services.
        assert_eq!((stats.attempts, stats.failures), (1, 0));

        let arrived = collector.arrived();
        let services = by_service(&arrived);
        assert_eq!(services.len(), 2);
        let mut instances = BTreeSet::new();
        for (service, spans) in [("haproxy-1", 2), ("haproxy-2", 1)] {
            let [resource_spans] = &services[service][..] else {
                panic!("{services:?}");
            };
            let value = |key| attribute(resource_spans, key);
            instances.extend(value("service.instance.id"));
            assert_eq!(value("telemetry.sdk.language").as_deref(), Some("rust"));
            assert_eq!(value("telemetry.sdk.name").as_deref(), Some("opentelemetry"));
            assert_eq!(value("telemetry.sdk.version").as_deref(), Some("0.33.1"));
            let [scope_spans] = &resource_spans.scope_spans[..] else {
                panic!("{resource_spans:?}");
            };
            let scope = InstrumentationScope {
                name: "spoa-otel".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            };
            assert_eq!(scope_spans.scope, Some(scope));
            assert_eq!(scope_spans.spans.len(), spans);
        }
        assert_eq!(instances.len(), 1, "the same of all of this process: {instances:?}");
        let ScopeSpans { spans, .. } = &services["haproxy-1"][0].scope_spans[0];
        assert_eq!(spans[0], expected);
        let root = &services["haproxy-2"][0].scope_spans[0].spans[0];
        assert_eq!(root.parent_span_id, Vec::<u8>::new());
        for request in &arrived {
            let content_type = match protocol {
                Protocol::HttpProtobuf => "application/x-protobuf",
                Protocol::HttpJson => "application/json",
                Protocol::Grpc => "application/grpc",
            };
            assert_eq!(request.headers["content-type"], content_type);
            let path = if protocol == Protocol::Grpc { "" } else { "/v1/traces" };
            assert_eq!(request.path, path);
        }
    }
}

#[tokio::test]
async fn headers_and_compression_are_applied() {
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc] {
        for (compression, encoding) in
            [(None, None), (Some(Compression::Gzip), Some("gzip")), (Some(Compression::Zstd), Some("zstd"))]
        {
            let (collector, mut config) = collector(protocol).await;
            config.compression = compression;
            let token = "Bearer a=b,c".parse().unwrap();
            config.headers.insert("authorization", token);
            let spans = (1..=50).map(|id| span("s", id, 0, "the same name", 0, 1));
            assert_eq!(export(config, spans.collect()).await.exported, 50);

            let arrived = collector.arrived();
            assert_eq!(arrived.len(), 1);
            let headers = &arrived[0].headers;
            let values: Vec<_> = headers.get_all("authorization").iter().collect();
            assert_eq!(values, ["Bearer a=b,c"]);
            let name = match protocol {
                Protocol::HttpProtobuf | Protocol::HttpJson => "content-encoding",
                Protocol::Grpc => "grpc-encoding",
            };
            let found = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(found, encoding, "{protocol:?}");
            if protocol != Protocol::Grpc {
                let smaller = arrived[0].raw.len() < arrived[0].body.len() / 2;
                assert_eq!(smaller, compression.is_some());
            }
            assert_eq!(arrived[0].message.resource_spans[0].scope_spans[0].spans.len(), 50);
        }
    }
}

#[tokio::test]
async fn many_services_share_a_request() {
    let (collector, config) = collector(Protocol::HttpProtobuf).await;
    let spans = (0..30).map(|n| span(&format!("service-{}", n % 10), n + 1, 0, "n", 0, 1));
    assert_eq!(export(config, spans.collect()).await.exported, 30);
    assert_eq!(collector.arrived().len(), 1);
    let services = by_service(&collector.arrived());
    assert_eq!(services.len(), 10);
    for resource_spans in services.values() {
        assert_eq!(resource_spans[0].scope_spans[0].spans.len(), 3);
    }
}

#[tokio::test]
async fn a_batch_leaves_when_it_is_full_or_old_enough() {
    let (collector, mut config) = collector(Protocol::HttpProtobuf).await;
    config.queue.batch_spans = 2;
    config.queue.batch_delay = Duration::from_millis(50);
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    let pipeline = Pipeline::new(vec![exporter]);
    for id in 1..=5 {
        pipeline.submit(&[span("s", id, 0, "n", 0, 1).finished()]);
    }
    until("all spans are exported", || pipeline.stats()[0].1.exported == 5).await;
    let sizes = collector.arrived().into_iter().map(|request| {
        let spans = &request.message.resource_spans[0].scope_spans[0].spans;
        assert!(request.message.encoded_len() > 0);
        spans.len()
    });
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}
