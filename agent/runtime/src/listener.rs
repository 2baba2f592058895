//! TCP and unix listeners behind one face.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::addr::{Addr, ListenAddr};
use crate::socket_file::SocketFile;

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
