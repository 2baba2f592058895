//! Collectors that are down, slow, hanging or refuse: nothing blocks, all
//! losses are counted.

use crate::export_common::collector::{Answer, Collector};
use crate::export_common::{span, until, CapturedLog};
use spoa_otel::export::otlp::{OtlpConfig, OtlpExporter, Protocol};
use spoa_otel::export::{Exporter, FinishedSpan, Pipeline};
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
async fn a_collector_that_comes_back_gets_what_the_queue_held() {
    for protocol in BOTH {
        // A port on which nothing listens.
        let addr = start(protocol).await.addr;
        let mut config = config(addr, protocol);
        config.queue.max_spans = 100;
        config.queue.batch_spans = 10;
        let log = CapturedLog::start();
        let exporter = OtlpExporter::start(config).unwrap();
        // On this single-threaded runtime the export task cannot run before the
        // loop ends: submitting waits for nothing.
        for id in 1..=1000 {
            exporter.submit(&one(id));
        }
        let stats = exporter.stats();
        assert_eq!((stats.submitted, stats.dropped_queue_full, stats.queued_spans), (1000, 900, 100));
        until("many attempts fail", || exporter.stats().retries > 20).await;
        let stats = exporter.stats();
        assert_eq!((stats.exported, stats.pending(), stats.queued_spans), (0, 100, 100), "all are kept");
        // The place of a batch on its way is not free.
        exporter.submit(&one(1001));
        assert_eq!(exporter.stats().dropped_queue_full, 901);

        let collector = Collector::at(addr, protocol).await;
        until("all are exported", || exporter.stats().exported == 100).await;
        assert_eq!(collector.span_ids(), (1..=100).collect::<Vec<_>>());
        let stats = exporter.stats();
        assert_eq!((stats.dropped(), stats.failures, stats.queued_spans, stats.queued_bytes), (901, 0, 0, 0));
        let text = log.text();
        assert_eq!(text.matches("OTLP export fails").count(), 1, "{text}");
        assert!(text.contains("is the collector running?"), "{text}");
        assert_eq!(text.matches("the collector takes spans again").count(), 1, "{text}");
        assert_eq!(text.matches("cause=\"queue_full\"").count(), 1, "{text}");
    }
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
        assert_eq!((stats.attempts, stats.retries, stats.failures, stats.dropped()), (3, 2, 0, 0));
        let arrived = collector.arrived();
        assert_eq!(arrived.len(), 3);
        assert_eq!(arrived[0].message, arrived[2].message);

        // What will never be accepted is sent once.
        collector.answer([Answer::Status(400)]);
        exporter.submit(&one(2));
        until("the span is dropped", || exporter.stats().dropped() == 1).await;
        let stats = exporter.stats();
        assert_eq!((stats.attempts, stats.failures, stats.dropped_rejected), (4, 1, 1));
    }
}

#[tokio::test]
async fn a_busy_collector_says_when_to_come_back_within_the_bound() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Busy(1)]);
        let exporter = OtlpExporter::start(config(collector.addr, protocol)).unwrap();
        exporter.submit(&one(1));
        until("the span is exported", || exporter.stats().exported == 1).await;
        let arrived = collector.arrived();
        let wait = arrived[1].at - arrived[0].at;
        assert!(wait >= Duration::from_millis(990), "{protocol:?}: {wait:?}");

        // An hour is too long.
        let mut config = config(collector.addr, protocol);
        config.retry.max_retry_after = Duration::from_millis(50);
        collector.answer([Answer::Busy(3600)]);
        let exporter = OtlpExporter::start(config).unwrap();
        exporter.submit(&one(2));
        until("the span is exported", || exporter.stats().exported == 1).await;
    }
}

#[tokio::test]
async fn what_the_collector_rejects_of_a_request_is_counted() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Partial(3), Answer::Partial(1000), Answer::Partial(-5)]);
        let log = CapturedLog::start();
        let mut config = config(collector.addr, protocol);
        config.max_concurrent = 1;
        config.queue.batch_spans = 10;
        let exporter = OtlpExporter::start(config).unwrap();
        for id in 1..=30 {
            exporter.submit(&one(id));
        }
        until("all are settled", || exporter.stats().pending() == 0).await;
        let stats = exporter.stats();
        // Not more than there were, and not less than none.
        assert_eq!((stats.exported, stats.dropped_rejected, stats.attempts), (7 + 10, 3 + 10, 3));
        let text = log.text();
        assert!(text.contains("rejected=3") && text.contains("too old"), "{text}");
    }
}

#[tokio::test]
async fn a_hanging_collector_runs_into_the_timeout_and_is_asked_again() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Hang, Answer::Hang, Answer::Hang]);
        let mut config = config(collector.addr, protocol);
        config.timeout = Duration::from_millis(100);
        config.queue.batch_spans = 1;
        config.max_concurrent = 2;
        let exporter = OtlpExporter::start(config).unwrap();
        for id in 1..=3 {
            exporter.submit(&one(id));
        }
        until("all are exported", || exporter.stats().exported == 3).await;
        let stats = exporter.stats();
        assert_eq!((stats.dropped(), stats.retries, stats.attempts), (0, 3, 6));
    }
}

#[tokio::test]
async fn spans_that_wait_too_long_are_given_up() {
    for protocol in BOTH {
        let addr = start(protocol).await.addr;
        let mut config = config(addr, protocol);
        config.max_age = Duration::from_millis(100);
        config.queue.batch_spans = 1;
        config.max_concurrent = 1;
        let exporter = OtlpExporter::start(config).unwrap();
        for id in 1..=3 {
            exporter.submit(&one(id));
        }
        until("all are given up", || exporter.stats().pending() == 0).await;
        let stats = exporter.stats();
        assert_eq!((stats.dropped_expired, stats.failures, stats.queued_spans), (3, 3, 0));

        let _collector = Collector::at(addr, protocol).await;
        exporter.submit(&one(4));
        until("it goes on", || exporter.stats().exported == 1).await;
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told() {
    for protocol in BOTH {
        // `.invalid` never exists (RFC 2606).
        let mut config = OtlpConfig::new("http://collector.invalid:4318", protocol).unwrap();
        config.queue.batch_delay = Duration::from_millis(5);
        let log = CapturedLog::start();
        let exporter = OtlpExporter::start(config).unwrap();
        exporter.submit(&one(1));
        until("an attempt fails", || exporter.stats().retries > 0).await;
        let text = log.text();
        assert!(text.contains("the name collector.invalid is not known here"), "{protocol:?}: {text}");
        assert_eq!(exporter.stats().pending(), 1);
    }
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes() {
    let collector = start(Protocol::HttpProtobuf).await;
    let mut config = config(collector.addr, Protocol::HttpProtobuf);
    let small = span("s", 1, 0, "n", 0, 1);
    let mut large = small.clone();
    large.data.name = "x".repeat(10_000).into();
    // One byte takes eight of an allocator, 10,000 take 10,240.
    assert_eq!(large.held(), small.held() + 10_240 - 8);
    // Each has a place in the queue, too.
    config.queue.max_bytes = large.held() + 2 * small.held() + 300;
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
