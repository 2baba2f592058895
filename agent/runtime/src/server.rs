//! The server: listeners, a task for each connection, graceful drain.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::addr::{Addr, ListenAddr};
use crate::config::{MAX_IN_FLIGHT, ServerConfig};
#[cfg(feature = "tls")]
use crate::connection::serve_tls;
use crate::connection::{OpenConnection, serve};
use crate::descriptors;
use crate::handler::{AsyncHandler, Error, Handler, Result};
use crate::listener::{Listener, ListeningSocket, Stream};
use crate::pulse::{Beat, Pulse};
use crate::shared::{AnyHandler, Shared};
use crate::signals::stop_signal;
use crate::stats::ServerStats;
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsAcceptor};

/// An agent: listens, and answers NOTIFYs by a handler.
///
/// ```
/// use spop_agent::{Ack, Notify, Result, Scope, Server, ServerConfig};
///
/// fn count(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
///     ack.set_var(Scope::Transaction, "messages", notify.messages().count() as u64)?;
///     Ok(())
/// }
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let mut config = ServerConfig::default();
/// config.max_connections = 100;
/// let server = Server::new(count).config(config).bind("127.0.0.1:0").await?.bind("[::1]:0").await?;
/// for addr in server.addrs() {
///     println!("listening on {addr}");
/// }
/// # let stop = async {};
/// server.run(stop).await;
/// # Result::Ok(())
/// # })?;
/// # Result::Ok(())
/// ```
///
/// Asynchronous handlers look alike; they own the NOTIFY and give the actions back:
///
/// ```
/// use spop_agent::{Answer, Request, Scope, Server};
///
/// let server = Server::new_async(|request: Request| async move {
///     let mut answer = Answer::new();
///     for message in request.messages() {
///         if let Some(user) = message.arg("user").and_then(|value| value.as_str()) {
///             answer.set_var(Scope::Session, "known", is_known(user).await);
///         }
///     }
///     Ok(answer)
/// });
/// # async fn is_known(user: &str) -> bool { !user.is_empty() }
/// # drop(server);
/// ```
#[must_use = "it does nothing until it runs"]
pub struct Server {
    config: LiveConfig,
    handler: AnyHandler,
    stats: Arc<ServerStats>,
    listeners: Vec<Listener>,
    pulse: Arc<Pulse>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Server {
    /// A server with a handler that answers at once.
    pub fn new(handler: impl Handler) -> Self {
        Self::with(AnyHandler::Sync(Box::new(handler)))
    }

    /// A server with a handler that may wait.
    pub fn new_async(handler: impl AsyncHandler) -> Self {
        Self::with(AnyHandler::Async(Arc::new(handler)))
    }

    fn with(handler: AnyHandler) -> Self {
        Self {
            config: LiveConfig(watch::Sender::new(ServerConfig::default())),
            handler,
            stats: Arc::default(),
            listeners: Vec::new(),
            pulse: Arc::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Other limits and timeouts than the default. A [`max_in_flight`](ServerConfig::max_in_flight) beyond its bounds is
    /// brought into them.
    pub fn config(self, config: ServerConfig) -> Self {
        self.config.set(config);
        self
    }

    /// Changes limits and timeouts while it runs.
    pub fn live_config(&self) -> LiveConfig {
        self.config.clone()
    }

    /// Certificates for addresses with `,tls`; to be given before [`bind`](Self::bind).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Listens on an address, more than once if called again: a text such as `127.0.0.1:12345`, `10.0.0.5:12345,tls`,
    /// `unix:/run/spoa.sock` or `abns@name`, an [`Addr`] or a [`ListenAddr`]. HAProxy can connect at once; it is answered when
    /// the server [runs](Self::run).
    ///
    /// # Errors
    /// The text is no address ([`InvalidInput`](io::ErrorKind::InvalidInput)); the address is in use, not allowed or not
    /// of this host; there is no such user or group; it has `,tls`, but there are no certificates. A unix socket that nobody
    /// listens on is replaced.
    pub async fn bind(mut self, addr: impl TryInto<ListenAddr, Error: Into<Error>>) -> io::Result<Self> {
        let addr = addr.try_into().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        if addr.tls {
            self.check_certificates()?;
        }
        self.listeners.push(Listener::bind(&addr).await?);
        Ok(self)
    }

    /// Serves a socket that listens already, beside those of [`bind`](Self::bind): one that the service manager holds, so
    /// that nobody is refused while an agent is restarted. At the end it is left as it is, with its file and with those who
    /// wait to be accepted.
    ///
    /// ```
    /// # use spop_agent::{Ack, Notify, Result, Server};
    /// # fn handler(_: &Notify<'_>, _: &mut Ack<'_>) -> Result { Ok(()) }
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let passed = std::net::TcpListener::bind("127.0.0.1:0")?; // of the crate `listenfd`, for instance
    /// let server = Server::new(handler).listen_on(passed.try_clone()?)?;
    /// # server.run(async {}).await;
    /// # Result::Ok(())
    /// # })?;
    /// # Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// It cannot be used: the limit of descriptors, for instance.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen_on(mut self, socket: impl Into<ListeningSocket>) -> io::Result<Self> {
        let socket = socket.into();
        #[cfg(feature = "tls")]
        if matches!(socket, ListeningSocket::Tls(_)) {
            self.check_certificates()?;
        }
        self.listeners.push(Listener::of(socket)?);
        Ok(self)
    }

    fn check_certificates(&self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return Ok(());
        }
        let reason = "TLS without a certificate (Server::tls, of the feature `tls`)";
        Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
    }

    /// The addresses it listens on, in the order of [`bind`](Self::bind) and [`listen_on`](Self::listen_on), with the port
    /// that the system chose for port 0.
    pub fn addrs(&self) -> impl DoubleEndedIterator<Item = &Addr> + ExactSizeIterator {
        self.listeners.iter().map(Listener::addr)
    }

    /// The counters; they live on after the server.
    pub fn stats(&self) -> Arc<ServerStats> {
        self.stats.clone()
    }

    /// Tells whether the tasks that accept connections still run, for a watchdog; it lives on after the server.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Serves until SIGTERM, SIGINT or SIGUSR1, see [`stop_signal`], then ends as [`run`](Self::run) does.
    ///
    /// A program that tells others where it listens calls [`stop_signal`] before, and `run`: they may know of it, and stop
    /// it, before it comes here.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub async fn run_until_signal(self) -> Result {
        let stop = stop_signal()?;
        self.run(stop).await;
        Ok(())
    }

    /// Serves until `stop` is ready. Then: no new connection; every open NOTIFY is answered; each connection gets DISCONNECT 0
    /// and is closed: at once if nothing has come for 200 ms, otherwise after 100 ms behind its next answer if that is the only
    /// one that HAProxy waits for, after 500 ms at the latest. What is not done within [`grace`](ServerConfig::grace) is cut
    /// off, and counted when this returns, unless a handler keeps its thread.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut configs = self.config.0.subscribe();
        let config = configs.borrow_and_update().clone();
        let shared = Arc::new(Shared {
            #[cfg(feature = "tls")]
            tls: self
                .tls
                .map(|tls| Arc::new(TlsAcceptor::new(tls, "spop", config.max_connections, self.stats.tls().clone()))),
            config,
            handler: Arc::new(self.handler),
            stats: self.stats,
            logs: Arc::default(),
            engines: Arc::default(),
        });
        let _end = EndOfEngines(shared.clone());
        let (draining, watch_draining) = watch::channel(false);
        let (cut_off, watch_cut_off) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for listener in self.listeners {
            let stops = Stops { draining: watch_draining.clone(), cut_off: watch_cut_off.clone() };
            acceptors.spawn(accept(listener, shared.clone(), configs.clone(), stops, self.pulse.beat()));
        }
        drop((watch_draining, watch_cut_off));
        stop.await;
        draining.send_replace(true);
        // An acceptor ends when its connections have ended.
        let all = all_ended(&mut acceptors);
        tokio::pin!(all);
        let grace = configs.borrow().grace;
        if tokio::time::timeout(grace, &mut all).await.is_err() {
            let open = shared.stats.snapshot().connections_open;
            tracing::warn!(connections = open, "not all connections ended within the grace time");
            cut_off.send_replace(true);
            // Whoever reads the counters next finds what these connections left unanswered.
            let _ = tokio::time::timeout(CUT_OFF, all).await;
        }
    }
}

/// Connections that are cut off are gone within this time, unless a handler keeps their thread.
const CUT_OFF: Duration = Duration::from_millis(500);

async fn all_ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Whatever ends a server ends what its connections left to each other.
struct EndOfEngines(Arc<Shared>);

impl Drop for EndOfEngines {
    fn drop(&mut self) {
        self.0.engines.end(&self.0.stats);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &*self.config.0.borrow())
            .field("addrs", &self.addrs().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The limits and timeouts of a server while it runs, see [`Server::live_config`].
#[derive(Clone, Debug)]
pub struct LiveConfig(watch::Sender<ServerConfig>);

impl LiveConfig {
    /// Other limits and timeouts, for the connections that begin from now on. Those that are open keep theirs, and count
    /// towards the most that may be.
    pub fn set(&self, config: ServerConfig) {
        self.0.send_replace(config.bounded());
    }
}

/// How a server ends: its connections come to their end, then what is left of them is cut off.
struct Stops {
    draining: watch::Receiver<bool>,
    cut_off: watch::Receiver<bool>,
}

async fn accept(
    mut listener: Listener,
    mut shared: Arc<Shared>,
    mut configs: watch::Receiver<ServerConfig>,
    Stops { mut draining, mut cut_off }: Stops,
    mut beat: Beat,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            Some(_) = connections.join_next() => continue,
            () = beat.answer() => continue,
            Ok(()) = configs.changed() => {
                shared = Arc::new(shared.with(configs.borrow_and_update().clone()));
                continue;
            }
            _ = draining.wait_for(|&d| d) => break,
        };
        match stream {
            Ok(stream) => {
                #[cfg(feature = "tls")]
                let stream = begin(stream, &shared).await;
                admit(stream, &shared, &draining, &mut connections);
            }
            Err(error) => {
                if let Some(left_out) = shared.logs.accept.pass() {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                // Out of file descriptors, most likely: busy retries would not help.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop((listener, beat));
    let is_cut_off = tokio::select! {
        () = all_ended(&mut connections) => false,
        _ = cut_off.wait_for(|&cut_off| cut_off) => true,
    };
    if is_cut_off {
        connections.shutdown().await;
    }
}

/// A TLS handshake takes its place before the connection does: the one that makes room for it is gone then.
#[cfg(feature = "tls")]
async fn begin(stream: Stream, shared: &Shared) -> Stream {
    match (stream, &shared.tls) {
        (Stream::Tls(stream, None), Some(tls)) => Stream::Tls(stream, Some(tls.begin().await)),
        (stream, _) => stream,
    }
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
    match (stream, &*shared.handler) {
        (Stream::Tcp(stream), AnyHandler::Sync(_)) => connections.spawn(serve::<_, 1>(stream, open, draining)),
        (Stream::Unix(stream), AnyHandler::Sync(_)) => connections.spawn(serve::<_, 1>(stream, open, draining)),
        (Stream::Tcp(stream), AnyHandler::Async(_)) => {
            connections.spawn(serve::<_, MAX_IN_FLIGHT>(stream, open, draining))
        }
        (Stream::Unix(stream), AnyHandler::Async(_)) => {
            connections.spawn(serve::<_, MAX_IN_FLIGHT>(stream, open, draining))
        }
        #[cfg(feature = "tls")]
        (Stream::Tls(stream, handshake), AnyHandler::Sync(_)) => {
            connections.spawn(serve_tls::<1>(stream, handshake, open, draining))
        }
        #[cfg(feature = "tls")]
        (Stream::Tls(stream, handshake), AnyHandler::Async(_)) => {
            connections.spawn(serve_tls::<MAX_IN_FLIGHT>(stream, handshake, open, draining))
        }
    };
}
