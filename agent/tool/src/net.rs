//! Sockets that never block for longer than they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustls::ClientConnection;
use spop_agent::addr::Addr;

use crate::failure::Failure;
use crate::tls::Tls;

/// The longest time that an option takes; the clock could not hold any.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A time of an option.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match spop_agent::duration::parse(text)? {
        Duration::ZERO => Err("a time above 0 is needed".to_owned()),
        time if time > LONGEST => Err("longer than a year".to_owned()),
        time => Ok(time),
    }
}

/// A connected socket, non-blocking.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that never blocks, plain or with TLS.
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Connects, to the first address of a name that answers, and makes the TLS handshake if there is to be one; all of it in
    /// this time.
    pub(crate) fn connect(addr: &Addr, tls: Option<&Tls>, timeout: Duration) -> Result<Self, Failure> {
        let until = Instant::now() + timeout;
        let connected = match addr {
            Addr::Tcp(host) => connect_tcp(host, until).map(Socket::Tcp),
            Addr::Unix(path) => connect_unix(SocketAddrUnix::new(path)).map(Socket::Unix),
            Addr::Abstract(name) => connect_abstract(&name.bytes()).map(Socket::Unix),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        let failed = |error: io::Error| Failure::Connect { addr: addr.to_string(), reason: error.to_string() };
        let tls = tls.map(Tls::session).transpose()?.map(Box::new);
        let mut stream = Stream { socket: connected.map_err(failed)?, tls };
        if !stream.handshake(until).map_err(|error| Failure::Agent(format!("the TLS handshake failed: {error}")))? {
            let hint = ": does the address of the agent have ,tls?".to_owned();
            return Err(Failure::Timeout { awaited: "TLS handshake", limit: timeout, hint });
        }
        Ok(stream)
    }

    /// False if the time comes first.
    fn handshake(&mut self, until: Instant) -> io::Result<bool> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_handshaking()) {
            match tls.complete_io(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let write = self.wants_write();
                    if !self.wait(write, until)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(error.kind(), "the peer closed the connection; does it speak TLS?"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Holds TLS what the system did not take yet?
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Holds TLS what the next read will give?
    pub(crate) fn is_readable(&mut self) -> bool {
        let state = self.tls.as_mut().and_then(|tls| tls.process_new_packets().ok());
        state.is_some_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Waits until the socket can be read, or written if asked for; false if the time comes first.
    pub(crate) fn wait(&mut self, write: bool, until: Instant) -> io::Result<bool> {
        if !write && self.is_readable() {
            return Ok(true);
        }
        let flags = if write { PollFlags::OUT } else { PollFlags::IN };
        let this = &*self;
        let mut fds = [PollFd::new(this, flags)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match wait_for_any(&mut fds, left) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for any of the descriptors: how many are ready.
pub(crate) fn wait_for_any(fds: &mut [PollFd<'_>], limit: Duration) -> io::Result<usize> {
    // A limit that does not fit is longer than any run.
    let limit = Timespec::try_from(limit).ok();
    Ok(poll(fds, limit.as_ref())?)
}

fn connect_tcp(host: &str, until: Instant) -> io::Result<TcpStream> {
    let addresses = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            let name = host.to_owned();
            let asked = before(until, move || name.to_socket_addrs().map(Iterator::collect));
            asked
                .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time")))?
        }
    };
    let stream = connect_any(&addresses, until)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// What the work gives, unless the time comes first. The system's resolver takes as long as it likes.
fn before<T: Send + 'static>(until: Instant, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        // Nobody may wait any more.
        let _late = sender.send(work());
    });
    receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// The first that answers. Those that say nothing share the time, so that each has its turn.
fn connect_any(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        let time = until.saturating_duration_since(Instant::now()) / left;
        if time.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// To an abstract name; the stream is non-blocking, and so is this.
pub(crate) fn connect_abstract(name: &[u8]) -> io::Result<UnixStream> {
    connect_unix(SocketAddrUnix::new_abstract_name(name))
}

/// Not by the standard library: its connect waits without end while the listener's queue is full.
fn connect_unix(address: rustix::io::Result<SocketAddrUnix>) -> io::Result<UnixStream> {
    let address = address?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(socket.into()),
        Err(rustix::io::Errno::AGAIN) => {
            Err(io::Error::new(io::ErrorKind::WouldBlock, "the agent does not accept connections (its queue is full)"))
        }
        Err(error) => Err(error.into()),
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).read(buf),
            None => self.socket.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).write(buf),
            None => self.socket.write(buf),
        }
    }

    /// Gives the system what TLS holds.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).flush(),
            None => Ok(()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buf),
            Socket::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(buf),
            Socket::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A listener whose queue is full: the system answers nobody.
    fn silent() -> (OwnedFd, SocketAddr, Vec<TcpStream>) {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        let (mut filling, mut most) = (Vec::new(), 16);
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            filling.push(stream);
            most -= 1;
            assert!(most > 0, "the queue takes anybody");
        }
        (socket, address, filling)
    }

    #[test]
    fn addresses_that_say_nothing_share_the_time() {
        let (_socket, dead, _filling) = silent();
        let limit = Duration::from_millis(1500);
        let begin = Instant::now();
        let error = connect_any(&[dead; 3], begin + limit).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let took = begin.elapsed();
        assert!(took >= limit - Duration::from_millis(50) && took < 2 * limit, "{took:?}");

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let begin = Instant::now();
        let stream = connect_any(&[dead, dead, alive], begin + limit).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
        assert_eq!(connect_any(&[], begin + limit).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(connect_any(&[alive], begin).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn nobody_waits_for_a_resolver_that_hangs() {
        let (hold, held) = mpsc::channel::<()>();
        let begin = Instant::now();
        assert_eq!(before(begin + Duration::from_millis(100), move || held.recv().is_err()), None);
        assert!(begin.elapsed() < Duration::from_secs(10));
        drop(hold);
        assert_eq!(before(Instant::now() + Duration::from_secs(10), || 7), Some(7));
    }
}
