//! The sockets themselves.

use std::env;
use std::iter;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};

use listenfd::ListenFd;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use spop_agent::ListeningSocket;

use super::name::PassedName;

/// The names, separated by colons, as systemd tells them.
const NAMES: &str = "LISTEN_FDNAMES";

/// What a socket without a name is called, as in systemd's own library.
const UNNAMED: &str = "unknown";

/// A socket that was passed and that log lines can come in by.
#[derive(Debug)]
#[non_exhaustive]
pub enum LineSocket {
    /// Over TCP; it listens.
    Tcp(TcpListener),
    /// In datagrams.
    Udp(UdpSocket),
    /// In datagrams of this host.
    Unix(UnixDatagram),
}

/// Why there are no sockets under a name, or not such ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassedError {
    /// None at all.
    #[error(
        "systemd passed no sockets to this process. Start its socket units first (systemctl start), with Service= in them or \
         Sockets= in the service; or give an address to listen on instead"
    )]
    Nothing,
    /// None of this name.
    #[error("systemd passed no socket named {name:?}, but {came}: the name is FileDescriptorName= in the socket unit")]
    Unknown {
        /// That is asked for.
        name: String,
        /// Those that there are.
        came: String,
    },
    /// Another place takes them.
    #[error("the sockets named {0:?} are taken by another option already")]
    Taken(String),
    /// Another type of socket.
    #[error("systemd passed {kind} under the name {name:?}, where {wanted} are wanted")]
    Kind {
        /// Of the socket.
        name: String,
        /// What it is.
        kind: &'static str,
        /// What could be used.
        wanted: &'static str,
    },
}

/// What a descriptor is.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
    UnixDatagram(UnixDatagram),
    Other,
}

impl Socket {
    fn take(passed: &mut ListenFd, index: usize) -> Self {
        let listens = |socket: &dyn AsFd| getsockopt(&socket.as_fd(), AcceptConn).unwrap_or(false);
        // A socket is one of them; what it is not gives an error.
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            if listens(&socket) { Self::Tcp(socket) } else { Self::Other }
        } else if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            if listens(&socket) { Self::Unix(socket) } else { Self::Other }
        } else if let Ok(Some(socket)) = passed.take_udp_socket(index) {
            Self::Udp(socket)
        } else if let Ok(Some(socket)) = passed.take_unix_datagram(index) {
            Self::UnixDatagram(socket)
        } else {
            Self::Other
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "a TCP socket",
            Self::Unix(_) => "a unix stream socket",
            Self::Udp(_) => "a UDP socket",
            Self::UnixDatagram(_) => "a unix datagram socket",
            Self::Other => "what is no listening socket (a connection, as by Accept=yes, or a file)",
        }
    }
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// `None` once it is taken.
    socket: Option<Socket>,
}

/// All sockets that were passed and are not taken yet.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<Entry>);

impl PassedSockets {
    /// Those of the environment: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`. The first two are removed from it, without
    /// which the third has no meaning, and no child inherits a socket. To be called once, before there are threads.
    pub fn from_env() -> Self {
        let mut passed = ListenFd::from_env();
        let count = passed.len();
        let names = env::var(NAMES).unwrap_or_default();
        let names = names.split(':').map(|name| if name.is_empty() { UNNAMED } else { name });
        let entry = |(index, name): (usize, &str)| {
            let socket = Some(Socket::take(&mut passed, index));
            Entry { name: name.to_owned(), socket }
        };
        Self(names.chain(iter::repeat(UNNAMED)).take(count).enumerate().map(entry).collect())
    }

    /// The stream sockets of this name.
    ///
    /// # Errors
    /// There are none, or others.
    pub fn streams(&mut self, name: &PassedName) -> Result<Vec<ListeningSocket>, PassedError> {
        self.take(name, "stream sockets (ListenStream=)", |socket| match socket {
            Socket::Tcp(socket) => Some(socket.into()),
            Socket::Unix(socket) => Some(socket.into()),
            _ => None,
        })
    }

    /// The TCP sockets of this name.
    ///
    /// # Errors
    /// There are none, or others.
    pub fn tcp(&mut self, name: &PassedName) -> Result<Vec<TcpListener>, PassedError> {
        self.take(name, "TCP sockets (ListenStream= with a port)", |socket| match socket {
            Socket::Tcp(socket) => Some(socket),
            _ => None,
        })
    }

    /// The sockets of this name for log lines.
    ///
    /// # Errors
    /// There are none, or others.
    pub fn lines(&mut self, name: &PassedName) -> Result<Vec<LineSocket>, PassedError> {
        let wanted = "datagram sockets (ListenDatagram=) or TCP sockets (ListenStream= with a port)";
        self.take(name, wanted, |socket| match socket {
            Socket::Tcp(socket) => Some(LineSocket::Tcp(socket)),
            Socket::Udp(socket) => Some(LineSocket::Udp(socket)),
            Socket::UnixDatagram(socket) => Some(LineSocket::Unix(socket)),
            _ => None,
        })
    }

    fn take<T>(
        &mut self,
        name: &PassedName,
        wanted: &'static str,
        convert: impl Fn(Socket) -> Option<T>,
    ) -> Result<Vec<T>, PassedError> {
        let name = name.as_str();
        if self.0.is_empty() {
            return Err(PassedError::Nothing);
        }
        if self.0.iter().all(|entry| entry.name != name) {
            return Err(PassedError::Unknown { name: name.to_owned(), came: self.names(|_| true) });
        }
        let mut sockets = Vec::new();
        for socket in self.0.iter_mut().filter(|entry| entry.name == name).filter_map(|entry| entry.socket.take()) {
            let kind = socket.kind();
            sockets.push(convert(socket).ok_or_else(|| PassedError::Kind { name: name.to_owned(), kind, wanted })?);
        }
        if sockets.is_empty() { Err(PassedError::Taken(name.to_owned())) } else { Ok(sockets) }
    }

    /// The names of those that nobody took; empty if there are none.
    pub fn unused(&self) -> String {
        self.names(|entry| entry.socket.is_some())
    }

    fn names(&self, of: impl Fn(&Entry) -> bool) -> String {
        let mut names: Vec<_> =
            self.0.iter().filter(|entry| of(entry)).map(|entry| format!("{:?}", entry.name)).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    }
}
