//! The handshakes of a listener.

use std::fmt;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::failure::Failure;
use super::files::Tls;
use super::queue::{Place, Queue};
use super::stats::{TlsResult, TlsStats};
use crate::ratelimit::LogLimit;

/// A connection with TLS.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// The content type of a handshake, with which TLS begins.
const HANDSHAKE: u8 = 0x16;
/// As many bytes as tell what a peer speaks.
const FIRST: usize = 16;
/// Of its connections a listener leaves this share to handshakes.
const SHARE: usize = 4;

/// Makes the handshakes of a listener, or of several of one kind.
pub struct TlsAcceptor {
    tls: Tls,
    listener: &'static str,
    stats: Arc<TlsStats>,
    queue: Arc<Queue>,
    logs: [LogLimit; TlsResult::ALL.len()],
}

impl TlsAcceptor {
    /// For listeners with so many connections at most. Log lines have the kind of listener.
    pub fn new(tls: Tls, listener: &'static str, max_connections: usize, stats: Arc<TlsStats>) -> Self {
        let queue = Arc::new(Queue::new(most(&tls, max_connections)));
        let logs = std::array::from_fn(|_| LogLimit::new());
        Self { tls, listener, stats, queue, logs }
    }

    /// The listeners may have so many connections from now on.
    pub fn set_max_connections(&self, max_connections: usize) {
        self.queue.set_max(most(&self.tls, max_connections));
    }

    /// A place for a handshake among the unfinished ones, of which the oldest is gone then if there were too many.
    pub async fn begin(self: &Arc<Self>) -> Handshake {
        Handshake { acceptor: self.clone(), place: self.queue.clone().enter().await }
    }

    async fn accept(&self, stream: TcpStream, place: Place) -> Option<TlsStream> {
        let peer = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let limit = self.tls.config.handshake_timeout;
        let handshake = tokio::time::timeout(limit, self.handshake(stream));
        let outcome = tokio::select! {
            outcome = handshake => outcome.unwrap_or_else(|_| Err(TlsResult::Timeout.into())),
            () = place.evicted() => Err(TlsResult::Evicted.into()),
        };
        drop(place);
        match outcome {
            Ok(stream) => {
                self.stats.count(TlsResult::Accepted);
                Some(stream)
            }
            Err(failure) => {
                self.stats.count(failure.result);
                self.log(&failure, &peer);
                None
            }
        }
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsStream, Failure> {
        let mut first = [0; FIRST];
        let len = stream.peek(&mut first).await?;
        match first.get(..len) {
            None | Some([]) => return Err(TlsResult::Closed.into()),
            Some([HANDSHAKE, ..]) => {}
            Some(other) => return Err(Failure::plain(other)),
        }
        let loaded = self.tls.loaded.current().await;
        let acceptor = tokio_rustls::TlsAcceptor::from(loaded.server.clone());
        Ok(acceptor.accept(stream).await?)
    }

    fn log(&self, failure: &Failure, peer: &str) {
        let Failure { result, error, instead } = failure;
        let (listener, error) = (self.listener, error.as_ref().map(tracing::field::display));
        if *result == TlsResult::Closed {
            tracing::debug!(listener, peer, error, "TLS handshake: {}", failure.advice());
        } else if let Some(left_out) = self.logs[*result as usize].pass() {
            let speaks = instead.map(tracing::field::display);
            tracing::warn!(listener, peer, error, speaks, left_out, "TLS handshake failed: {}", failure.advice());
        }
    }
}

/// Handshakes that may be unfinished.
fn most(tls: &Tls, max_connections: usize) -> usize {
    tls.config.max_handshakes.min(max_connections.div_ceil(SHARE))
}

/// A handshake that may be made.
#[must_use = "it has a place"]
pub struct Handshake {
    acceptor: Arc<TlsAcceptor>,
    place: Place,
}

impl Handshake {
    /// Makes it. One that fails is counted, logged at a limited rate, and closes the connection.
    pub async fn accept(self, stream: TcpStream) -> Option<TlsStream> {
        self.acceptor.accept(stream, self.place).await
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("listener", &self.acceptor.listener).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("listener", &self.listener).finish_non_exhaustive()
    }
}
