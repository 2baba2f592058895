//! The SPOA runtime: listeners, one task for each connection, graceful drain.

mod buffer;
mod connection;
mod frames;
mod gauge;
mod handler;
mod listener;
mod responder;
mod signals;
mod socket_file;
mod stats;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use spop_core::Capabilities;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use handler::{Answer, AnswerFuture, AsyncHandler, Connection, Handler, HandlerError, Request};
pub use signals::stop_signal;
pub use stats::{HandlerDurations, ServerStats, Side, StatsSnapshot};

use crate::addr::{Addr, ListenAddr};
use crate::descriptors;
use crate::ratelimit::LogLimit;
use connection::{serve, OpenConnection};
use gauge::Part;
use listener::{Listener, Stream};

/// The most NOTIFYs that can be in flight on a connection.
pub const MAX_IN_FLIGHT: usize = 128;

/// The largest frame unless an option says otherwise: four times that of a HAProxy whose `tune.bufsize` nobody changed.
const MAX_FRAME_SIZE: u32 = 64 * 1024;

/// The bytes that a connection may hold in any case: room for frames of HAProxy's usual sizes, half received, in fragments,
/// and ACKs that HAProxy does not read yet.
pub const OWN_BUFFERS: usize = 256 * 1024;

/// Limits and timeouts of a server. All have defaults that suit HAProxy's.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ServerConfig {
    /// Largest frame to take, in bytes; the smaller of this and HAProxy's counts. While it is handled, others wait
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES", default_value_t = MAX_FRAME_SIZE, value_parser = clap::value_parser!(u32).range(256..)))]
    pub max_frame_size: u32,

    /// Largest fragmented NOTIFY to take, in bytes (HAProxy up to 3.0); 0 does not announce fragmentation
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES", default_value_t = 64 * 1024))]
    pub max_reassembly: usize,

    /// Most memory that all connections together hold for frames and ACKs, beyond 256 KiB of each; a connection that
    /// needs more then is ended
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = crate::size::parse)
    )]
    pub max_buffered: usize,

    /// Most connections at once; further ones are refused
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = 4096))]
    pub max_connections: usize,

    /// File descriptors (ulimit -n) that connections leave to others, such as admin endpoints and a collector
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = 128))]
    pub reserved_files: u64,

    /// Most NOTIFYs in flight on a connection (1 to 128) before it is not read any more
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = MAX_IN_FLIGHT, value_parser = in_flight))]
    pub max_in_flight: usize,

    /// How long HAProxy may take for its HELLO
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::duration::parse))]
    pub hello_timeout: Duration,

    /// How long a frame may stay half received
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::duration::parse))]
    pub half_frame_timeout: Duration,

    /// Close connections that were idle for so long [default: off, HAProxy ends idle connections]
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", value_parser = crate::duration::parse))]
    pub connection_idle_timeout: Option<Duration>,

    /// How long HAProxy may leave ACKs unread
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::duration::parse))]
    pub write_timeout: Duration,

    /// How long a handler may take; then the NOTIFY gets an empty ACK
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::duration::parse))]
    pub handler_timeout: Duration,

    /// How long to wait at the end for open NOTIFYs and for HAProxy to close
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", default_value = "8s", value_parser = crate::duration::parse))]
    pub grace: Duration,
}

#[cfg(feature = "clap")]
fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_IN_FLIGHT).contains(&n) => Ok(n),
        _ => Err(format!("not a number from 1 to {MAX_IN_FLIGHT}")),
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            max_frame_size: MAX_FRAME_SIZE,
            max_reassembly: 64 * 1024,
            max_buffered: 256 * 1024 * 1024,
            max_connections: 4096,
            reserved_files: 128,
            max_in_flight: MAX_IN_FLIGHT,
            hello_timeout: Duration::from_secs(5),
            half_frame_timeout: Duration::from_secs(10),
            connection_idle_timeout: None,
            write_timeout: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(8),
        }
    }
}

impl ServerConfig {
    fn agent(&self) -> spop_core::AgentConfig {
        let fragmentation = if self.max_reassembly > 0 { Capabilities::FRAGMENTATION } else { Capabilities::NONE };
        spop_core::AgentConfig::DEFAULT
            .with_max_frame_size(self.max_frame_size)
            .with_capabilities(Capabilities::PIPELINING | fragmentation)
            .with_hello_timeout(Some(ticks(self.hello_timeout)))
            .with_half_frame_timeout(Some(ticks(self.half_frame_timeout)))
            .with_idle_timeout(self.connection_idle_timeout.map(ticks))
    }
}

/// The ticks of the state machine are milliseconds.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What all connections of a server share.
pub(crate) struct Shared {
    config: ServerConfig,
    handler: AnyHandler,
    stats: Arc<ServerStats>,
    logs: Logs,
}

impl Shared {
    /// May a connection hold so many bytes, of which `buffered` is its part? If not, that is counted and logged.
    fn has_room(&self, buffered: &mut Part, bytes: usize) -> bool {
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

fn beyond_own(bytes: usize) -> u64 {
    bytes.saturating_sub(OWN_BUFFERS) as u64
}

enum AnyHandler {
    Sync(Box<dyn Handler>),
    Async(Arc<dyn AsyncHandler>),
}

/// The gates of the log lines that peers can cause.
#[derive(Default)]
struct Logs {
    refused: LogLimit,
    out_of_files: LogLimit,
    accept: LogLimit,
    protocol: LogLimit,
    disconnect: LogLimit,
    io: LogLimit,
    handler: LogLimit,
    too_big: LogLimit,
    buffers: LogLimit,
}

/// An agent: listens, and answers NOTIFYs by a handler.
///
/// ```
/// use spop_agent::addr::ListenAddr;
/// use spop_agent::server::{stop_signal, HandlerError, Server, ServerConfig};
/// use spop_core::{AckEncoder, Messages, Scope, Value};
///
/// fn score(messages: Messages<'_>, ack: &mut AckEncoder<'_>) -> Result<(), HandlerError> {
///     for message in messages {
///         if let Some(Value::Ipv4(ip)) = message?.arg("ip")? {
///             let score = i64::from(ip.octets()[3]);
///             ack.set_var(Scope::Session, b"ip_score", &Value::Int64(score))?;
///         }
///     }
///     Ok(())
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let mut server = Server::new(ServerConfig::default(), score);
/// let bound = server.bind(&"127.0.0.1:0".parse::<ListenAddr>()?).await?;
/// println!("listening on {bound}");
/// # let stop_signal = || Ok::<_, std::io::Error>(async {});
/// server.run(stop_signal()?).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
}

impl Server {
    /// A server with a handler that answers at once.
    pub fn new(config: ServerConfig, handler: impl Handler) -> Self {
        Self::with(config, AnyHandler::Sync(Box::new(handler)))
    }

    /// A server with a handler that may wait.
    pub fn new_async(config: ServerConfig, handler: impl AsyncHandler) -> Self {
        Self::with(config, AnyHandler::Async(Arc::new(handler)))
    }

    fn with(config: ServerConfig, handler: AnyHandler) -> Self {
        let shared = Shared { config, handler, stats: Arc::default(), logs: Logs::default() };
        Server { shared: Arc::new(shared), listeners: Vec::new() }
    }

    /// Listens on an address, more than once if called again; connections are accepted by [`run`](Self::run). Returns
    /// the real address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The address is in use, not allowed or not of this host; there is no such user or group. A unix socket that nobody
    /// listens on is replaced.
    pub async fn bind(&mut self, addr: &ListenAddr) -> io::Result<Addr> {
        let listener = Listener::bind(addr).await?;
        let bound = listener.addr().clone();
        self.listeners.push(listener);
        Ok(bound)
    }

    /// The counters; they live on after the server.
    pub fn stats(&self) -> Arc<ServerStats> {
        self.shared.stats.clone()
    }

    /// Serves until `stop` is ready. Then: no new connection; every open NOTIFY is answered; each connection gets
    /// DISCONNECT 0 and is closed. What is not done within [`grace`](ServerConfig::grace) is cut off.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (draining, watch_draining) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for listener in self.listeners {
            acceptors.spawn(accept(listener, self.shared.clone(), watch_draining.clone()));
        }
        drop(watch_draining);
        stop.await;
        draining.send_replace(true);
        // An acceptor ends when its connections have ended.
        let all = async { while acceptors.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.config.grace, all).await.is_err() {
            let open = self.shared.stats.snapshot().connections_open;
            tracing::warn!(connections = open, "not all connections ended within the grace time");
            acceptors.shutdown().await;
        }
    }
}

async fn accept(mut listener: Listener, shared: Arc<Shared>, mut draining: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            Some(_) = connections.join_next() => continue,
            _ = draining.wait_for(|&d| d) => break,
        };
        match stream {
            Ok(stream) => admit(stream, &shared, &draining, &mut connections),
            Err(error) => {
                if let Some(left_out) = shared.logs.accept.pass() {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                // Out of file descriptors, most likely: busy retries would not help.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn admit(stream: Stream, shared: &Arc<Shared>, draining: &watch::Receiver<bool>, connections: &mut JoinSet<()>) {
    let stats = &shared.stats;
    if !descriptors::leaves(&stream, shared.config.reserved_files) {
        ServerStats::add(&stats.connections_out_of_files, 1);
        if let Some(left_out) = shared.logs.out_of_files.pass() {
            let reserved = shared.config.reserved_files;
            tracing::warn!(
                reserved,
                left_out,
                "connection refused: the file descriptors left (ulimit -n) are reserved"
            );
        }
        return;
    }
    let Some(open) = OpenConnection::register(shared) else {
        ServerStats::add(&stats.connections_refused, 1);
        if let Some(left_out) = shared.logs.refused.pass() {
            let limit = shared.config.max_connections;
            tracing::warn!(limit, left_out, "connection refused: too many are open");
        }
        return;
    };
    let draining = draining.clone();
    match (stream, &shared.handler) {
        (Stream::Tcp(stream), AnyHandler::Sync(_)) => connections.spawn(serve::<_, 1>(stream, open, draining)),
        (Stream::Unix(stream), AnyHandler::Sync(_)) => connections.spawn(serve::<_, 1>(stream, open, draining)),
        (Stream::Tcp(stream), AnyHandler::Async(_)) => {
            connections.spawn(serve::<_, MAX_IN_FLIGHT>(stream, open, draining))
        }
        (Stream::Unix(stream), AnyHandler::Async(_)) => {
            connections.spawn(serve::<_, MAX_IN_FLIGHT>(stream, open, draining))
        }
    };
}
