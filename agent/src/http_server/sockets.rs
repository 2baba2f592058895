//! The sockets that a server listens on.

use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

/// One, or as many as were passed.
pub(crate) struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Listens on an address.
    pub(crate) async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self(vec![TcpListener::bind(addr).await?]))
    }

    /// Those that listen already.
    pub(crate) fn passed(sockets: Vec<net::TcpListener>) -> io::Result<Self> {
        let listener = |socket: net::TcpListener| {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        sockets.into_iter().map(listener).collect::<io::Result<_>>().map(Self)
    }

    /// Their real addresses, with the ports that the system chose for port 0.
    pub(crate) fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }

    /// The next connection of any of them. One task alone may wait for it.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            let ready = self.0.iter().map(|socket| socket.poll_accept(cx)).find(Poll::is_ready);
            ready.unwrap_or(Poll::Pending)
        })
        .await
    }
}
