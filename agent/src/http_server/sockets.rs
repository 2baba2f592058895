//! The sockets that a server listens on.

use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

/// One, or as many as were passed.
pub(crate) struct Sockets {
    listeners: Vec<TcpListener>,
    /// Whose turn it is.
    next: AtomicUsize,
}

impl Sockets {
    /// Listens on an address.
    pub(crate) async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::of(vec![TcpListener::bind(addr).await?]))
    }

    fn of(listeners: Vec<TcpListener>) -> Self {
        Self { listeners, next: AtomicUsize::default() }
    }

    /// Those that listen already.
    pub(crate) fn passed(sockets: Vec<net::TcpListener>) -> io::Result<Self> {
        let listener = |socket: net::TcpListener| {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        sockets.into_iter().map(listener).collect::<io::Result<_>>().map(Self::of)
    }

    /// Their real addresses, with the ports that the system chose for port 0.
    pub(crate) fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// The next connection of any of them. One task alone may wait for it.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            let (earlier, later) = self.listeners.split_at(self.next.load(Relaxed) % self.listeners.len().max(1));
            for socket in later.iter().chain(earlier) {
                // One that has always somebody waiting leaves room for the others.
                self.next.fetch_add(1, Relaxed);
                let accepted = socket.poll_accept(cx);
                if accepted.is_ready() {
                    return accepted;
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_socket_has_its_turn() {
        let passed = [(); 3].map(|()| net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addrs = passed.each_ref().map(|socket| socket.local_addr().unwrap());
        let sockets = Sockets::passed(passed.into()).unwrap();
        // At the second one nobody waits.
        let waiting: Vec<_> =
            [0, 0, 0, 0, 2, 2].iter().map(|&n: &usize| net::TcpStream::connect(addrs[n]).unwrap()).collect();
        let mut accepted = Vec::new();
        for _ in &waiting {
            let (stream, _) = sockets.accept().await.unwrap();
            accepted.push(addrs.iter().position(|addr| *addr == stream.local_addr().unwrap()).unwrap());
        }
        // It may take a while until the first one is known to be ready.
        accepted[..4].sort_unstable();
        assert_eq!(accepted[..4], [0, 0, 2, 2]);
        assert_eq!(accepted[4..], [0, 0]);
    }
}
