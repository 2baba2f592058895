//! Addresses as every option of this package takes them: `host:port`, `tcp://host:port`, `unix:/path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen or to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// TCP, `host:port`; an IPv6 host stands in brackets. Names are resolved when the address is used.
    Tcp(String),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// What is wrong with the text of an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// No `:port` at the end.
    #[error("{0:?} has no port: write host:port, tcp://host:port or unix:/path")]
    NoPort(String),
    /// The port is not a number of 16 bits.
    #[error("{0:?} is not a port (0 to 65535)")]
    BadPort(String),
    /// Nothing before the port, or an IPv6 address without brackets.
    #[error("{0:?} is not a host: write a name, an IPv4 address or an IPv6 address in brackets")]
    BadHost(String),
    /// `unix:` without a path.
    #[error("unix: needs a path, as in unix:/run/spoa.sock")]
    NoPath,
}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(AddrError::NoPath) } else { Ok(Addr::Unix(path.into())) };
        }
        let tcp = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = tcp.rsplit_once(':').ok_or_else(|| AddrError::NoPort(text.into()))?;
        if port.parse::<u16>().is_err() {
            return Err(AddrError::BadPort(port.into()));
        }
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains('/') || (host.contains(':') && !bracketed) {
            return Err(AddrError::BadHost(host.into()));
        }
        Ok(Addr::Tcp(tcp.into()))
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(addr) => f.write_str(addr),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, shown) in [
            ("127.0.0.1:7000", "127.0.0.1:7000"),
            ("tcp://localhost:0", "localhost:0"),
            ("[::1]:7000", "[::1]:7000"),
            ("unix:/run/spoa.sock", "unix:/run/spoa.sock"),
            ("unix:///run/spoa.sock", "unix:/run/spoa.sock"),
        ] {
            assert_eq!(text.parse::<Addr>().map(|a| a.to_string()).as_deref(), Ok(shown));
        }
        assert_eq!("localhost".parse::<Addr>(), Err(AddrError::NoPort("localhost".into())));
        assert_eq!("localhost:70000".parse::<Addr>(), Err(AddrError::BadPort("70000".into())));
        assert_eq!("::1:7000".parse::<Addr>(), Err(AddrError::BadHost("::1".into())));
        assert_eq!(":7000".parse::<Addr>(), Err(AddrError::BadHost("".into())));
        assert_eq!("http://x:1".parse::<Addr>(), Err(AddrError::BadHost("http://x".into())));
        assert_eq!("unix:".parse::<Addr>(), Err(AddrError::NoPath));
    }
}
