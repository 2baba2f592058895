//! OTLP requests of other programs: what is decoded keeps to its bound, is shown by the console and on the pages of the
//! recent traces, and comes out of `/traces.json` again.

#![no_main]

#[path = "support/pages.rs"]
mod pages;

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use spoa_otel::export::Exporter;
use spoa_otel::export::console::{Console, ConsoleConfig};
use spoa_otel::export::receiver::{ReceivedRequest, RequestSink};
use spoa_otel::export::recent::{Recent, RecentConfig};
use tokio::time::Instant;

const MAX_DECODED: usize = 64 << 10;

fuzz_target!(|body: &[u8]| {
    let Ok(request) = ReceivedRequest::decode(Bytes::copy_from_slice(body), MAX_DECODED) else { return };
    let request = Arc::new(request);
    show(&request);
    keep(&request);
});

/// No control character of a span reaches the terminal.
fn show(request: &Arc<ReceivedRequest>) {
    let output = Output::default();
    let config = ConsoleConfig { quiet: Duration::ZERO, ..ConsoleConfig::default() };
    pages::RUNTIME.block_on(async {
        let console = Console::start(config, output.clone()).expect("a console");
        let rejected = console.accept(request);
        console.shutdown(Instant::now() + Duration::from_secs(10)).await;
        let stats = console.stats();
        assert_eq!(rejected, 0);
        assert_eq!(stats.submitted, stats.exported + stats.dropped(), "{stats:?}");
    });
    let text = String::from_utf8(output.0.lock().unwrap().clone()).expect("UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

/// The pages say the same as the JSON, and both no more than what came.
fn keep(request: &Arc<ReceivedRequest>) {
    let recent = Arc::new(Recent::new(RecentConfig::default()));
    recent.accept(request);
    let stats = recent.stats();
    assert_eq!((stats.submitted, stats.pending()), (request.spans.len() as u64, 0), "{stats:?}");
    let (status, json) = pages::get(&recent, "/traces.json".parse().unwrap());
    assert_eq!(status, 200);
    let back: ExportTraceServiceRequest = serde_json::from_str(&json).expect("OTLP JSON");
    let spans: Vec<_> = back.resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).collect();
    assert_eq!(spans.len() as u64, stats.exported);

    let (status, list) = pages::get(&recent, "/traces".parse().unwrap());
    assert_eq!(status, 200);
    pages::check_markup(&list);
    let ids: HashSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(recent.recent_stats().traces, ids.len() as u64);
    for id in ids {
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (status, page) = pages::get(&recent, format!("/traces/{id}").parse().unwrap());
        assert_eq!(status, 200);
        pages::check_markup(&page);
    }
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
