//! The beginning of a connection: its TLS handshake, or a look at whether it is TLS where there should be none.

use std::sync::Arc;
use std::time::Duration;

use spop_agent::ratelimit::LogLimit;
use spop_agent::tls::{Handshake, Tls, TlsAcceptor, TlsResult, TlsStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::stats::HttpStats;

/// With which TLS begins.
const HANDSHAKE: [u8; 2] = [0x16, 3];

/// What connections begin with.
pub(super) struct Beginning {
    listener: &'static str,
    acceptor: Option<Arc<TlsAcceptor>>,
    stats: Arc<HttpStats>,
    log: LogLimit,
}

impl Beginning {
    pub(super) fn new(listener: &'static str, tls: Option<Tls>, max_connections: usize, stats: Arc<HttpStats>) -> Self {
        let acceptor = tls.map(|tls| TlsAcceptor::new(tls, listener, max_connections, stats.tls().clone()));
        Self { listener, acceptor: acceptor.map(Arc::new), stats, log: LogLimit::new() }
    }

    /// The listener may have so many connections from now on.
    pub(super) fn set_max_connections(&self, max_connections: usize) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.set_max_connections(max_connections);
        }
    }

    /// A place for the handshake, if there is to be one; the one that makes room for it is gone then.
    pub(super) async fn handshake(&self) -> Option<Handshake> {
        match &self.acceptor {
            Some(acceptor) => Some(acceptor.begin().await),
            None => None,
        }
    }

    /// `None` if the connection is over, which is counted. Without TLS it may take so long until something comes.
    pub(super) async fn of(
        &self,
        stream: TcpStream,
        handshake: Option<Handshake>,
        limit: Duration,
    ) -> Option<Either<TcpStream, TlsStream>> {
        if let Some(handshake) = handshake {
            return handshake.accept(stream).await.map(Either::Right);
        }
        let mut first = HANDSHAKE.map(|_| 0);
        match timeout(limit, stream.peek(&mut first)).await {
            Ok(Ok(len)) if len > 0 && first[..len] == HANDSHAKE[..len] => {
                self.stats.tls().count(TlsResult::Unexpected);
                if let Some(left_out) = self.log.pass() {
                    let listener = self.listener;
                    tracing::warn!(
                        listener,
                        left_out,
                        "this listener has no TLS: ask by http://, or give its address ,tls"
                    );
                }
                None
            }
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(_)) => Some(Either::Left(stream)),
            Err(_) => {
                self.stats.timed_out();
                None
            }
        }
    }
}
