//! Sockets that never block for longer than they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
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
    /// Connects, to the first address of a name that answers, and makes the TLS handshake if there is to be one.
    pub(crate) fn connect(addr: &Addr, tls: Option<&Tls>, timeout: Duration) -> Result<Self, Failure> {
        let until = Instant::now() + timeout;
        let connected = match addr {
            Addr::Tcp(host) => connect_tcp(host, timeout).map(Socket::Tcp),
            Addr::Unix(path) => {
                SocketAddrUnix::new(path).map_err(io::Error::from).and_then(connect_unix).map(Socket::Unix)
            }
            Addr::Abstract(name) => SocketAddrUnix::new_abstract_name(&name.bytes())
                .map_err(io::Error::from)
                .and_then(connect_unix)
                .map(Socket::Unix),
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

fn connect_tcp(host: &str, timeout: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = host.to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Not by the standard library: its connect waits without end while the listener's queue is full.
fn connect_unix(address: SocketAddrUnix) -> io::Result<UnixStream> {
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
