//! An OTLP/HTTP receiver: takes spans of other processes, so that they appear
//! in the console's trees beside HAProxy's and reach the same collector.

mod body;
mod config;
mod format;
mod request;
mod stats;

pub use config::ReceiverConfig;
pub use request::{DecodeError, ReceivedRequest};
pub use stats::ReceiverSnapshot;

use crate::http_server::{Guard, HttpLimits, HttpServer, HttpStats, Sockets, check_credentials};
use crate::peer::Peer;
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use body::Budget;
use format::{Form, Refusal};
use spop_agent::tls::TlsStats;
use stats::Counters;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::ToSocketAddrs;
use tokio::sync::Semaphore;

/// Time within which a connection must send the head of its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which a sender may leave a response unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes received requests: the console, the forwarder.
pub trait RequestSink: Send + Sync {
    /// Takes a request without waiting for anybody. Gives the number of spans that it had
    /// to drop, which the receiver reports to the sender as rejected.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize;

    /// Is there no room for a request that would be taken later? Then nobody gets it, and its sender is asked to come again.
    fn is_busy(&self, _request: &ReceivedRequest) -> bool {
        false
    }
}

#[derive(Debug, Default)]
struct ReceiverStats {
    counters: Counters,
    http: Arc<HttpStats>,
}

struct Shared {
    config: ArcSwap<ReceiverConfig>,
    sinks: Vec<Arc<dyn RequestSink>>,
    /// Held from the question whether there is room until that is taken.
    taking: Mutex<()>,
    budget: Arc<Budget>,
    decoders: Arc<Semaphore>,
    stats: ReceiverStats,
}

/// A running OTLP/HTTP receiver: `POST /v1/traces` with protobuf or JSON.
pub struct Receiver {
    addrs: Vec<SocketAddr>,
    shared: Arc<Shared>,
    server: HttpServer,
}

impl Receiver {
    /// Listens on `addr` and serves on the current Tokio runtime.
    pub async fn bind(
        addr: impl ToSocketAddrs,
        config: ReceiverConfig,
        sinks: Vec<Arc<dyn RequestSink>>,
    ) -> std::io::Result<Self> {
        Self::of(Sockets::bind(addr).await?, config, sinks)
    }

    /// Serves sockets that listen already, such as [`passed`](crate::passed) ones, on the current Tokio runtime.
    pub fn listen_on(
        sockets: Vec<TcpListener>,
        config: ReceiverConfig,
        sinks: Vec<Arc<dyn RequestSink>>,
    ) -> std::io::Result<Self> {
        Self::of(Sockets::passed(sockets)?, config, sinks)
    }

    fn of(sockets: Sockets, config: ReceiverConfig, sinks: Vec<Arc<dyn RequestSink>>) -> std::io::Result<Self> {
        let addrs = sockets.addrs()?;
        let (tls, credentials) = (config.tls.clone(), config.credentials.clone());
        let limits = limits(&config);
        let shared = Arc::new(Shared {
            budget: Budget::new(config.max_buffered),
            decoders: Arc::new(Semaphore::new(config.threads.clamp(1, Semaphore::MAX_PERMITS))),
            config: ArcSwap::from_pointee(config),
            sinks,
            taking: Mutex::default(),
            stats: ReceiverStats::default(),
        });
        let router = Router::new().route("/v1/traces", post(receive)).route("/v1/traces/", post(receive));
        let stats = shared.stats.http.clone();
        let guard = Guard::new("otlp", credentials, &[], stats.clone());
        let router = router
            .with_state(shared.clone())
            .layer(from_fn_with_state(guard, check_credentials))
            .layer(from_fn_with_state(stats.clone(), refuse_pages));
        let server = HttpServer::start(sockets, ("otlp", tls), router, limits, stats);
        Ok(Self { addrs, shared, server })
    }

    /// Other bounds, for the requests and the connections that begin from now on. Those of all bodies together and of the
    /// requests decoded at once stay as they are.
    pub fn reconfigure(&self, config: ReceiverConfig) {
        self.server.set_limits(limits(&config));
        self.shared.config.store(Arc::new(config));
    }

    /// The addresses that the receiver listens on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What became of TLS handshakes, and of TLS that came where there is none.
    pub fn tls_stats(&self) -> &Arc<TlsStats> {
        self.shared.stats.http.tls()
    }

    /// The receiver's counters.
    pub fn stats(&self) -> ReceiverSnapshot {
        let stats = &self.shared.stats;
        ReceiverSnapshot { http: stats.http.snapshot(), ..stats.counters.snapshot() }
    }

    /// Accepts no more connections and lets requests under way finish for at
    /// most `grace`. To be called before the sinks are shut down.
    pub async fn shutdown(&self, grace: Duration) {
        self.server.shutdown(super::deadline_after(grace)).await;
    }
}

fn limits(config: &ReceiverConfig) -> HttpLimits {
    HttpLimits {
        max_connections: config.max_connections,
        max_per_peer: config.max_per_peer,
        reserved_files: config.reserved_files,
        head_timeout: HEAD_TIMEOUT,
        write_timeout: WRITE_TIMEOUT,
    }
}

/// A page of the web can have its visitor's browser post here, as itself or under a name to which it gave this address (DNS
/// rebinding). Browsers say whose page it is; programs that send spans say nothing.
async fn refuse_pages(State(stats): State<Arc<HttpStats>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(ORIGIN) {
        return next.run(request).await;
    }
    stats.cross_origin();
    (StatusCode::FORBIDDEN, "Spans of web pages are not taken.\n").into_response()
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let stats = &shared.stats;
    let (format, outcome) = match Form::of(&headers) {
        Ok(form) => (form.format, handle(&shared, peer, form, body).await),
        Err((format, refusal)) => (format, Err(refusal)),
    };
    match outcome {
        Ok(rejected) => format.accepted(rejected),
        Err(refusal) => {
            let counter =
                if refusal.is_busy() { &stats.counters.busy_requests } else { &stats.counters.rejected_requests };
            counter.one();
            tracing::debug!(status = %refusal.0, reason = refusal.1, "OTLP request refused");
            format.refused(refusal)
        }
    }
}

/// Gives the number of spans that the sinks rejected.
async fn handle(shared: &Arc<Shared>, peer: Peer, form: Form, body: Body) -> Result<usize, Refusal> {
    let config = shared.config.load_full();
    let timeout = config.body_timeout;
    let mut part = shared.budget.part(peer);
    let body = tokio::time::timeout(timeout, body::read(body, config.max_body, &mut part))
        .await
        .map_err(|_| Refusal(StatusCode::REQUEST_TIMEOUT, "the request body took too long".to_owned()))??;
    let decoder = tokio::time::timeout(timeout, shared.decoders.clone().acquire_owned()).await;
    let Ok(Ok(decoder)) = decoder else { return Err(Refusal::busy()) };
    let shared = shared.clone();
    // Some milliseconds, in which this thread serves HAProxy. All of it is over when the permit is given back.
    let work = move || {
        let (_decoder, _part) = (decoder, part);
        let request = Arc::new(form.decode(body, &config)?);
        let _taking = shared.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.sinks.iter().any(|sink| sink.is_busy(&request)) {
            return Err(Refusal::later("the queue to the collector is full"));
        }
        let stats = &shared.stats.counters;
        stats.requests.one();
        stats.spans.add(request.spans.len());
        let rejected = shared.sinks.iter().map(|sink| sink.accept(&request)).max().unwrap_or(0);
        stats.rejected_spans.add(rejected);
        Ok(rejected)
    };
    let failed = |_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be handled".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
