//! Collectors that are down, slow, hanging or refuse: nothing blocks, all
//! losses are counted.

use crate::export_common::collector::{Answer, Collector};
use crate::export_common::{CapturedLog, span, spans_in, until};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName};
use http_body_util::BodyExt;
use spoa_otel::export::otlp::{Compression, OtlpConfig, OtlpExporter, Protocol};
use spoa_otel::export::receiver::{Receiver, ReceiverConfig};
use spoa_otel::export::{Exporter, Pipeline};
use spoa_otel::span::FinishedSpan;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

const BOTH: [Protocol; 2] = [Protocol::HttpProtobuf, Protocol::Grpc];

async fn start(protocol: Protocol) -> Collector {
    match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::http().await,
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

fn one(id: u64) -> FinishedSpan {
    span("s", id, 0, "n", 0, 1).finished()
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
            exporter.submit(&[one(id)]);
        }
        let stats = exporter.stats();
        assert_eq!((stats.submitted, stats.dropped_queue_full, stats.queued_spans), (1000, 900, 100));
        until("many attempts fail", || exporter.stats().retries > 20).await;
        let stats = exporter.stats();
        assert_eq!((stats.exported, stats.pending(), stats.queued_spans), (0, 100, 100), "all are kept");
        // The place of a batch on its way is not free.
        exporter.submit(&[one(1001)]);
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
        exporter.submit(&[one(1)]);
        until("the span is exported", || exporter.stats().exported == 1).await;
        let stats = exporter.stats();
        assert_eq!((stats.attempts, stats.retries, stats.failures, stats.dropped()), (3, 2, 0, 0));
        let arrived = collector.arrived();
        assert_eq!(arrived.len(), 3);
        assert_eq!(arrived[0].message, arrived[2].message);

        // What will never be accepted is sent once.
        collector.answer([Answer::Status(400)]);
        exporter.submit(&[one(2)]);
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
        exporter.submit(&[one(1)]);
        until("the span is exported", || exporter.stats().exported == 1).await;
        let arrived = collector.arrived();
        let wait = arrived[1].at - arrived[0].at;
        assert!(wait >= Duration::from_millis(990), "{protocol:?}: {wait:?}");

        // An hour is too long.
        let mut config = config(collector.addr, protocol);
        config.retry.max_retry_after = Duration::from_millis(50);
        collector.answer([Answer::Busy(3600)]);
        let exporter = OtlpExporter::start(config).unwrap();
        exporter.submit(&[one(2)]);
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
            exporter.submit(&[one(id)]);
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
async fn what_the_collector_takes_is_no_reason_for_a_warning() {
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Empty, Answer::Remark(0), Answer::Partial(0)]);
        let log = CapturedLog::start();
        let exporter = OtlpExporter::start(config(collector.addr, protocol)).unwrap();
        for id in 1..=2 {
            exporter.submit(&[one(id)]);
            until("the span is exported", || exporter.stats().exported == id).await;
        }
        assert!(!log.text().contains("WARN"), "{}", log.text());
        exporter.submit(&[one(3)]);
        until("the span is exported", || exporter.stats().exported == 3).await;
        let text = log.text();
        assert!(text.contains("the collector took all spans") && text.contains("too old"), "{text}");
        assert_eq!((exporter.stats().dropped(), exporter.stats().attempts), (0, 3));
    }
}

#[tokio::test]
async fn what_is_delivered_in_part_is_queued_in_part() {
    for protocol in BOTH {
        let collector = Collector::limited(protocol, 1_000).await;
        collector.answer([Answer::Accept, Answer::Hang]);
        let exporter = OtlpExporter::start(config(collector.addr, protocol)).unwrap();
        exporter.submit(&[1, 2, 3, 4].map(|id| span("s", id, 0, &"n".repeat(200), 0, 1).finished()));
        until("half of it is exported", || exporter.stats().exported == 2).await;
        let stats = exporter.stats();
        assert_eq!((stats.submitted, stats.queued_spans, stats.dropped()), (4, 2, 0), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_down_to_the_span_that_is() {
    for protocol in BOTH {
        for compression in [None, Some(Compression::Gzip)] {
            if (protocol, compression) == (Protocol::HttpProtobuf, Some(Compression::Gzip)) {
                // The test's collector counts compressed bytes.
                continue;
            }
            let collector = Collector::limited(protocol, 2_000).await;
            let log = CapturedLog::start();
            let mut config = config(collector.addr, protocol);
            config.compression = compression;
            config.queue.batch_spans = 20;
            let exporter = OtlpExporter::start(config).unwrap();
            for id in 1..=20 {
                let mut span = span("s", id, 0, &"n".repeat(200), 0, 1);
                if id == 7 {
                    span.data.name = "n".repeat(2_000).into();
                }
                exporter.submit(&[span.finished()]);
            }
            until("all are settled", || exporter.stats().pending() == 0).await;
            let stats = exporter.stats();
            assert_eq!((stats.exported, stats.dropped_rejected, stats.dropped()), (19, 1, 1), "{protocol:?}");
            let others: Vec<u64> = (1..=20).filter(|&id| id != 7).collect();
            assert_eq!(collector.span_ids(), others);
            let sent: usize = collector.arrived().iter().map(|arrived| spans_in(&arrived.message)).sum();
            assert_eq!(sent, 19, "each once");
            // 20, 10, 5, (2 fit), 3, (1 is too large).
            assert!(stats.halved >= 4 && stats.attempts <= 2 * 20, "{stats:?}");
            assert_eq!((stats.retries, stats.failures), (0, 1));
            let text = log.text();
            assert!(text.contains("too large for the collector, halved; a smaller --batch-bytes"), "{text}");
        }
    }
}

/// A wrong URL: what refuses the spans, or takes them as a web server takes everything.
#[tokio::test]
async fn what_is_no_collector_is_told_with_its_url() {
    let collector = start(Protocol::HttpProtobuf).await;
    for (answer, says) in [(Answer::Page, "text/html"), (Answer::Status(404), "404 Not Found")] {
        collector.answer([answer]);
        let mut config = config(collector.addr, Protocol::HttpProtobuf);
        let url = format!("http://{}/path", collector.addr);
        config.url = format!("{url}?token=secret").parse().unwrap();
        let log = CapturedLog::start();
        let exporter = OtlpExporter::start(config).unwrap();
        exporter.submit(&[one(1)]);
        until("it is refused", || exporter.stats().pending() == 0).await;
        assert_eq!((exporter.stats().exported, exporter.stats().dropped_rejected), (0, 1));
        let text = log.text();
        let line = text.lines().find(|line| line.contains("refuses spans")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(says) && line.contains("is this the URL of an OTLP receiver?"), "{line}");
        assert!(line.contains(&format!("url=\"{url}?...\"")) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_the_other_protocol_is_told() {
    let grpc = "this port speaks gRPC: --otlp-protocol grpc, or port 4318";
    let http = "this port speaks HTTP, not gRPC: --otlp-protocol http/protobuf, or port 4317";
    let grpc_collector = Collector::grpc().await;
    told(grpc_collector.addr, Protocol::HttpProtobuf, grpc).await;
    told(grpc_collector.addr, Protocol::HttpJson, grpc).await;
    let addr = "127.0.0.1:0";
    let receiver = Receiver::bind(addr, ReceiverConfig::default(), Vec::new()).await.unwrap();
    told(receiver.addrs()[0], Protocol::Grpc, "does this port speak gRPC? If not, --otlp-protocol http/protobuf").await;
    // As Go's servers do: SETTINGS at once; an answer to HTTP/2's preface.
    for (answer, protocol, says) in [
        (&b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0"[..], Protocol::HttpProtobuf, grpc),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Protocol::Grpc, http),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer).await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
            }
        });
        told(addr, protocol, says).await;
        server.abort();
    }
}

async fn told(addr: SocketAddr, protocol: Protocol, says: &str) {
    let log = CapturedLog::start();
    let exporter = OtlpExporter::start(config(addr, protocol)).unwrap();
    exporter.submit(&[one(1)]);
    until("an attempt fails", || exporter.stats().retries > 0).await;
    assert!(log.text().contains(says), "{protocol:?}: {}", log.text());
}

/// The status says that the spans were taken: they are not sent again.
#[tokio::test]
async fn an_answer_that_cannot_be_read_changes_nothing() {
    let of_grpc = |body: &'static [u8]| {
        let respond = move || async move {
            let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
            let body = http_body_util::Full::new(Bytes::from_static(body));
            let body = body.with_trailers(async move { Some(Ok(trailers)) });
            ([("content-type", "application/grpc")], Body::new(body))
        };
        Router::new().fallback(respond)
    };
    // No message at all, one cut off, and one that is none.
    for body in [&b""[..], b"\0\0\0\0\x09\x0a", b"\0\0\0\0\x02\xff\xff"] {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = incoming.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_routes(Routes::from(of_grpc(body)));
        let server = tokio::spawn(server.serve_with_incoming(incoming));
        taken_once(addr, Protocol::Grpc).await;
        server.abort();
    }
    // Beyond what is read.
    for protocol in BOTH {
        let collector = start(protocol).await;
        collector.answer([Answer::Remark(100_000)]);
        taken_once(collector.addr, protocol).await;
        assert_eq!(collector.arrived().len(), 1);
    }
    // A body that does not end.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    taken_once(addr, Protocol::HttpProtobuf).await;
    server.abort();
}

async fn taken_once(addr: SocketAddr, protocol: Protocol) {
    let mut config = config(addr, protocol);
    config.timeout = Duration::from_secs(2);
    let exporter = OtlpExporter::start(config).unwrap();
    exporter.submit(&[one(1)]);
    until("it is settled", || exporter.stats().pending() == 0 || exporter.stats().retries > 0).await;
    let stats = exporter.stats();
    assert_eq!((stats.exported, stats.dropped(), stats.attempts, stats.retries), (1, 0, 1, 0), "{protocol:?}");
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
            exporter.submit(&[one(id)]);
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
            exporter.submit(&[one(id)]);
        }
        until("all are given up", || exporter.stats().pending() == 0).await;
        let stats = exporter.stats();
        assert_eq!((stats.dropped_expired, stats.failures, stats.queued_spans), (3, 3, 0));

        let _collector = Collector::at(addr, protocol).await;
        exporter.submit(&[one(4)]);
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
        exporter.submit(&[one(1)]);
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
    let small = one(1);
    let large = span("s", 1, 0, &"x".repeat(10_000), 0, 1).finished();
    // The block of an allocator for those bytes, the few others of a span and two counters.
    assert_eq!((small.bytes().len(), small.held(), large.held()), (59, 80, 10_240));
    // Each has a place in the queue, too.
    config.queue.max_bytes = large.held() + 2 * small.held() + 3 * 200;
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    for span in [&large, &large, &small, &small, &small] {
        exporter.submit(std::slice::from_ref(span));
    }
    assert_eq!(exporter.stats().dropped_queue_bytes, 2);
    let pipeline = Pipeline::new(vec![exporter.clone()]);
    let stats = pipeline.shutdown(Duration::from_secs(20)).await[0].1;
    assert_eq!((stats.exported, stats.dropped()), (3, 2));

    // After its end an exporter counts what it is given.
    pipeline.submit(&[small]);
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
            exporter.submit(&[one(id)]);
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
