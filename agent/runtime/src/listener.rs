//! TCP and unix listeners behind one face.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::addr::{Addr, ListenAddr};
use crate::socket_file::SocketFile;
#[cfg(feature = "tls")]
use crate::tls::Handshake;

/// A socket that somebody else made listen: the service manager, or the process that this one replaces. Its file, if it has
/// one, is theirs, and stays at the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListeningSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix stream socket.
    Unix(net::UnixListener),
    /// TCP, over which TLS is spoken.
    #[cfg(feature = "tls")]
    Tls(std::net::TcpListener),
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
    #[cfg(feature = "tls")]
    Tls(TcpListener),
}

/// An accepted connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// TLS is to be spoken over it, once there is a place for the handshake.
    #[cfg(feature = "tls")]
    Tls(TcpStream, Option<Handshake>),
}

impl Listener {
    pub(crate) async fn bind(ListenAddr { addr, access, tls }: &ListenAddr) -> io::Result<Self> {
        let (socket, addr, _file) = match addr {
            Addr::Tcp(host) => {
                let socket = TcpListener::bind(host).await?;
                let addr = Addr::Tcp(socket.local_addr()?.to_string());
                (tcp(socket, *tls), addr, None)
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
        let of_tcp = |socket: std::net::TcpListener, tls| {
            socket.set_nonblocking(true)?;
            let addr = Addr::Tcp(socket.local_addr()?.to_string());
            io::Result::Ok((tcp(TcpListener::from_std(socket)?, tls), addr))
        };
        let (socket, addr) = match socket {
            ListeningSocket::Tcp(socket) => of_tcp(socket, false)?,
            #[cfg(feature = "tls")]
            ListeningSocket::Tls(socket) => of_tcp(socket, true)?,
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
            Socket::Tcp(socket) => Ok(Stream::Tcp(accept(socket).await?)),
            Socket::Unix(socket) => Ok(Stream::Unix(socket.accept().await?.0)),
            #[cfg(feature = "tls")]
            Socket::Tls(socket) => Ok(Stream::Tls(accept(socket).await?, None)),
        }
    }
}

/// Without the feature nobody asks for TLS.
fn tcp(socket: TcpListener, tls: bool) -> Socket {
    match tls {
        #[cfg(feature = "tls")]
        true => Socket::Tls(socket),
        _ => Socket::Tcp(socket),
    }
}

async fn accept(socket: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            #[cfg(feature = "tls")]
            Self::Tls(stream, _) => stream.as_fd(),
        }
    }
}
