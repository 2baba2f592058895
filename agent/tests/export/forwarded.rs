//! What the OTLP receiver gets goes on to the collector.

use super::receiver::{PROTOBUF, post, receiver, request};
use crate::export_common::collector::{Answer, Collector};
use crate::export_common::{Output, spans_in, until};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use spoa_otel::export::console::{Console, ConsoleConfig};
use spoa_otel::export::otlp::{Compression, Forwarder, OtlpConfig, OtlpExporter, Protocol};
use spoa_otel::export::receiver::{Receiver, ReceiverConfig};
use spoa_otel::export::{Exporter, Pipeline};
use std::sync::Arc;
use std::time::Duration;

/// A receiver that forwards to a collector.
struct Relay {
    collector: Collector,
    exporter: Arc<OtlpExporter>,
    forwarder: Arc<Forwarder>,
    receiver: Receiver,
}

async fn relay(protocol: Protocol, change: impl FnOnce(&mut OtlpConfig)) -> Relay {
    let collector = match protocol {
        Protocol::HttpProtobuf | Protocol::HttpJson => Collector::http().await,
        Protocol::Grpc => Collector::grpc().await,
    };
    relay_to(collector, protocol, change).await
}

async fn relay_to(collector: Collector, protocol: Protocol, change: impl FnOnce(&mut OtlpConfig)) -> Relay {
    let mut config = OtlpConfig::new(&format!("http://{}", collector.addr), protocol).unwrap();
    config.headers.insert("x-token", "secret".parse().unwrap());
    config.retry.initial_delay = Duration::from_millis(1);
    config.retry.max_delay = Duration::from_millis(1);
    change(&mut config);
    let exporter = Arc::new(OtlpExporter::start(config).unwrap());
    let forwarder = exporter.forwarder();
    let receiver = receiver(ReceiverConfig::default(), vec![forwarder.clone()]).await;
    Relay { collector, exporter, forwarder, receiver }
}

#[tokio::test]
async fn requests_are_forwarded_unchanged() {
    let sent = request(3);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
            let relay = relay(protocol, |config| config.compression = compression).await;
            let addr = relay.receiver.addrs()[0];
            assert_eq!(post(addr, &[PROTOBUF], &sent).await.status, 200);
            until("it is forwarded", || relay.forwarder.stats().exported == 3).await;
            let arrived = &relay.collector.arrived()[0];
            assert_eq!(arrived.headers["x-token"], "secret");
            let (encoding, expected) = match protocol {
                Protocol::HttpProtobuf | Protocol::HttpJson => {
                    assert_eq!(arrived.body, sent);
                    assert_eq!(arrived.path, "/v1/traces");
                    assert_eq!(arrived.headers["content-type"], "application/x-protobuf");
                    ("content-encoding", compression)
                }
                Protocol::Grpc => {
                    let message = ExportTraceServiceRequest::decode(&sent[..]).unwrap();
                    assert_eq!(arrived.message, message);
                    ("grpc-encoding", compression)
                }
            };
            let expected = expected.map(|compression| match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            });
            let encoding = arrived.headers.get(encoding);
            assert_eq!(encoding.map(|value| value.to_str().unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn forwarding_failures_are_retried_and_counted() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let relay = relay(protocol, |_| ()).await;
        let addr = relay.receiver.addrs()[0];
        let busy = Answer::Status(503);
        let answers = [
            // Two failures, then accepted in part.
            busy,
            busy,
            Answer::Partial(1),
            // Not to be repeated.
            Answer::Status(400),
            // More failures than one would like.
            busy,
            busy,
            busy,
            busy,
            busy,
        ];
        relay.collector.answer(answers);
        for (outcome, attempts) in [((2, 1), 3), ((2, 4), 4), ((5, 4), 10)] {
            assert_eq!(post(addr, &[PROTOBUF], &request(3)).await.status, 200);
            until("the request is done", || relay.forwarder.stats().pending() == 0).await;
            let stats = relay.forwarder.stats();
            assert_eq!((stats.exported, stats.dropped_rejected), outcome);
            assert_eq!(stats.attempts, attempts);
        }
        let stats = relay.forwarder.stats();
        assert_eq!((stats.failures, stats.retries), (1, 7));
        // The exporter of this process' own spans has no part in this.
        let own = relay.exporter.stats();
        assert_eq!((own.submitted, own.attempts), (0, 0));
    }
}

#[tokio::test]
async fn what_is_forwarded_is_halved_too_if_it_is_too_large() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let whole = request(9);
        let collector = Collector::limited(protocol, whole.len() / 3).await;
        let relay = relay_to(collector, protocol, |_| ()).await;
        assert_eq!(post(relay.receiver.addrs()[0], &[PROTOBUF], &whole).await.status, 200);
        until("the request is done", || relay.forwarder.stats().pending() == 0).await;
        let stats = relay.forwarder.stats();
        assert_eq!((stats.exported, stats.dropped(), stats.failures), (9, 0, 0));
        let arrived = relay.collector.arrived();
        let mut sizes: Vec<usize> = arrived.iter().map(|arrived| spans_in(&arrived.message)).collect();
        sizes.sort_unstable();
        assert_eq!((sizes, relay.collector.span_ids().len()), (vec![1, 2, 2, 2, 2], 9));
        assert_eq!((stats.halved, stats.attempts), (4, 9));
    }
}

#[tokio::test]
async fn the_forwarder_is_bounded_and_ends_with_the_exporter() {
    let relay = relay(Protocol::HttpProtobuf, |config| {
        config.max_concurrent = 1;
        config.queue.max_spans = 5;
    })
    .await;
    let addr = relay.receiver.addrs()[0];
    relay.collector.answer([Answer::Hang, Answer::Hang]);
    assert_eq!(post(addr, &[PROTOBUF], &request(2)).await.status, 200);
    until("it hangs", || relay.collector.arrived().len() == 1).await;
    assert_eq!(post(addr, &[PROTOBUF], &request(2)).await.status, 200);
    // It is to come again: the sender still has it, and nobody else here.
    let reply = post(addr, &[PROTOBUF], &request(2)).await;
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("\r\nretry-after: 1"), "{}", reply.head);
    assert_eq!(relay.forwarder.stats().dropped_queue_full, 0);
    // Too much for an empty queue.
    let reply = post(addr, &[PROTOBUF], &request(6)).await;
    let response = ExportTraceServiceResponse::decode(&reply.body[..]).unwrap();
    assert_eq!((reply.status, response.partial_success.unwrap().rejected_spans), (200, 6));
    assert_eq!(relay.forwarder.stats().dropped_queue_full, 6);
    let pipeline = Pipeline::new(vec![relay.exporter.clone()]);
    pipeline.shutdown(Duration::from_millis(50)).await;
    assert_eq!(relay.forwarder.stats().dropped_shutdown, 4);
    assert_eq!(relay.forwarder.stats().pending(), 0);
}

#[tokio::test]
async fn requests_without_spans_are_no_queued_spans() {
    let relay = relay(Protocol::HttpProtobuf, |config| config.max_concurrent = 1).await;
    let addr = relay.receiver.addrs()[0];
    relay.collector.answer([Answer::Hang]);
    for (spans, queued) in [(0, 0), (2, 2), (0, 2), (1, 3)] {
        assert_eq!(post(addr, &[PROTOBUF], &request(spans)).await.status, 200);
        assert_eq!(relay.forwarder.stats().queued_spans, queued);
    }
    relay.exporter.shutdown(tokio::time::Instant::now()).await;
    assert_eq!(relay.forwarder.stats().queued_spans, 0);
}

#[tokio::test]
async fn received_spans_are_shown_and_forwarded() {
    let output = Output::default();
    let console = Console::start(ConsoleConfig::default(), output.clone()).unwrap();
    let console = Arc::new(console);
    let relay = relay(Protocol::HttpProtobuf, |_| ()).await;
    let receiver = receiver(ReceiverConfig::default(), vec![console.clone(), relay.forwarder.clone()]).await;
    let sent = request(2);
    assert_eq!(post(receiver.addrs()[0], &[PROTOBUF], &sent).await.status, 200);
    receiver.shutdown(Duration::from_secs(20)).await;
    let pipeline = Pipeline::new(vec![relay.exporter.clone(), console]);
    pipeline.shutdown(Duration::from_secs(20)).await;
    assert_eq!(relay.collector.arrived()[0].body, sent);
    let text = output.text();
    assert!(text.contains("· 2 spans · 1 service ·"), "{text}");
    assert!(text.contains("unknown_service  span 2"), "{text}");
}
