use super::*;
use crate::export::{request, text};
use crate::span::Origins;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use std::sync::LazyLock;

fn recent(max_traces: usize, max_bytes: usize) -> Recent {
    Recent::new(RecentConfig { max_traces, max_bytes })
}

/// A span whose name has this many bytes.
fn span(trace: u128, id: u64, name: usize) -> FinishedSpan {
    static ORIGINS: LazyLock<Origins> = LazyLock::new(Origins::default);
    let trace_id = TraceId::from(trace);
    let span = otlp::Span {
        trace_id: trace_id.to_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: "n".repeat(name),
        ..Default::default()
    };
    FinishedSpan::new(ORIGINS.of("own"), trace_id, &span.encode_to_vec())
}

fn ids(recent: &Recent) -> Vec<u128> {
    recent.traces().iter().map(|trace| u128::from_be_bytes(trace.id.to_bytes())).collect()
}

#[test]
fn beyond_the_traces_the_one_that_was_quiet_longest_makes_room() {
    let recent = recent(2, 1 << 20);
    for (trace, id) in [(1, 1), (2, 1), (1, 2), (3, 1)] {
        recent.submit(&[span(trace, id, 1)]);
    }
    assert_eq!(ids(&recent), [3, 1]);
    assert_eq!(recent.trace(TraceId::from(1)).unwrap().spans.len(), 2);
    assert!(recent.trace(TraceId::from(2)).is_none());
    let stats = recent.stats();
    assert_eq!((stats.submitted, stats.exported, stats.dropped(), stats.pending()), (4, 4, 0, 0));
    assert_eq!(stats.queued_spans, 3);
    let expected = RecentSnapshot { traces: 2, evicted_traces: 1, evicted_spans: 1 };
    assert_eq!(recent.recent_stats(), expected);
}

#[test]
fn bytes_are_bounded_whatever_comes() {
    let max = 64 * 1024;
    let recent = recent(1000, max);
    for trace in 1..=200 {
        for id in 1..=(trace % 7 + 1) as u64 {
            recent.submit(&[span(trace, id, 500 * (trace as usize % 5))]);
        }
        assert!(recent.stats().queued_bytes <= max as u64);
    }
    let (stats, own) = (recent.stats(), recent.recent_stats());
    assert!(own.traces > 5 && own.evicted_traces > 100, "{own:?}");
    assert_eq!(own.traces + own.evicted_traces, 200);
    assert_eq!(stats.queued_spans + own.evicted_spans, stats.exported);
    // The latest are what is left, and nothing of the others is counted.
    let left: Vec<_> = recent.traces().iter().flat_map(|trace| trace.spans.to_vec()).collect();
    assert_eq!(ids(&recent), (0..own.traces).map(|n| 200 - u128::from(n)).collect::<Vec<_>>());
    let bytes: usize = left.iter().map(|span| span.held() + Ring::SPAN).sum();
    assert_eq!(stats.queued_bytes as usize, bytes + own.traces as usize * Ring::TRACE);
}

#[test]
fn one_trace_takes_no_more_than_its_share_and_says_so() {
    let recent = recent(10, 64 * 1024);
    recent.submit(&[span(1, 1, 1)]);
    for id in 0..100 {
        recent.submit(&[span(2, id, 1000)]);
    }
    let big = recent.trace(TraceId::from(2)).unwrap();
    assert!(big.spans.len() > 5 && big.not_kept > 80, "{}", big.spans.len());
    assert_eq!(big.spans.len() + big.not_kept, 100);
    assert_eq!(recent.stats().dropped_queue_bytes, big.not_kept as u64);
    assert!(recent.stats().queued_bytes <= 16 * 1024 + 1024);
    assert_eq!(ids(&recent), [2, 1]);
    // A span that is larger than that by itself leaves everything as it is.
    recent.submit(&[span(3, 1, 20_000)]);
    assert_eq!(ids(&recent), [2, 1]);
    assert_eq!(recent.stats().pending(), 0);
}

#[test]
fn a_reader_keeps_what_it_has_and_the_trace_goes_on() {
    let recent = recent(10, 1 << 20);
    recent.submit(&[span(1, 1, 1)]);
    let before = recent.trace(TraceId::from(1)).unwrap();
    recent.submit(&[span(1, 2, 1)]);
    assert_eq!(before.spans.len(), 1);
    assert_eq!(recent.trace(TraceId::from(1)).unwrap().spans.len(), 2);
}

#[tokio::test]
async fn nothing_is_kept_after_the_end_or_with_a_bound_of_0() {
    let off = recent(0, 1 << 20);
    off.submit(&[span(1, 1, 1)]);
    assert_eq!(off.stats().dropped_queue_full, 1);

    let recent = recent(10, 1 << 20);
    recent.submit(&[span(1, 1, 1)]);
    recent.shutdown(Instant::now()).await;
    recent.submit(&[span(1, 2, 1)]);
    assert_eq!((recent.stats().exported, recent.stats().dropped_shutdown), (1, 1));
    assert_eq!(recent.trace(TraceId::from(1)).unwrap().spans.len(), 1);
}

/// A request with one span for each trace id.
fn request_of(traces: &[&[u8]], value: &str) -> ExportTraceServiceRequest {
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..Default::default()
    };
    let span = |trace: &&[u8]| otlp::Span {
        trace_id: trace.to_vec(),
        span_id: vec![2; 8],
        attributes: vec![attribute("key", "value")],
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![otlp::ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", "theirs"), attribute("note", value)],
                ..Default::default()
            }),
            scope_spans: vec![otlp::ScopeSpans {
                spans: traces.iter().map(span).collect(),
                schema_url: "scope".to_owned(),
                ..Default::default()
            }],
            schema_url: "resource".to_owned(),
        }],
    }
}

fn received(traces: &[&[u8]], value: &str) -> Arc<ReceivedRequest> {
    let body = request_of(traces, value).encode_to_vec();
    Arc::new(ReceivedRequest::decode(body.into(), 1 << 20).unwrap())
}

#[test]
fn received_spans_join_the_traces_and_come_out_as_they_came() {
    let recent = recent(10, 1 << 20);
    let id = TraceId::from(7).to_bytes();
    recent.submit(&[span(7, 1, 1)]);
    assert_eq!(recent.accept(&received(&[&id, &id], "x")), 0);
    let trace = recent.trace(TraceId::from(7)).unwrap();
    let services: Vec<_> = trace.spans.iter().map(FinishedSpan::service).collect();
    assert_eq!(services, ["own", "theirs", "theirs"]);
    let request = ExportTraceServiceRequest::decode(&*request::encode(&trace.spans, 0)).unwrap();
    assert_eq!(request.resource_spans.len(), 2);
    assert_eq!(request.resource_spans[1], request_of(&[&id, &id], "x").resource_spans[0]);
    assert_eq!(text::service_name(request.resource_spans[0].resource.as_ref()), "own");
}

#[test]
fn received_spans_without_a_trace_are_counted_as_rejected() {
    let recent = recent(10, 1 << 20);
    assert_eq!(recent.accept(&received(&[&[], &[1; 15], &[0; 16], &[1; 16]], "x")), 0);
    let stats = recent.stats();
    assert_eq!((stats.submitted, stats.dropped_rejected, stats.exported), (4, 3, 1));
}

#[test]
fn a_shared_resource_counts_for_every_trace_that_holds_it() {
    let recent = recent(1000, 64 * 1024);
    let traces: Vec<[u8; 16]> = (1..=100).map(|id| TraceId::from(id).to_bytes()).collect();
    let traces: Vec<&[u8]> = traces.iter().map(|id| &id[..]).collect();
    recent.accept(&received(&traces, &"x".repeat(8000)));
    assert!(recent.recent_stats().traces < 9, "{:?}", recent.recent_stats());
    assert!(recent.stats().queued_bytes <= 64 * 1024);
}
