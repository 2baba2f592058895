//! The metrics of requests at a collector: content, transports, failures.

use crate::export_common::authority::{Authority, pem_file};
use crate::export_common::collector::{Answer, Collector};
use crate::export_common::until;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, HistogramDataPoint, Metric};
use spoa_otel::export::otlp::{Given, MetricsConfig, Protocol};
use spoa_otel::red::{Measured, Red, RedConfig, RedExporter};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ALL: [Protocol; 3] = [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc];

const GET: Measured<'_> = Measured {
    method: "GET",
    scheme: "https",
    status: Some(200),
    error_type: None,
    route: Some("/a/{id}"),
    version: Some("2"),
    server: None,
    duration: Duration::from_millis(20),
    exemplar: None,
};

const TO_SERVER: Measured<'_> = Measured {
    scheme: "",
    status: Some(503),
    error_type: Some("503"),
    route: None,
    version: None,
    server: Some(("192.0.2.1", 8080)),
    ..GET
};

async fn collector(protocol: Protocol) -> Collector {
    match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::http().await,
        Protocol::Grpc => Collector::grpc().await,
    }
}

/// What the option `--otlp` and these variables configure.
fn config(endpoint: &str, protocol: Protocol, env: &[(&str, &str)]) -> MetricsConfig {
    let given = Given { endpoint: Some(endpoint), protocol: Some(protocol), or_default: true, ..Given::default() };
    let env = |name: &str| env.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
    let mut warnings = Vec::new();
    let config = MetricsConfig::resolve(given, env, &mut warnings).unwrap().unwrap();
    assert_eq!(warnings, [""; 0]);
    config
}

fn start(config: MetricsConfig) -> (Red, RedExporter) {
    let red = Red::new(&RedConfig::default());
    let exporter = RedExporter::start(&red, config, "default").unwrap();
    (red, exporter)
}

const GRACE: Duration = Duration::from_secs(20);

/// A request with the metrics of one service: its name, and its metrics by theirs.
fn read(request: &ExportMetricsServiceRequest) -> (String, BTreeMap<String, Metric>) {
    let [resource_metrics] = &request.resource_metrics[..] else { panic!("{request:?}") };
    let resource = resource_metrics.resource.as_ref().unwrap();
    let mut attributes = texts(&resource.attributes);
    assert!(attributes.contains_key("service.instance.id") && attributes.contains_key("telemetry.sdk.name"));
    let [scope_metrics] = &resource_metrics.scope_metrics[..] else { panic!("{request:?}") };
    assert_eq!(scope_metrics.scope.as_ref().unwrap().name, "spoa-otel");
    let metrics = scope_metrics.metrics.iter().map(|metric| (metric.name.clone(), metric.clone()));
    (attributes.remove("service.name").unwrap(), metrics.collect())
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match value.value.clone().unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref().unwrap()))).collect()
}

/// The only data point of a metric.
fn point(metric: &Metric) -> (HistogramDataPoint, AggregationTemporality) {
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    let [point] = &histogram.data_points[..] else { panic!("{metric:?}") };
    (point.clone(), histogram.aggregation_temporality())
}

/// How many requests each export told of.
fn counts(collector: &Collector) -> Vec<u64> {
    let arrived = collector.arrived().into_iter();
    let metrics = arrived.map(|arrived| read(&arrived.metrics.unwrap()).1);
    metrics.map(|metrics| point(&metrics["http.server.request.duration"]).0.count).collect()
}

#[tokio::test]
async fn metrics_arrive_over_every_protocol() {
    for protocol in ALL {
        for compression in ["none", "gzip", "zstd"] {
            let collector = collector(protocol).await;
            let env = [
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=general"),
                ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-token=a%20b"),
                ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", compression),
            ];
            let (red, exporter) = start(config(&format!("http://{}", collector.addr), protocol, &env));
            red.server("one", &GET);
            red.server("one", &Measured { duration: Duration::from_secs(3), ..GET });
            red.client("one", &TO_SERVER);
            red.server("two", &GET);
            exporter.shutdown(GRACE).await;

            let arrived = collector.arrived();
            assert_eq!(arrived.len(), 2, "{protocol}: a request for each service");
            let encoding = if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" };
            for request in &arrived {
                assert_eq!(request.headers["x-token"], "a b");
                assert!(request.headers["user-agent"].to_str().unwrap().starts_with("spoa-otel/"));
                let encoding = request.headers.get(encoding).map_or("none", |value| value.to_str().unwrap());
                assert_eq!(encoding, compression, "{protocol}");
                assert_eq!(request.path, if protocol == Protocol::Grpc { "" } else { "/v1/metrics" });
            }
            let services: BTreeMap<_, _> =
                arrived.iter().map(|request| read(request.metrics.as_ref().unwrap())).collect();
            assert_eq!(services.keys().collect::<Vec<_>>(), ["one", "two"]);
            assert_eq!(services["two"].len(), 1, "no request to a server");
            let (server, temporality) = point(&services["one"]["http.server.request.duration"]);
            assert_eq!(temporality, AggregationTemporality::Cumulative);
            assert_eq!((server.count, server.sum), (2, Some(3.02)));
            let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
            assert_eq!(server.explicit_bounds, bounds);
            assert_eq!(server.bucket_counts, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
            assert!(0 < server.start_time_unix_nano && server.start_time_unix_nano <= server.time_unix_nano);
            let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
            };
            let expected = [
                ("http.request.method", "GET"),
                ("http.response.status_code", "200"),
                ("http.route", "/a/{id}"),
                ("network.protocol.version", "2"),
                ("url.scheme", "https"),
            ];
            assert_eq!(texts(&server.attributes), pairs(&expected));
            let (client, _) = point(&services["one"]["http.client.request.duration"]);
            let expected = [
                ("error.type", "503"),
                ("http.request.method", "GET"),
                ("http.response.status_code", "503"),
                ("server.address", "192.0.2.1"),
                ("server.port", "8080"),
            ];
            assert_eq!((client.count, texts(&client.attributes)), (1, pairs(&expected)));
            let stats = red.stats();
            assert_eq!((stats.exported, stats.failed, stats.rejected), (2, 0, 0));
        }
    }
}

#[tokio::test]
async fn sums_since_the_beginning_or_since_the_last_export() {
    for (temporality, expected) in [("cumulative", [2, 3]), ("delta", [2, 1]), ("lowmemory", [2, 1])] {
        let collector = collector(Protocol::HttpProtobuf).await;
        let env = [
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ];
        let (red, exporter) = start(config(&format!("http://{}", collector.addr), Protocol::HttpProtobuf, &env));
        red.server("one", &GET);
        red.server("one", &GET);
        until("an interval is over", || !collector.arrived().is_empty()).await;
        red.server("one", &GET);
        until("another one is over", || counts(&collector).last() != Some(&2)).await;
        let counts = counts(&collector);
        assert_eq!([counts.first(), counts.last()], expected.each_ref().map(Some), "{temporality}: {counts:?}");
        exporter.shutdown(GRACE).await;
    }
}

/// Sums since the beginning go on, at another collector by another protocol, as often as is said now.
#[tokio::test]
async fn another_collector_takes_over() {
    let (a, b) = (collector(Protocol::HttpProtobuf).await, collector(Protocol::Grpc).await);
    let url = |collector: &Collector| format!("http://{}", collector.addr);
    let env = [("OTEL_METRIC_EXPORT_INTERVAL", "50")];
    let (red, exporter) = start(config(&url(&a), Protocol::HttpProtobuf, &env));
    red.server("one", &GET);
    until("the first has it", || counts(&a).last() == Some(&1)).await;
    let delta = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta");
    let replacement = exporter.prepare(config(&url(&b), Protocol::Grpc, &[env[0], delta])).unwrap();
    exporter.replace(replacement);
    red.server("one", &GET);
    until("the second has both", || counts(&b).last() == Some(&2)).await;
    // Not before an hour is over, and at the end.
    let hourly = config(&url(&b), Protocol::Grpc, &[("OTEL_METRIC_EXPORT_INTERVAL", "3600000")]);
    exporter.replace(exporter.prepare(hourly).unwrap());
    red.server("one", &GET);
    exporter.shutdown(GRACE).await;
    assert_eq!(counts(&b).last(), Some(&3));
    assert!(!counts(&a).contains(&2), "{:?}", counts(&a));
    let stats = red.stats();
    assert_eq!(stats.exported as usize, counts(&a).len() + counts(&b).len());
}

#[tokio::test]
async fn a_failed_export_is_counted_and_the_next_one_has_all() {
    for protocol in ALL {
        let collector = collector(protocol).await;
        collector.answer([Answer::Status(400)]);
        let env = [("OTEL_METRIC_EXPORT_INTERVAL", "50")];
        let (red, exporter) = start(config(&format!("http://{}", collector.addr), protocol, &env));
        red.server("one", &GET);
        until("one export fails, one succeeds", || red.stats().failed == 1 && red.stats().exported > 0).await;
        exporter.shutdown(GRACE).await;
        assert_eq!(counts(&collector)[..2], [1, 1], "{protocol}");
    }
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_within_the_export() {
    for protocol in ALL {
        let collector = collector(protocol).await;
        collector.answer([Answer::Status(503), Answer::Status(503)]);
        let (red, exporter) = start(config(&format!("http://{}", collector.addr), protocol, &[]));
        red.server("one", &GET);
        exporter.shutdown(GRACE).await;
        assert_eq!(counts(&collector), [1, 1, 1], "{protocol}");
        assert_eq!((red.stats().exported, red.stats().failed), (1, 0));
    }
}

#[tokio::test]
async fn what_the_collector_rejects_is_counted() {
    for protocol in ALL {
        let collector = collector(protocol).await;
        collector.answer([Answer::Partial(3)]);
        let (red, exporter) = start(config(&format!("http://{}", collector.addr), protocol, &[]));
        red.server("one", &GET);
        exporter.shutdown(GRACE).await;
        assert_eq!((red.stats().exported, red.stats().rejected), (1, 3), "{protocol}");
    }
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_away_holds_nothing_up() {
    for protocol in ALL {
        let collector = collector(protocol).await;
        collector.answer([Answer::Hang, Answer::Hang, Answer::Hang]);
        let here = format!("http://{}", collector.addr);
        // The timeout of an export ends an attempt, and the next one comes.
        let env = [("OTEL_METRIC_EXPORT_INTERVAL", "50"), ("OTEL_METRIC_EXPORT_TIMEOUT", "100")];
        let (red, exporter) = start(config(&here, protocol, &env));
        red.server("one", &GET);
        until("it hangs twice", || red.stats().failed >= 2).await;
        exporter.shutdown(GRACE).await;

        // At the end there is no more time than that.
        let nobody = "http://127.0.0.1:9";
        for endpoint in [&here, nobody] {
            collector.answer([Answer::Hang; 9]);
            let (red, exporter) = start(config(endpoint, protocol, &[]));
            red.server("one", &GET);
            let stopping = Instant::now();
            exporter.shutdown(Duration::from_millis(300)).await;
            assert!(stopping.elapsed() < GRACE, "{:?}", stopping.elapsed());
            assert_eq!((red.stats().exported, red.stats().failed), (0, 1), "{protocol} {endpoint}");
        }
    }
}

/// One that is under way is answered before the last one; if it hangs, there is a last one all the same.
#[tokio::test]
async fn the_end_comes_into_an_export() {
    for (answer, temporality, stats, expected) in [
        (Answer::Late(Duration::from_millis(700)), "cumulative", (2, 0), [1, 2]),
        (Answer::Late(Duration::from_millis(700)), "delta", (2, 0), [1, 1]),
        (Answer::Hang, "cumulative", (1, 1), [1, 2]),
    ] {
        for protocol in ALL {
            let collector = collector(protocol).await;
            collector.answer([answer]);
            let env = [
                ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
            ];
            let (red, exporter) = start(config(&format!("http://{}", collector.addr), protocol, &env));
            red.server("one", &GET);
            until("it is under way", || !collector.arrived().is_empty()).await;
            red.server("one", &GET);
            exporter.shutdown(Duration::from_secs(3)).await;
            assert_eq!((red.stats().exported, red.stats().failed), stats, "{answer:?} {temporality} {protocol}");
            assert_eq!(counts(&collector), expected, "{answer:?} {temporality} {protocol}");
        }
    }
}

#[tokio::test]
async fn what_is_beyond_the_limit_says_so() {
    let collector = collector(Protocol::HttpProtobuf).await;
    let red = Red::new(&RedConfig { max_series: 1 });
    let config = config(&format!("http://{}", collector.addr), Protocol::HttpProtobuf, &[]);
    let exporter = RedExporter::start(&red, config, "default").unwrap();
    for status in [200, 201, 202] {
        red.server("one", &Measured { status: Some(status), ..GET });
    }
    // Services are bounded too: those that are too many are the default one's.
    for service in 0..100 {
        red.server(&service.to_string(), &GET);
    }
    exporter.shutdown(GRACE).await;
    let services = collector.arrived().into_iter().map(|arrived| read(&arrived.metrics.unwrap()));
    let services: BTreeMap<_, _> = services.collect();
    let Some(Data::Histogram(one)) = &services["one"]["http.server.request.duration"].data else { panic!() };
    let overflow = BTreeMap::from([("otel.metric.overflow".to_owned(), "true".to_owned())]);
    let counts: Vec<_> =
        one.data_points.iter().map(|point| (texts(&point.attributes) == overflow, point.count)).collect();
    assert!(counts.len() == 2 && counts.contains(&(false, 1)) && counts.contains(&(true, 2)), "{counts:?}");
    let (others, _) = point(&services["default"]["http.server.request.duration"]);
    assert_eq!((others.count, texts(&others.attributes)), (100 - 63, overflow));
    assert_eq!(services.len(), 65);
}

#[tokio::test]
async fn a_private_authority_of_metrics() {
    let authority = Authority::new();
    let ca = pem_file("metrics_ca.pem", &authority.pem());
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let pem = authority.certificate("127.0.0.1");
        let collector = match protocol {
            Protocol::Grpc => Collector::grpcs(&pem, None).await,
            _ => Collector::https(&pem, None).await,
        };
        let env = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/there/is/none.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", ca.to_str().unwrap()),
        ];
        let (red, exporter) = start(config(&format!("https://{}", collector.addr), protocol, &env));
        red.server("one", &GET);
        exporter.shutdown(GRACE).await;
        assert_eq!((counts(&collector), red.stats().exported), (vec![1], 1), "{protocol}");
    }
}
