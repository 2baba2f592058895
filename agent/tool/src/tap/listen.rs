//! Listening sockets.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use spop_agent::addr::{Addr, ListenAddr};
use spop_agent::socket_file::SocketFile;
use spop_agent::stop_signal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::say::say;

/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection in either direction.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket; a file of it goes with it.
pub(crate) struct Listener {
    socket: Socket,
    addr: String,
    _file: Option<SocketFile>,
    accepted: u64,
}

impl Listener {
    pub(crate) async fn bind(listen: &ListenAddr) -> Result<Self, Failure> {
        if listen.tls {
            return Err(Failure::Usage(format!("{listen}: there is no TLS here")));
        }
        let bound = match &listen.addr {
            Addr::Tcp(host) => TcpListener::bind(host).await.map(|socket| (Socket::Tcp(socket), None)),
            Addr::Unix(path) => {
                SocketFile::listen(path, &listen.access).map(|(socket, file)| (Socket::Unix(socket), Some(file)))
            }
            Addr::Abstract(name) => abstract_listener(&name.bytes()).map(|socket| (Socket::Unix(socket), None)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        let (socket, file) =
            bound.map_err(|error| Failure::Usage(format!("cannot listen on {}: {error}", listen.addr)))?;
        let addr = match &socket {
            Socket::Tcp(socket) => socket.local_addr()?.to_string(),
            Socket::Unix(_) => listen.addr.to_string(),
        };
        Ok(Listener { socket, addr, _file: file, accepted: 0 })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Serves connections, so many at once, until the process is told to stop or `over` is ready; gives those that are open then.
    pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        most: usize,
        (refused, over): (&AtomicU64, impl Future<Output = ()>),
        mut connection: impl FnMut(Box<dyn Connection>, String) -> F,
    ) -> Result<JoinSet<()>, Failure> {
        let stop = stop_signal()?;
        say(format_args!("listening addr={}, Ctrl-C ends it", self.addr));
        let mut connections = JoinSet::new();
        tokio::pin!(stop, over);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return Ok(connections),
                () = &mut over => return Ok(connections),
                Some(_) = connections.join_next() => continue,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(_) if connections.len() >= most => drop(refused.fetch_add(1, Relaxed)),
                Ok((stream, peer)) => drop(connections.spawn(connection(stream, peer))),
                // Too many files are open as a rule; some will be closed.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// The next connection and the peer's name.
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, String)> {
        self.accepted += 1;
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // A frame is sent by one write; to wait for more costs HAProxy time.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), peer.to_string()))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Box::new(stream), format!("unix:{}", self.accepted)))
            }
        }
    }
}

fn abstract_listener(name: &[u8]) -> io::Result<UnixListener> {
    let socket = net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name)?)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}
