//! Where log lines come in: UDP, unix datagrams, TCP.
//!
//! Whoever may send here may tell of requests that never were: nothing beyond loopback is listened on unless it is said who
//! may, and only those are heard.

mod addr;
mod allow;
mod config;
mod connection;
mod datagram;
mod error;
mod framing;
mod intake;
mod peers;
mod stats;
mod tcp;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spop_agent::addr::Access;
use spop_agent::tls::TlsAcceptor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub use addr::{LogAddr, LogAddrError};
use allow::AllowList;
pub use allow::{Allowed, AllowedError};
pub use config::ListenerConfig;
use datagram::{DatagramSocket, Reader};
use error::is_loopback;
pub use error::{ListenCause, ListenError};
use intake::{Intake, Logs};
pub use stats::{ListenerSnapshot, ListenerStats};
use tcp::{LAST_STEP, Limits, TcpLines, TcpSocket};
use thread::LineThread;

use super::LineSink;
use crate::passed::{LineSocket, PassedSockets};
use crate::worker::deadline_after;

/// The listeners at work.
pub struct Listeners {
    addrs: Vec<LogAddr>,
    readers: Vec<Reader>,
    tcp: Vec<TcpLines>,
    /// Which serves those, if there are any.
    _thread: Option<LineThread>,
    acceptor: Option<Arc<TlsAcceptor>>,
    limits: watch::Sender<Limits>,
    stop: watch::Sender<Option<Instant>>,
    stats: Arc<ListenerStats>,
}

enum Bound {
    Datagrams(DatagramSocket),
    Tcp(TcpSocket),
}

impl Listeners {
    /// Listens on all addresses and gives each line to `sink`: those of datagrams from a thread for each socket, those of
    /// connections from one thread. To be called on a Tokio runtime. An address may be the name of `passed` sockets, which
    /// are taken from there.
    ///
    /// # Errors
    /// An address is beyond loopback and nobody is allowed to send, is in use, or not of this host; no sockets were passed
    /// under a name, or some that cannot be used.
    pub async fn bind(
        config: ListenerConfig,
        passed: &mut PassedSockets,
        sink: Arc<dyn LineSink>,
    ) -> Result<Self, ListenError> {
        let (limits, present) = watch::channel(Limits::new(&config));
        let ListenerConfig { listen, allow, recv_buffer, max_connections, tls, .. } = config;
        let stats = Arc::<ListenerStats>::default();
        let allowed = AllowList::new(allow);
        let (mut addrs, mut bound) = (Vec::new(), Vec::new());
        for addr in listen {
            let failed = |cause: ListenCause| ListenError { addr: addr.clone(), cause };
            if addr.has_tls() && tls.is_none() {
                return Err(failed(ListenCause::NoCertificate));
            }
            for (socket, real) in bind(&addr, passed, recv_buffer, &allowed).await.map_err(failed)? {
                bound.push((socket, addr.clone()));
                addrs.push(real);
            }
        }
        let intake = Arc::new(Intake { sink, allowed, stats: stats.clone(), logs: Logs::default() });
        let acceptor = tls.map(|tls| Arc::new(TlsAcceptor::new(tls, "log", max_connections, stats.tls().clone())));
        let (stop, stopped) = watch::channel(None);
        let (mut readers, mut tcp, mut thread) = (Vec::new(), Vec::new(), None);
        for (socket, addr) in bound {
            match socket {
                Bound::Datagrams(socket) => {
                    let reader = Reader::start(socket, intake.clone());
                    readers.push(reader.map_err(|error| ListenError { addr, cause: error.into() })?);
                }
                Bound::Tcp(socket) => {
                    let acceptor = acceptor.clone().filter(|_| addr.has_tls());
                    let failed = |error: io::Error| ListenError { addr: addr.clone(), cause: error.into() };
                    let thread = match &mut thread {
                        Some(thread) => thread,
                        none => none.insert(LineThread::start().map_err(failed)?),
                    };
                    let listener =
                        TcpLines::start(socket, thread, acceptor, present.clone(), intake.clone(), stopped.clone());
                    tcp.push(listener.map_err(failed)?);
                }
            }
        }
        Ok(Self { addrs, readers, tcp, _thread: thread, acceptor, limits, stop, stats })
    }

    /// Other bounds, for the connections that begin from now on. Addresses, who may send, and what the system holds of
    /// datagrams stay. To be called by one at a time, on a Tokio runtime.
    pub fn reconfigure(&self, config: &ListenerConfig) {
        self.limits.send_modify(|limits| *limits = limits.with(config));
        if let Some(acceptor) = &self.acceptor {
            acceptor.set_max_connections(config.max_connections);
        }
    }

    /// Where lines are taken, with the ports that the system chose for port 0.
    pub fn addrs(&self) -> &[LogAddr] {
        &self.addrs
    }

    /// The counters; they live on after the listeners.
    pub fn stats(&self) -> Arc<ListenerStats> {
        self.stats.clone()
    }

    /// Takes what has arrived, for at most `grace`, and ends. To be called before the sink's spans are exported for the last
    /// time.
    pub async fn shutdown(self, grace: Duration) {
        let deadline = deadline_after(grace);
        self.readers.iter().for_each(|reader| reader.stop(deadline.into_std()));
        self.stop.send_replace(Some(deadline));
        for listener in &self.tcp {
            listener.ended(deadline).await;
        }
        while !self.readers.iter().all(Reader::is_finished) && Instant::now() < deadline + LAST_STEP {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Listens on a socket that was passed; gives the real address, too.
fn listen_on(
    socket: LineSocket,
    tls: bool,
    recv_buffer: usize,
    allowed: &AllowList,
) -> Result<(Bound, LogAddr), ListenCause> {
    if tls && !matches!(socket, LineSocket::Tcp(_)) {
        return Err(
            io::Error::new(io::ErrorKind::InvalidInput, "TLS is for TCP, and this socket is another one").into()
        );
    }
    Ok(match socket {
        LineSocket::Tcp(socket) => {
            let addr = socket.local_addr()?;
            admit(&[addr], allowed)?;
            socket.set_nonblocking(true)?;
            (Bound::Tcp(TcpSocket { listener: socket, is_passed: true }), LogAddr::tcp(addr, tls))
        }
        LineSocket::Udp(socket) => {
            let addr = socket.local_addr()?;
            admit(&[addr], allowed)?;
            let socket = DatagramSocket::passed_udp(socket, recv_buffer)?;
            (Bound::Datagrams(socket), LogAddr::Udp(addr.to_string()))
        }
        LineSocket::Unix(socket) => {
            let path = socket.local_addr()?.as_pathname().map(Into::into).unwrap_or_default();
            let socket = DatagramSocket::passed_unix(socket)?;
            (Bound::Datagrams(socket), LogAddr::Unix(path, Access::default()))
        }
    })
}

/// Whether lines may be taken there.
fn admit(addrs: &[SocketAddr], allowed: &AllowList) -> Result<(), ListenCause> {
    match addrs.iter().find(|addr| allowed.is_empty() && !is_loopback(addr)) {
        Some(beyond) => Err(ListenCause::BeyondLoopback(*beyond)),
        None => Ok(()),
    }
}

/// Listens on an address; gives the real ones, too.
async fn bind(
    addr: &LogAddr,
    passed: &mut PassedSockets,
    recv_buffer: usize,
    allowed: &AllowList,
) -> Result<Vec<(Bound, LogAddr)>, ListenCause> {
    let host = match addr {
        LogAddr::Passed(name) => {
            let sockets = passed.lines(name).map_err(Box::new)?.into_iter();
            return sockets.map(|socket| listen_on(socket, name.tls(), recv_buffer, allowed)).collect();
        }
        LogAddr::Unix(path, access) => {
            return Ok(vec![(Bound::Datagrams(DatagramSocket::unix(path, access)?), addr.clone())]);
        }
        LogAddr::Udp(host) | LogAddr::Tcp(host) | LogAddr::Tls(host) => host,
    };
    let addrs: Vec<_> = tokio::net::lookup_host(host).await?.collect();
    admit(&addrs, allowed)?;
    if let LogAddr::Tcp(_) | LogAddr::Tls(_) = addr {
        let listener = TcpListener::bind(&addrs[..]).await?;
        let real = LogAddr::tcp(listener.local_addr()?, addr.has_tls());
        let socket = TcpSocket { listener: listener.into_std()?, is_passed: false };
        return Ok(vec![(Bound::Tcp(socket), real)]);
    }
    let socket = DatagramSocket::udp(&addrs, recv_buffer)?;
    let real = socket.local_addr()?.map_or_else(|| addr.clone(), |real| LogAddr::Udp(real.to_string()));
    Ok(vec![(Bound::Datagrams(socket), real)])
}
