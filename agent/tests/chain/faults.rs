//! A collector that is killed, hangs and comes back, and remembers which spans it took.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What the collector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    Healthy,
    /// Nothing listens, and all connections are closed.
    Killed,
    /// It takes connections and requests, and answers none.
    Hung,
    /// It takes them and has all spans, and answers late.
    Slow,
    /// It answers 503 and takes nothing.
    Unavailable,
}

/// How late.
const SLOW: Duration = Duration::from_millis(500);

/// The collector; its address stays the same.
pub struct FaultyCollector {
    pub url: String,
    addr: SocketAddr,
    taken: Arc<Taken>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Taken {
    /// Trace and span ids, as they are: a long run has millions of them.
    spans: Mutex<HashSet<([u8; 16], [u8; 8])>>,
    twice: Mutex<u64>,
}

impl FaultyCollector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut collector =
            FaultyCollector { url: format!("http://{addr}"), addr, taken: Arc::default(), server: None };
        collector.serve(listener, Mode::Healthy);
        collector
    }

    pub async fn set(&mut self, mode: Mode) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Its connections end with it.
            let _ = server.await;
        }
        if mode != Mode::Killed {
            let listener = TcpListener::bind(self.addr).await.unwrap();
            self.serve(listener, mode);
        }
    }

    fn serve(&mut self, listener: TcpListener, mode: Mode) {
        let app = match mode {
            Mode::Hung => Router::new().route("/v1/traces", post(std::future::pending::<()>)),
            Mode::Unavailable => Router::new().route("/v1/traces", post(async || StatusCode::SERVICE_UNAVAILABLE)),
            Mode::Slow => Router::new().route("/v1/traces", post(take_slowly)).with_state(self.taken.clone()),
            _ => Router::new().route("/v1/traces", post(take)).with_state(self.taken.clone()),
        };
        self.server = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(app.clone());
                let http = hyper::server::conn::http1::Builder::new();
                connections.spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Forgets what it took.
    pub fn forget(&self) {
        self.taken.spans.lock().unwrap().clear();
        *self.taken.twice.lock().unwrap() = 0;
    }

    /// How many spans it took, and how many of them again.
    pub fn spans(&self) -> (u64, u64) {
        (self.taken.spans.lock().unwrap().len() as u64, *self.taken.twice.lock().unwrap())
    }
}

impl Drop for FaultyCollector {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn take(State(taken): State<Arc<Taken>>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    for span in scopes.flat_map(|scope| scope.spans) {
        let ids = (span.trace_id.try_into().unwrap(), span.span_id.try_into().unwrap());
        if !taken.spans.lock().unwrap().insert(ids) {
            *taken.twice.lock().unwrap() += 1;
        }
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

async fn take_slowly(taken: State<Arc<Taken>>, body: Bytes) -> Vec<u8> {
    tokio::time::sleep(SLOW).await;
    take(taken, body).await
}
