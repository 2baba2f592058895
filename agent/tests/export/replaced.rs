//! Another collector takes over while spans come: none is lost, and counters go on.

use crate::export_common::collector::{Answer, Collector};
use crate::export_common::{span, until};
use spoa_otel::export::Exporter;
use spoa_otel::export::otlp::{Compression, OtlpConfig, OtlpExporter, Protocol, Replacement};
use spoa_otel::export::receiver::{ReceivedRequest, RequestSink};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PROTOCOLS: [Protocol; 3] = [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc];

async fn collector(protocol: Protocol) -> (Collector, OtlpConfig) {
    let collector = match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::http().await,
        Protocol::Grpc => Collector::grpc().await,
    };
    let mut config = OtlpConfig::new(&format!("http://{}", collector.addr), protocol).unwrap();
    config.queue.batch_delay = Duration::from_millis(5);
    config.queue.batch_spans = 10;
    (collector, config)
}

fn submit(exporter: &OtlpExporter, ids: std::ops::RangeInclusive<u64>) {
    ids.for_each(|id| exporter.submit(&[span("s", id, 0, "n", 0, 1).finished()]));
}

async fn shut_down(exporter: &OtlpExporter) {
    exporter.shutdown(Instant::now() + Duration::from_secs(20)).await;
}

/// From every protocol to every other, compressed and not.
#[tokio::test]
async fn each_span_arrives_at_one_of_both() {
    for (n, from) in PROTOCOLS.into_iter().enumerate() {
        for (m, to) in PROTOCOLS.into_iter().enumerate() {
            let ((a, mut first), (b, mut second)) = (collector(from).await, collector(to).await);
            first.compression = (n % 2 == 0).then_some(Compression::Gzip);
            second.compression = (m % 2 == 1).then_some(Compression::Gzip);
            let exporter = OtlpExporter::start(first).unwrap();
            submit(&exporter, 1..=100);
            until("some are at the first", || !a.span_ids().is_empty()).await;
            submit(&exporter, 101..=200);
            exporter.replace(Replacement::new(second).unwrap());
            submit(&exporter, 201..=300);
            shut_down(&exporter).await;
            let mut ids = [a.span_ids(), b.span_ids()].concat();
            ids.sort_unstable();
            assert_eq!(ids, (1..=300).collect::<Vec<_>>(), "{from} to {to}");
            assert!(b.span_ids().contains(&300) && !a.span_ids().contains(&300), "{from} to {to}");
            let stats = exporter.stats();
            assert_eq!((stats.submitted, stats.exported, stats.dropped(), stats.queued_spans), (300, 300, 0, 0));
        }
    }
}

/// Requests that wait to be made again go to the new one, made anew for it; one that hangs comes to its end first.
#[tokio::test]
async fn what_a_failing_collector_did_not_take_the_new_one_gets() {
    for (answer, timeout) in [(Answer::Status(503), 5_000), (Answer::Busy(60), 5_000), (Answer::Hang, 100)] {
        for to in PROTOCOLS {
            let ((a, mut first), (b, second)) = (collector(Protocol::HttpProtobuf).await, collector(to).await);
            first.timeout = Duration::from_millis(timeout);
            a.answer([answer; 100]);
            let exporter = OtlpExporter::start(first).unwrap();
            submit(&exporter, 1..=95);
            until("it fails", || exporter.stats().attempts > 0).await;
            exporter.replace(Replacement::new(second).unwrap());
            until("all are at the second", || b.span_ids().len() == 95).await;
            let mut ids = b.span_ids();
            ids.sort_unstable();
            assert_eq!(ids, (1..=95).collect::<Vec<_>>(), "{answer:?} {to}");
            shut_down(&exporter).await;
            let stats = exporter.stats();
            assert_eq!((stats.submitted, stats.exported, stats.dropped()), (95, 95, 0), "{answer:?} {to}");
        }
    }
}

#[tokio::test]
async fn other_bounds_hold_from_then_on() {
    let (a, mut config) = collector(Protocol::HttpProtobuf).await;
    config.queue.batch_delay = Duration::from_secs(3600);
    config.queue.batch_spans = 1_000;
    let exporter = OtlpExporter::start(config.clone()).unwrap();
    submit(&exporter, 1..=50);
    config.queue.max_spans = 60;
    exporter.replace(Replacement::new(config.clone()).unwrap());
    submit(&exporter, 51..=100);
    let stats = exporter.stats();
    assert_eq!((stats.queued_spans, stats.dropped_queue_full), (60, 40));
    // What is held stays, though it is too much now; the batch is full by the new bound.
    config.queue.max_spans = 5;
    config.queue.batch_spans = 20;
    exporter.replace(Replacement::new(config).unwrap());
    until("all are sent", || a.span_ids().len() == 60).await;
    shut_down(&exporter).await;
    let stats = exporter.stats();
    assert_eq!((stats.submitted, stats.exported, stats.dropped()), (100, 60, 40));
}

#[tokio::test]
async fn what_is_forwarded_goes_to_the_new_one_too() {
    let ((a, first), (b, second)) = (collector(Protocol::HttpProtobuf).await, collector(Protocol::Grpc).await);
    let exporter = OtlpExporter::start(first).unwrap();
    submit(&exporter, 1..=1);
    until("a request is there", || !a.arrived().is_empty()).await;
    let body = a.arrived()[0].body.clone();
    let request = Arc::new(ReceivedRequest::decode(body.into(), 1 << 20).unwrap());
    assert_eq!(exporter.forwarder().accept(&request), 0);
    until("it is forwarded", || a.arrived().len() == 2).await;
    exporter.replace(Replacement::new(second).unwrap());
    assert_eq!(exporter.forwarder().accept(&request), 0);
    shut_down(&exporter).await;
    assert_eq!((a.arrived().len(), b.arrived().len(), b.span_ids()), (2, 1, vec![1]));
    let stats = exporter.forwarder().stats();
    assert_eq!((stats.submitted, stats.exported, stats.dropped()), (2, 2, 0));
}

#[tokio::test]
async fn a_collector_that_cannot_be_used_changes_nothing() {
    let (a, config) = collector(Protocol::HttpProtobuf).await;
    let exporter = OtlpExporter::start(config).unwrap();
    let mut wrong = OtlpConfig::new("https://127.0.0.1:1", Protocol::HttpProtobuf).unwrap();
    wrong.tls.ca = Some("/nonexistent/ca.pem".into());
    let error = Replacement::new(wrong).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/ca.pem"), "{error}");
    submit(&exporter, 1..=3);
    shut_down(&exporter).await;
    assert_eq!(a.span_ids().len(), 3);
}
