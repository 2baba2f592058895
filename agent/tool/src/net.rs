//! Sockets that never block for longer than they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spop_agent::addr::Addr;

use crate::failure::Failure;

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
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects, to the first address of a name that answers.
    pub(crate) fn connect(addr: &Addr, timeout: Duration) -> Result<Self, Failure> {
        let connected = match addr {
            Addr::Tcp(host) => connect_tcp(host, timeout).map(Stream::Tcp),
            Addr::Unix(path) => {
                SocketAddrUnix::new(path).map_err(io::Error::from).and_then(connect_unix).map(Stream::Unix)
            }
            Addr::Abstract(name) => SocketAddrUnix::new_abstract_name(&name.bytes())
                .map_err(io::Error::from)
                .and_then(connect_unix)
                .map(Stream::Unix),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        connected.map_err(|error| Failure::Connect { addr: addr.to_string(), reason: error.to_string() })
    }

    /// Waits until the socket can be read, or written if asked for; false if the time comes first.
    pub(crate) fn wait(&self, write: bool, until: Instant) -> io::Result<bool> {
        let flags = if write { PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(self, flags)];
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
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buf),
            Stream::Unix(stream) => (&*stream).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(buf),
            Stream::Unix(stream) => (&*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
