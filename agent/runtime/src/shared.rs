//! What the connections of a server share, and may hold together.

use std::sync::Arc;

use crate::config::ServerConfig;
use crate::engine::Engines;
use crate::gauge::Part;
use crate::handler::{AsyncHandler, Handler};
use crate::ratelimit::LogLimit;
use crate::stats::ServerStats;
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;

/// The bytes that a connection may hold in any case: room for frames of HAProxy's usual sizes, half received, in fragments,
/// and ACKs that HAProxy does not read yet.
pub const OWN_BUFFERS: usize = 256 * 1024;

/// What all connections of a server share that began under the same limits.
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) handler: Arc<AnyHandler>,
    pub(crate) stats: Arc<ServerStats>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) engines: Arc<Engines>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<TlsAcceptor>>,
}

impl Shared {
    /// For connections that begin under other limits.
    pub(crate) fn with(&self, config: ServerConfig) -> Self {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.set_max_connections(config.max_connections);
        }
        Self {
            config,
            handler: self.handler.clone(),
            stats: self.stats.clone(),
            logs: self.logs.clone(),
            engines: self.engines.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        }
    }

    /// May a connection hold so many bytes, of which `buffered` is its part? If not, that is counted and logged.
    pub(crate) fn has_room(&self, buffered: &mut Part, bytes: usize) -> bool {
        let limit = self.config.max_buffered;
        if buffered.set(beyond_own(bytes)).is_none_or(|all| all <= limit as u64) {
            return true;
        }
        ServerStats::add(&self.stats.buffers_full, 1);
        if let Some(left_out) = self.logs.buffers.pass() {
            tracing::warn!(limit, left_out, "a connection is ended: the memory for frames is used up (--max-buffered)");
        }
        false
    }
}

pub(crate) fn beyond_own(bytes: usize) -> u64 {
    bytes.saturating_sub(OWN_BUFFERS) as u64
}

pub(crate) enum AnyHandler {
    Sync(Box<dyn Handler>),
    Async(Arc<dyn AsyncHandler>),
}

/// The gates of the log lines that peers can cause.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) refused: LogLimit,
    pub(crate) out_of_files: LogLimit,
    pub(crate) accept: LogLimit,
    pub(crate) protocol: LogLimit,
    pub(crate) disconnect: LogLimit,
    pub(crate) io: LogLimit,
    pub(crate) handler: LogLimit,
    pub(crate) too_big: LogLimit,
    pub(crate) buffers: LogLimit,
}
