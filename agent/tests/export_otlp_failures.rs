//! Collectors that are down, slow, hanging or refuse: nothing blocks, all
//! losses are counted.

mod export_common;

use export_common::collector::{Answer, Collector};
use export_common::{span, until};
use spop_agent::export::otlp::{OtlpConfig, OtlpExporter, Protocol};
use spop_agent::export::{Exporter, FinishedSpan, Pipeline};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const BOTH: [Protocol; 2] = [Protocol::HttpProtobuf, Protocol::Grpc];

async fn start(protocol: Protocol) -> Collector {
    match protocol {
        Protocol::HttpProtobuf => Collector::http().await,
        Protocol::Grpc => Collector::grpc().await,
    }
}

fn config(addr: SocketAddr, protocol: Protocol) -> OtlpConfig {
    let mut config = OtlpConfig::new(&format!("http://{addr}"), protocol).unwrap();
    config.queue.batch_delay = Duration::from_millis(5);
    config.retry.initial_delay = Duration::from_millis(1);
    config.retry.max_delay = Duration::from_millis(1);
    config
}

fn one(id: u64) -> Arc<FinishedSpan> {
    Arc::new(span("s", id, 0, "n", 0, 1))
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_is_submitted_then() {
    // A port on which nothing listens.
    let addr = start(Protocol::HttpProtobuf).await.addr;
    let mut config = config(addr, Protocol::HttpProtobuf);
    config.queue.max_spans = 100;
    config.queue.batch_spans = 100;
    config.retry.max_retries = 2;
    let exporter = OtlpExporter::start(config).unwrap();
    // On this single-threaded runtime the export task cannot run before the
    // loop ends: submitting waits for nothing.
    for id in 1..=1000 {
        exporter.submit(&one(id));
    }
    let stats = exporter.stats();
    assert_eq!((stats.submitted, stats.dropped_queue_full), (1000, 900));
    until("the batch is given up", || exporter.stats().pending() == 0).await;
    let stats = exporter.stats();
    assert_eq!((stats.exported, stats.dropped_export_failed), (0, 100));
    // The first attempt and two retries.
    assert_eq!((stats.attempts, stats.failures), (3, 1));

    let collector = Collector::http_at(addr).await;
    exporter.submit(&one(1001));
    until("the span is exported", || exporter.stats().exported == 1).await;
    assert_eq!(collector.arrived().len(), 1);
}

#[tokio::test]
async fn a_failing_collector_is_asked_again() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Status(503), Answer::Status(503)]);
        let exporter = OtlpExporter::start(config(collector.addr, protocol)).unwrap();
        exporter.submit(&one(1));
        until("the span is exported", || exporter.stats().exported == 1).await;
        let stats = exporter.stats();
        assert_eq!((stats.attempts, stats.failures, stats.dropped()), (3, 0, 0));
        let arrived = collector.arrived();
        assert_eq!(arrived.len(), 3);
        assert_eq!(arrived[0].message, arrived[2].message);

        // What will never be accepted is sent once.
        collector.answer([Answer::Status(400)]);
        exporter.submit(&one(2));
        until("the span is dropped", || exporter.stats().dropped() == 1).await;
        let stats = exporter.stats();
        assert_eq!((stats.attempts, stats.failures), (4, 1));
        assert_eq!(stats.dropped_export_failed, 1);
    }
}

#[tokio::test]
async fn a_hanging_collector_runs_into_the_timeout() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Hang, Answer::Hang]);
        let mut config = config(collector.addr, protocol);
        config.timeout = Duration::from_millis(100);
        config.queue.batch_spans = 1;
        config.max_concurrent = 2;
        let exporter = OtlpExporter::start(config).unwrap();
        for id in 1..=2 {
            exporter.submit(&one(id));
        }
        until("both hang", || collector.arrived().len() == 2).await;
        // All places are taken; this one waits for its turn.
        exporter.submit(&one(3));
        until("the third is exported", || exporter.stats().exported == 1).await;
        until("the others are dropped", || exporter.stats().pending() == 0).await;
        let stats = exporter.stats();
        assert_eq!((stats.dropped_export_failed, stats.failures), (2, 2));
    }
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes() {
    let collector = start(Protocol::HttpProtobuf).await;
    let mut config = config(collector.addr, Protocol::HttpProtobuf);
    let small = span("s", 1, 0, "n", 0, 1);
    let mut large = small.clone();
    large.data.name = "x".repeat(10_000).into();
    assert_eq!(large.estimated_size(), small.estimated_size() + 9_999);
    config.queue.max_bytes = small.estimated_size() * 3 + 9_999;
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    for span in [&large, &large, &small, &small, &small] {
        exporter.submit(&Arc::new(span.clone()));
    }
    assert_eq!(exporter.stats().dropped_queue_bytes, 2);
    let pipeline = Pipeline::new(vec![exporter.clone()]);
    let stats = pipeline.shutdown(Duration::from_secs(20)).await[0].1;
    assert_eq!((stats.exported, stats.dropped()), (3, 2));

    // After its end an exporter counts what it is given.
    pipeline.submit(Arc::new(small));
    assert_eq!(exporter.stats().dropped_shutdown, 1);
}

#[tokio::test]
async fn shutdown_gives_up_after_the_grace_time() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Hang; 10]);
        let mut config = config(collector.addr, protocol);
        config.queue.batch_spans = 10;
        config.max_concurrent = 1;
        let exporter = Arc::new(OtlpExporter::start(config).unwrap());
        for id in 1..=25 {
            exporter.submit(&one(id));
        }
        until("the first batch hangs", || collector.arrived().len() == 1).await;
        let pipeline = Pipeline::new(vec![exporter]);
        let stats = pipeline.shutdown(Duration::from_millis(50)).await[0].1;
        assert_eq!((stats.exported, stats.dropped_shutdown), (0, 25));
        // A second shutdown has nothing to do.
        let again = pipeline.shutdown(Duration::from_secs(20)).await[0].1;
        assert_eq!(again, stats);
    }
}
