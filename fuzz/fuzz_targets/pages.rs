//! Requests for the pages of the recent traces: any path and any query has an answer that shows nothing but text.

#![no_main]

#[path = "support/pages.rs"]
mod pages;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spoa_otel::export::receiver::{ReceivedRequest, RequestSink};
use spoa_otel::export::recent::{Recent, RecentConfig};

/// Three traces of two services, one with an error.
static MEMORY: LazyLock<Arc<Recent>> = LazyLock::new(|| {
    let json = include_str!("support/traces.json");
    let body = serde_json::from_str::<ExportTraceServiceRequest>(json).expect("OTLP JSON").encode_to_vec();
    let memory = Recent::new(RecentConfig::default());
    let request = ReceivedRequest::decode(body.into(), usize::MAX).expect("a request");
    assert_eq!(memory.accept(&Arc::new(request)), 0);
    Arc::new(memory)
});

fuzz_target!(|rest: &str| {
    let Ok(uri) = format!("/traces{rest}").parse::<http::Uri>() else { return };
    let is_data = uri.path().contains(".json") || uri.path().ends_with(".css") || uri.path().ends_with(".js");
    let (status, text) = pages::get(&MEMORY, uri);
    assert!(matches!(status, 200 | 400 | 404), "{status} {text}");
    // What is wrong with a query that cannot be read is said as plain text.
    if !is_data && text.starts_with("<!") {
        pages::check_markup(&text);
    } else if is_data && status == 200 && text.starts_with('{') {
        serde_json::from_str::<ExportTraceServiceRequest>(&text).expect("OTLP JSON");
    }
});
