//! Where log lines are taken, as the option says it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use spop_agent::addr::{Access, Addr, AddrError, ListenAddr};

use crate::passed::{self, NameError, PassedName};

/// Where HAProxy sends its log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogAddr {
    /// Datagrams over UDP, to `host:port`.
    Udp(String),
    /// Datagrams to a unix socket, of those that may.
    Unix(PathBuf, Access),
    /// Connections over TCP, to `host:port`.
    Tcp(String),
    /// The same with TLS.
    Tls(String),
    /// To the sockets that systemd passed under this name.
    Passed(PassedName),
}

/// What is wrong with the text of such an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogAddrError {
    /// It does not say over what.
    #[error("{0:?} is not udp://host:port, unix:/path (datagrams), tcp://host:port[,tls] or systemd:NAME[,tls]")]
    Form(String),
    /// TLS for datagrams.
    #[error("{0:?}: TLS is for tcp://host:port only")]
    TlsWithoutTcp(String),
    /// What follows is no host, port, path, or option of a path.
    #[error(transparent)]
    Addr(#[from] AddrError),
    /// What follows is no name of passed sockets.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl LogAddr {
    pub(super) fn tcp(addr: SocketAddr, tls: bool) -> Self {
        if tls { Self::Tls(addr.to_string()) } else { Self::Tcp(addr.to_string()) }
    }

    /// Whether TLS is to be spoken there.
    pub fn has_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Passed(name) => name.tls(),
            Self::Udp(_) | Self::Unix(..) | Self::Tcp(_) => false,
        }
    }
}

impl FromStr for LogAddr {
    type Err = LogAddrError;

    fn from_str(text: &str) -> Result<Self, LogAddrError> {
        let form = || LogAddrError::Form(text.to_owned());
        let host = |host: &str| match host.parse::<Addr>() {
            Ok(Addr::Tcp(host)) => Ok(host),
            Ok(_) | Err(AddrError::NoPort(_)) => Err(form()),
            Err(error) => Err(error.into()),
        };
        if let Some(name) = text.strip_prefix(passed::PREFIX) {
            return Ok(Self::Passed(PassedName::new(name)?));
        }
        let without_tls = text.strip_suffix(",tls");
        if let Some(rest) = without_tls.and_then(|text| text.strip_prefix("tcp://")) {
            return host(rest).map(Self::Tls);
        }
        if without_tls.is_some_and(|text| text.starts_with("udp://") || text.starts_with("unix")) {
            return Err(LogAddrError::TlsWithoutTcp(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("udp://") {
            return host(rest).map(Self::Udp);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return host(rest).map(Self::Tcp);
        }
        if !text.starts_with("unix") {
            return Err(form());
        }
        match text.parse()? {
            ListenAddr { addr: Addr::Unix(path), access, .. } => Ok(Self::Unix(path, access)),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for LogAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "udp://{host}"),
            Self::Unix(path, _) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Tls(host) => write!(f, "tcp://{host},tls"),
            Self::Passed(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, shown) in [
            ("udp://127.0.0.1:5140", "udp://127.0.0.1:5140"),
            ("udp://:5140", "udp://0.0.0.0:5140"),
            ("udp://[::1]:0", "udp://[::1]:0"),
            ("tcp://localhost:601", "tcp://localhost:601"),
            ("tcp://:6514,tls", "tcp://0.0.0.0:6514,tls"),
            ("unix:/run/log.sock", "unix:/run/log.sock"),
            ("unix@/run/log.sock,mode=660,group=haproxy", "unix:/run/log.sock"),
            ("systemd:log", "systemd:log"),
        ] {
            assert_eq!(text.parse::<LogAddr>().map(|addr| addr.to_string()).as_deref(), Ok(shown));
        }
        let LogAddr::Unix(_, access) = "unix:/x,mode=620".parse().unwrap() else { panic!() };
        assert_eq!(access.mode, Some(0o620));
        for text in [
            "",
            "127.0.0.1:5140",
            "unix.example:5140",
            "udp://",
            "udp://127.0.0.1",
            "udp://unix:/x",
            "udp@127.0.0.1:1",
            "tcp://abns@x",
            "abns@x",
        ] {
            let error = text.parse::<LogAddr>().unwrap_err();
            assert_eq!(error, LogAddrError::Form(text.to_owned()));
            assert!(error.to_string().contains("udp://host:port"), "{error}");
        }
        for (text, said) in [
            ("udp://127.0.0.1:x", "not a port"),
            ("tcp://::1:5140", "in brackets"),
            ("unix:", "needs a path"),
            ("unix:/x,mode=rw", "mode=660"),
            ("udp://127.0.0.1:5140,tls", "TLS is for tcp://"),
            ("unix:/x,tls", "TLS is for tcp://"),
            ("tcp://127.0.0.1:6514,tsl", "not a port"),
            ("systemd:", "FileDescriptorName="),
        ] {
            let error = text.parse::<LogAddr>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
