//! The metrics of requests by OTLP: what a Collector got is what `/metrics` says.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::chain::{Chain, Mode};
use crate::haproxy::extremes;
use crate::process::PATIENCE;
use crate::scrape::Metrics;
use crate::servers::{self, Collector, assert_quiet};

/// Count, sum, and the counts up to each bound, of a series: `family{label="value",…}`, its labels in order.
type Series = BTreeMap<String, (u64, f64, Vec<u64>)>;

const FAMILIES: [&str; 2] = ["http_server_request_duration_seconds", "http_client_request_duration_seconds"];

fn named(family: &str, mut labels: Vec<String>) -> String {
    labels.sort();
    format!("{family}{{{}}}", labels.join(","))
}

/// Of Prometheus's text.
fn scraped(metrics: &Metrics) -> Series {
    let mut series = Series::new();
    for row in metrics.text.lines() {
        let Some(family) = FAMILIES.into_iter().find(|family| row.starts_with(family)) else { continue };
        let (name, value) = row.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap();
        let labels =
            labels.trim_end_matches('}').split("\",").map(|label| format!("{}\"", label.trim_end_matches('"')));
        let labels = labels.filter(|label| !label.starts_with("le=")).collect();
        let of = series.entry(named(family, labels)).or_default();
        match &name[family.len()..] {
            "_count" => of.0 = value.parse().unwrap(),
            "_sum" => of.1 = value.parse().unwrap(),
            "_bucket" => of.2.push(value.parse().unwrap()),
            other => panic!("{other}: {row}"),
        }
    }
    series
}

fn text(value: &Json) -> String {
    let text = ["stringValue", "intValue", "boolValue"].into_iter().find_map(|kind| value.get(kind));
    text.map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned)).expect("a value")
}

fn label(attribute: &Json) -> String {
    format!("{}=\"{}\"", attribute["key"].as_str().unwrap().replace('.', "_"), text(&attribute["value"]))
}

/// The last ones of the exports that a Collector wrote, one a line.
fn exported(file: &str) -> Series {
    let mut series = Series::new();
    let whole = |line: &&str| serde_json::from_str::<Json>(line).is_ok();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines().filter(whole) {
        let export: Json = serde_json::from_str(line).unwrap();
        for of_resource in export["resourceMetrics"].as_array().unwrap() {
            let resource = of_resource["resource"]["attributes"].as_array().unwrap();
            let service = label(resource.iter().find(|attribute| attribute["key"] == "service.name").unwrap());
            for metric in
                of_resource["scopeMetrics"].as_array().unwrap().iter().flat_map(|of| of["metrics"].as_array().unwrap())
            {
                assert_eq!(metric["unit"], "s", "{metric}");
                assert_eq!(metric["histogram"]["aggregationTemporality"], 2, "cumulative: {metric}");
                let family = format!("{}_seconds", metric["name"].as_str().unwrap().replace('.', "_"));
                for point in metric["histogram"]["dataPoints"].as_array().unwrap() {
                    let labels = point["attributes"].as_array().unwrap().iter().map(label).chain([service.clone()]);
                    let number = |value: &Json| value.as_str().unwrap().parse::<u64>().unwrap();
                    let mut up_to = 0;
                    let buckets = point["bucketCounts"].as_array().unwrap().iter().map(|count| {
                        up_to += number(count);
                        up_to
                    });
                    let buckets = buckets.collect();
                    let of = (number(&point["count"]), point["sum"].as_f64().unwrap(), buckets);
                    series.insert(named(&family, labels.collect()), of);
                }
            }
        }
    }
    series
}

fn same(exported: &Series, scraped: &Series) -> bool {
    // Prometheus's text has the sums of its own adding.
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    exported.len() == scraped.len()
        && exported
            .iter()
            .zip(scraped)
            .all(|((name, a), (of, b))| name == of && a.0 == b.0 && close(a.1, b.1) && a.2 == b.2)
}

#[tokio::test]
async fn a_collector_gets_the_metrics_that_prometheus_would_get() {
    let Some([collector]) = servers::programs(["SPOP_COLLECTOR"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.json").to_str().unwrap().to_owned();
    let overlay = format!(
        "exporters: {{file: {{path: \"{file}\", flush_interval: 50ms}}, debug: {{}}}}\n\
         service:\n  pipelines:\n    metrics: {{receivers: [otlp], exporters: [file]}}\n    traces: {{exporters: [debug]}}\n"
    );
    for (protocol, compression) in [("http/protobuf", "none"), ("grpc", "gzip"), ("http/json", "gzip")] {
        std::fs::write(&file, "").unwrap();
        let collector = Collector::start(&collector, "plain.yaml", &[], &overlay).await;
        let address = if protocol == "grpc" { &collector.otlp.grpc } else { &collector.otlp.http };
        let url = format!("http://{address}");
        let args = ["--otlp", &url, "--otlp-protocol", protocol];
        let env = [
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
        ];
        let program = extremes().pop().expect("an HAProxy");
        let chain = Chain::start(&program, Mode::Lean, &args, &env).await;
        let sent = chain.requests().await;
        let (_, metrics) = chain.settled(&sent).await;
        let scraped = scraped(&metrics);
        let requests: u64 = scraped.values().map(|of| of.0).sum();
        assert!(scraped.len() >= 8 && requests as usize > 3 * sent.len(), "{scraped:#?}");
        let end = std::time::Instant::now() + PATIENCE;
        while !same(&exported(&file), &scraped) {
            assert!(std::time::Instant::now() < end, "{protocol}: {:#?}\nis not\n{scraped:#?}", exported(&file));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let metrics = Metrics::scrape(&chain.spoa.admin).await;
        assert!(metrics.get("red_export_requests_total{result=\"exported\"}") > 0.0);
        assert_eq!(metrics.get("red_export_requests_total{result=\"failed\"}"), 0.0);
        // An export that the end interrupts counts as failed. The last one has everything.
        assert_quiet(&chain.end().await.process, &["not all metrics were exported"]);
        assert!(same(&exported(&file), &scraped), "{protocol}: {:#?}\nis not\n{scraped:#?}", exported(&file));
        collector.assert_no_warnings();
    }
}
