//! TCP and unix listeners behind one face.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::addr::{Addr, ListenAddr};
use crate::socket_file::SocketFile;

/// A socket that somebody else made listen: the service manager, or the process that this one replaces. Its file, if it has
/// one, is theirs, and stays at the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListeningSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix stream socket.
    Unix(net::UnixListener),
}

impl From<std::net::TcpListener> for ListeningSocket {
    fn from(socket: std::net::TcpListener) -> Self {
        Self::Tcp(socket)
    }
}

impl From<net::UnixListener> for ListeningSocket {
    fn from(socket: net::UnixListener) -> Self {
        Self::Unix(socket)
    }
}

/// A listening socket.
pub(crate) struct Listener {
    socket: Socket,
    addr: Addr,
    /// Removed at the end.
    _file: Option<SocketFile>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(crate) async fn bind(ListenAddr { addr, access }: &ListenAddr) -> io::Result<Self> {
        let (socket, addr, _file) = match addr {
            Addr::Tcp(host) => {
                let socket = TcpListener::bind(host).await?;
                let addr = Addr::Tcp(socket.local_addr()?.to_string());
                (Socket::Tcp(socket), addr, None)
            }
            Addr::Unix(path) => {
                let (socket, file) = SocketFile::listen(path, access)?;
                (Socket::Unix(socket), addr.clone(), Some(file))
            }
            Addr::Abstract(name) => {
                let socket = net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name.bytes())?)?;
                socket.set_nonblocking(true)?;
                (Socket::Unix(UnixListener::from_std(socket)?), addr.clone(), None)
            }
        };
        Ok(Self { socket, addr, _file })
    }

    pub(crate) fn of(socket: ListeningSocket) -> io::Result<Self> {
        let (socket, addr) = match socket {
            ListeningSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                let addr = Addr::Tcp(socket.local_addr()?.to_string());
                (Socket::Tcp(TcpListener::from_std(socket)?), addr)
            }
            ListeningSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let addr = Addr::of_unix(&socket.local_addr()?);
                (Socket::Unix(UnixListener::from_std(socket)?), addr)
            }
        };
        Ok(Self { socket, addr, _file: None })
    }

    pub(crate) fn addr(&self) -> &Addr {
        &self.addr
    }

    pub(crate) async fn accept(&mut self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Socket::Unix(socket) => Ok(Stream::Unix(socket.accept().await?.0)),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
