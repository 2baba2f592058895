//! An OTLP/HTTP collector that keeps what it gets, and is down on request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;

use crate::process::eventually;
use crate::spans::{self, Span};

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    down: AtomicBool,
}

pub struct Collector {
    /// The base URL.
    pub url: String,
    kept: Arc<Kept>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(addr: &str) -> Self {
        let kept = Arc::new(Kept::default());
        let app = Router::new().route("/v1/traces", post(take)).with_state(kept.clone());
        let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Collector { url, kept, task }
    }

    pub fn set_down(&self, down: bool) {
        self.kept.down.store(down, Ordering::SeqCst);
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// Waits until at least `n` spans are there.
    pub async fn wait_for(&self, n: usize) -> Vec<Span> {
        eventually(&format!("{n} spans at the collector, there are {}", self.spans().len()), || {
            let spans = self.spans();
            (spans.len() >= n).then_some(spans)
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    if kept.down.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(headers.get("content-type").map(|v| v.as_bytes()), Some(&b"application/x-protobuf"[..]));
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    kept.spans.lock().unwrap().extend(spans::of_request(request));
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}
