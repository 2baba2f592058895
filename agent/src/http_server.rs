//! A small HTTP/1.1 server for an axum router: bounded connections, all together and of each peer, of which idle ones make
//! room for new ones; a limit on the time for a request's head and on the time that a response may lie unread; graceful
//! shutdown.

mod beginning;
pub mod credentials;
mod guard;
mod limits;
mod sockets;
mod stats;
mod table;
mod watched;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use crate::peer::Peer;
use crate::worker::Worker;
use beginning::Beginning;
pub(crate) use guard::{Guard, check as check_credentials};
pub(crate) use limits::HttpLimits;
pub(crate) use sockets::Sockets;
use spop_agent::descriptors;
use spop_agent::ratelimit::LogLimit;
use spop_agent::tls::Tls;
pub use stats::{HttpSnapshot, HttpStats};
use table::{Activity, Place, Table};
use watched::Watched;

/// Largest head of a request, and the buffer of a connection.
const BUFFER: usize = 64 * 1024;
/// Pause after a failed accept, which is as a rule a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Counts an open connection until it is dropped.
struct Open(Arc<HttpStats>);

impl Open {
    fn count(stats: &Arc<HttpStats>) -> Self {
        stats.counters.connections.one();
        stats.counters.open.rise();
        Open(stats.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.open.fall();
    }
}

/// A listener at work.
pub(crate) struct HttpServer {
    beginning: Arc<Beginning>,
    limits: watch::Sender<HttpLimits>,
    stop: watch::Sender<Option<Instant>>,
    task: Worker,
}

impl HttpServer {
    /// Serves on the current Tokio runtime, counting in `stats`; with TLS if there are certificates.
    pub(crate) fn start(
        sockets: Sockets,
        (name, tls): (&'static str, Option<Tls>),
        router: Router,
        limits: HttpLimits,
        stats: Arc<HttpStats>,
    ) -> Self {
        let (stop, stopped) = watch::channel(None);
        let beginning = Arc::new(Beginning::new(name, tls, limits.max_connections, stats.clone()));
        let (limits, present) = watch::channel(limits);
        let task = Worker::spawn(serve(sockets, beginning.clone(), router, present, stats, stopped));
        HttpServer { beginning, limits, stop, task }
    }

    /// Other limits, for the connections that begin from now on.
    pub(crate) fn set_limits(&self, limits: HttpLimits) {
        self.beginning.set_max_connections(limits.max_connections);
        self.limits.send_replace(limits);
    }

    /// Accepts no more connections and lets requests under way finish until the deadline.
    pub(crate) async fn shutdown(&self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        self.task.join(deadline).await;
    }
}

/// Serves until `stop` holds a deadline, then lets the requests under way finish until that deadline.
async fn serve(
    sockets: Sockets,
    beginning: Arc<Beginning>,
    router: Router,
    limits: watch::Receiver<HttpLimits>,
    stats: Arc<HttpStats>,
    mut stop: watch::Receiver<Option<Instant>>,
) {
    let [accept_log, files_log, refused_log] = [(); 3].map(|()| LogLimit::new());
    let graceful = GracefulShutdown::new();
    let mut connections = Table::default();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(BUFFER);
    let deadline = loop {
        let accepted = tokio::select! {
            accepted = sockets.accept() => accepted,
            () = connections.ended() => continue,
            deadline = stop.wait_for(Option::is_some) => {
                break deadline.ok().and_then(|deadline| *deadline);
            }
        };
        let (stream, peer) = match accepted {
            Ok((stream, addr)) => (stream, Peer::from(addr.ip())),
            Err(error) => {
                if let Some(left_out) = accept_log.pass() {
                    tracing::warn!(%error, left_out, "cannot accept an HTTP connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let limits = *limits.borrow();
        if !descriptors::leaves(&stream, limits.reserved_files) {
            stats.counters.refused.one();
            if let Some(left_out) = files_log.pass() {
                let reserved = limits.reserved_files;
                tracing::warn!(reserved, left_out, "HTTP connection refused: the file descriptors left are reserved");
            }
            continue;
        }
        match connections.place_for(peer, &limits) {
            Place::Free => {}
            Place::Vacated => {
                stats.counters.evicted.one();
            }
            Place::None => {
                stats.counters.refused.one();
                if let Some(left_out) = refused_log.pass() {
                    let HttpLimits { max_connections, max_per_peer, .. } = limits;
                    tracing::warn!(
                        max_connections,
                        max_per_peer,
                        left_out,
                        "HTTP connection refused: too many are open"
                    );
                }
                continue;
            }
        }
        let open = Open::count(&stats);
        let activity = Arc::new(Activity::new());
        let service = service(router.clone(), peer, activity.clone());
        builder.header_read_timeout(limits.head_timeout);
        let handshake = beginning.handshake().await;
        let (beginning, builder, watcher) = (beginning.clone(), builder.clone(), graceful.watcher());
        let mut stop = stop.clone();
        let watched = activity.clone();
        connections.spawn(peer, activity, async move {
            let stream = tokio::select! {
                stream = beginning.of(stream, handshake, limits.head_timeout) => stream,
                _ = stop.wait_for(Option::is_some) => None,
            };
            let Some(stream) = stream else { return };
            let stream = Box::pin(with_timeout(stream, limits.write_timeout));
            let stream = TokioIo::new(Watched::new(stream, watched));
            let connection = watcher.watch(builder.serve_connection(stream, service));
            if let Err(error) = connection.await {
                if is_timeout(&error) {
                    open.0.timed_out();
                }
                tracing::debug!(%error, "HTTP connection ended with an error");
            }
        });
    };
    drop(sockets);
    let deadline = deadline.unwrap_or_else(Instant::now);
    // What is still under way at the deadline is cut with `connections`.
    let _ = tokio::time::timeout_at(deadline, graceful.shutdown()).await;
}

/// The router, which is told the peer. A request is under way until its answer is written or given up.
fn service(
    router: Router,
    peer: Peer,
    activity: Arc<Activity>,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        let under_way = activity.begin();
        request.extensions_mut().insert(peer);
        let answer = router.call(request);
        async move {
            let answer = answer.await?;
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _until_written = &under_way;
                    frame
                }))
            }))
        }
    })
}

fn with_timeout<S: AsyncRead + AsyncWrite>(stream: S, write_timeout: Duration) -> TimeoutStream<S> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    stream
}

/// hyper tells its own timeout, that for the head; that of a write is an error of the stream.
fn is_timeout(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.is_timeout() || source.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
