//! Addresses as every option of this package takes them, and as HAProxy writes them: `host:port`, `tcp://host:port`,
//! `unix:/path` or `unix@/path`, and the abstract sockets `abns@name` and `abnsz@name`.

use std::fmt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen or to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addr {
    /// TCP, `host:port`; an IPv6 host stands in brackets. Names are resolved when the address is used.
    Tcp(String),
    /// A unix stream socket.
    Unix(PathBuf),
    /// A unix stream socket with a name that is in no file system.
    Abstract(AbstractName),
}

/// The name of an abstract socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AbstractName {
    name: String,
    /// Filled up with zeros to the longest possible, as `abns@` of HAProxy does.
    padded: bool,
}

/// The longest name of an abstract socket.
const LONGEST: usize = 107;

impl AbstractName {
    fn new(name: &str, padded: bool) -> Result<Self, AddrError> {
        match name.len() {
            1..=LONGEST if !name.contains('\0') => Ok(Self { name: name.to_owned(), padded }),
            _ => Err(AddrError::BadName(name.to_owned())),
        }
    }

    /// Of the name as the kernel knows it.
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let padded = bytes.len() == LONGEST && text.ends_with('\0');
        Self { name: text.trim_end_matches('\0').to_owned(), padded }
    }

    /// The name as the kernel knows it, behind the byte 0.
    pub fn bytes(&self) -> Vec<u8> {
        let mut name = self.name.clone().into_bytes();
        if self.padded {
            name.resize(LONGEST, 0);
        }
        name
    }
}

/// What is wrong with the text of an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddrError {
    /// No `:port` at the end.
    #[error("{0:?} has no port: write host:port, tcp://host:port, unix:/path or abns@name")]
    NoPort(String),
    /// The port is not a number of 16 bits.
    #[error("{0:?} is not a port (0 to 65535)")]
    BadPort(String),
    /// Nothing of a host before the port, or an IPv6 address without brackets.
    #[error(
        "{0:?} is not a host: write a name, an IPv4 address, an IPv6 address in brackets, or nothing for all of IPv4"
    )]
    BadHost(String),
    /// `unix:` without a path.
    #[error("{0:?} needs a path, as in unix:/run/spoa.sock")]
    NoPath(String),
    /// `unix:@name`.
    #[error(
        "{0:?} would be a file of this name: for an abstract socket write abns@{1}, as in HAProxy, for the file unix:./@{1}"
    )]
    AtSign(String, String),
    /// The name of an abstract socket is empty or too long.
    #[error("{0:?} is not the name of an abstract socket: 1 to 107 bytes")]
    BadName(String),
    /// What stands behind the path of a unix socket.
    #[error("{0:?} is no option of a unix socket: there are mode=660 (octal), user=NAME and group=NAME, after commas")]
    BadOption(String),
    /// What stands behind the port.
    #[error("{0:?} is no option of a TCP address: there is tls, after a comma")]
    BadTcpOption(String),
    /// TLS at a unix socket.
    #[error("{0:?}: TLS is for TCP; who may connect to a unix socket is said by mode=660, user=NAME and group=NAME")]
    TlsAtUnix(String),
}

impl Addr {
    /// That of a unix socket; the path is empty if it has none.
    pub(crate) fn of_unix(addr: &net::SocketAddr) -> Self {
        match addr.as_abstract_name() {
            Some(name) => Self::Abstract(AbstractName::of(name)),
            None => Self::Unix(addr.as_pathname().map(Into::into).unwrap_or_default()),
        }
    }
}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.strip_prefix("unix@")) {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.strip_prefix('@') {
                Some(name) => Err(AddrError::AtSign(text.into(), name.into())),
                None if path.is_empty() => Err(AddrError::NoPath(text.into())),
                None => Ok(Self::Unix(path.into())),
            };
        }
        if let Some(name) = text.strip_prefix("abns@") {
            return AbstractName::new(name, true).map(Addr::Abstract);
        }
        if let Some(name) = text.strip_prefix("abnsz@") {
            return AbstractName::new(name, false).map(Addr::Abstract);
        }
        let tcp = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = tcp.rsplit_once(':').ok_or_else(|| AddrError::NoPort(text.into()))?;
        if port.parse::<u16>().is_err() {
            return Err(AddrError::BadPort(port.into()));
        }
        // As in HAProxy.
        let host = if matches!(host, "" | "*") { "0.0.0.0" } else { host };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(['/', '@']) || (host.contains(':') && !bracketed) {
            return Err(AddrError::BadHost(host.into()));
        }
        Ok(Self::Tcp(format!("{host}:{port}")))
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => f.write_str(addr),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(AbstractName { name, padded: true }) => write!(f, "abns@{name}"),
            Self::Abstract(AbstractName { name, padded: false }) => write!(f, "abnsz@{name}"),
        }
    }
}

/// Where to listen: an [`Addr`], and who may connect to a unix socket, as in `unix:/run/spoa.sock,mode=660,group=haproxy`, or
/// that TLS is spoken, as in `10.0.0.5:7000,tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenAddr {
    /// The address.
    pub addr: Addr,
    /// Who may connect if it is a file.
    pub access: Access,
    /// With TLS; TCP only.
    pub tls: bool,
}

/// The permissions of a unix socket's file; what is `None` stays as the system makes it: the umask, the process's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The mode; who may write may connect.
    pub mode: Option<u32>,
    /// The owner, a name or a number.
    pub user: Option<String>,
    /// The group, a name or a number.
    pub group: Option<String>,
}

impl From<Addr> for ListenAddr {
    fn from(addr: Addr) -> Self {
        Self { addr, access: Access::default(), tls: false }
    }
}

impl From<&Self> for ListenAddr {
    fn from(addr: &Self) -> Self {
        addr.clone()
    }
}

/// As [`FromStr`], for arguments that are an address or its text.
impl TryFrom<&str> for ListenAddr {
    type Error = AddrError;

    fn try_from(text: &str) -> Result<Self, AddrError> {
        text.parse()
    }
}

/// As [`FromStr`], for arguments that are an address or its text.
impl TryFrom<String> for ListenAddr {
    type Error = AddrError;

    fn try_from(text: String) -> Result<Self, AddrError> {
        text.parse()
    }
}

impl FromStr for ListenAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        // The name of an abstract socket may have commas.
        if text.starts_with("abns@") || text.starts_with("abnsz@") {
            let addr = text.parse::<Addr>()?;
            return if text.ends_with(",tls") { Err(AddrError::TlsAtUnix(text.into())) } else { Ok(addr.into()) };
        }
        let mut parts = text.split(',');
        let mut listen = Self::from(parts.next().unwrap_or_default().parse::<Addr>()?);
        let is_tcp = matches!(listen.addr, Addr::Tcp(_));
        for option in parts {
            match option {
                "tls" if is_tcp => listen.tls = true,
                "tls" => return Err(AddrError::TlsAtUnix(text.into())),
                _ if is_tcp => return Err(AddrError::BadTcpOption(option.into())),
                _ => listen.access.set(option).ok_or_else(|| AddrError::BadOption(option.into()))?,
            }
        }
        Ok(listen)
    }
}

impl Access {
    fn set(&mut self, option: &str) -> Option<()> {
        let (name, value) = option.split_once('=')?;
        let id = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "mode" => self.mode = Some(u32::from_str_radix(value, 8).ok().filter(|&mode| mode <= 0o777)?),
            "user" => self.user = Some(id?),
            "group" => self.group = Some(id?),
            _ => return None,
        }
        Some(())
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { mode, user, group } = &self.access;
        self.addr.fmt(f)?;
        if let Some(mode) = mode {
            write!(f, ",mode={mode:o}")?;
        }
        for (name, value) in [("user", user), ("group", group)] {
            if let Some(value) = value {
                write!(f, ",{name}={value}")?;
            }
        }
        if self.tls {
            f.write_str(",tls")?;
        }
        Ok(())
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
            (":7000", "0.0.0.0:7000"),
            ("*:7000", "0.0.0.0:7000"),
            ("unix:/run/spoa.sock", "unix:/run/spoa.sock"),
            ("unix:///run/spoa.sock", "unix:/run/spoa.sock"),
            ("unix@/run/spoa.sock", "unix:/run/spoa.sock"),
            ("unix:./@x", "unix:./@x"),
            ("abns@spoa", "abns@spoa"),
            ("abnsz@spoa", "abnsz@spoa"),
        ] {
            assert_eq!(text.parse::<Addr>().map(|a| a.to_string()).as_deref(), Ok(shown));
        }
        let at_sign = |text: &str| AddrError::AtSign(text.into(), "x".into());
        for (text, error) in [
            ("localhost", AddrError::NoPort("localhost".into())),
            ("localhost:70000", AddrError::BadPort("70000".into())),
            ("::1:7000", AddrError::BadHost("::1".into())),
            ("http://x:1", AddrError::BadHost("http://x".into())),
            ("quic4@x:1", AddrError::BadHost("quic4@x".into())),
            ("unix:", AddrError::NoPath("unix:".into())),
            ("unix@", AddrError::NoPath("unix@".into())),
            ("unix:@x", at_sign("unix:@x")),
            ("unix@@x", at_sign("unix@@x")),
            ("abns@", AddrError::BadName("".into())),
            (&format!("abns@{}", "x".repeat(108)), AddrError::BadName("x".repeat(108))),
        ] {
            assert_eq!(text.parse::<Addr>(), Err(error));
        }
        assert!(at_sign("unix:@x").to_string().contains("write abns@x"));
    }

    #[test]
    fn who_may_connect() {
        for text in ["unix:/x", "unix:/x,mode=660", "unix:/x,mode=600,user=haproxy,group=33", "127.0.0.1:1", "abns@a,b"]
        {
            assert_eq!(text.parse::<ListenAddr>().map(|a| a.to_string()).as_deref(), Ok(text));
        }
        let all: ListenAddr = "unix@/x,group=g,mode=0640".parse().unwrap();
        assert_eq!(all.access, Access { mode: Some(0o640), user: None, group: Some("g".into()) });
        for wrong in ["mode=888", "mode=1777", "mode=", "mode", "user=", "owner=x", ""] {
            let error = format!("unix:/x,{wrong}").parse::<ListenAddr>().unwrap_err();
            assert_eq!(error, AddrError::BadOption(wrong.into()));
            assert!(error.to_string().contains("mode=660"));
        }
    }

    #[test]
    fn with_tls() {
        for (text, tls) in [("127.0.0.1:1,tls", true), ("[::1]:0,tls", true), ("host:1", false), ("abns@tls", false)] {
            let addr: ListenAddr = text.parse().unwrap();
            assert_eq!((addr.tls, addr.to_string().as_str()), (tls, text));
        }
        for option in ["tsl", "TLS", "", "mode=660"] {
            let error = format!("127.0.0.1:1,{option}").parse::<ListenAddr>().unwrap_err();
            assert_eq!(error, AddrError::BadTcpOption(option.into()));
        }
        for unix in ["unix:/x,tls", "unix:/x,mode=660,tls", "abns@x,tls", "abnsz@x,tls"] {
            assert_eq!(unix.parse::<ListenAddr>(), Err(AddrError::TlsAtUnix(unix.into())));
        }
    }
}
