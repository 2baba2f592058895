//! Listening sockets.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use spop_agent::addr::{Addr, ListenAddr};
use spop_agent::socket_file::SocketFile;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::failure::Failure;

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

    /// The next connection and the peer's name.
    pub(crate) async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, String)> {
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
