//! TCP and unix listeners behind one face.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::addr::Addr;

/// A listening socket; a unix one removes its file at the end.
pub(super) struct Listener {
    socket: Socket,
    addr: Addr,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn bind(addr: &Addr) -> io::Result<Self> {
        match addr {
            Addr::Tcp(host) => {
                let socket = TcpListener::bind(host).await?;
                let addr = Addr::Tcp(socket.local_addr()?.to_string());
                Ok(Listener { socket: Socket::Tcp(socket), addr })
            }
            Addr::Unix(path) => {
                remove_stale(path).await?;
                let socket = UnixListener::bind(path)?;
                Ok(Listener { socket: Socket::Unix(socket), addr: addr.clone() })
            }
        }
    }

    pub(super) fn addr(&self) -> &Addr {
        &self.addr
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
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

impl Drop for Listener {
    fn drop(&mut self) {
        if let Addr::Unix(path) = &self.addr {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove the socket");
            }
        }
    }
}

/// Removes the socket of a process that is gone; one that is alive, or another kind of file, stays and fails the bind.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
