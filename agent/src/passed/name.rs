//! The form of an address that means sockets which were passed.

use std::fmt;
use std::str::FromStr;

/// Where there could be an address: one, or the name of sockets that systemd passes, `systemd:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<A> {
    /// An address to listen on.
    At(A),
    /// All sockets that were passed under this name.
    Passed(PassedName),
}

impl<A: FromStr> FromStr for Place<A> {
    type Err = PlaceError<A::Err>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(PREFIX) {
            Some(name) => PassedName::new(name).map(Self::Passed).map_err(PlaceError::Name),
            None => text.parse().map(Self::At).map_err(PlaceError::Addr),
        }
    }
}

impl<A: fmt::Display> fmt::Display for Place<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(addr) => addr.fmt(f),
            Self::Passed(name) => name.fmt(f),
        }
    }
}

/// What is wrong with the text of a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError<E> {
    /// As the name of sockets.
    #[error(transparent)]
    Name(NameError),
    /// As an address.
    #[error(transparent)]
    Addr(E),
}

/// What stands before the name.
pub(crate) const PREFIX: &str = "systemd:";

/// The longest name that systemd takes.
const LONGEST: usize = 255;

/// The name of sockets that systemd passes: their `FileDescriptorName=`, without one the name of the socket unit; with TLS if
/// `,tls` follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedName {
    name: String,
    tls: bool,
}

/// It is no name of sockets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of sockets that systemd passes: 1 to 255 printable characters of ASCII, no colon and no comma \
     (FileDescriptorName= of the socket unit, else its own name, as in systemd:spoa-otel.socket)"
)]
pub struct NameError(String);

impl PassedName {
    /// What stands behind `systemd:`.
    pub(crate) fn new(text: &str) -> Result<Self, NameError> {
        let (name, tls) = text.strip_suffix(",tls").map_or((text, false), |name| (name, true));
        let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b':' | b',');
        match name.len() {
            1..=LONGEST if name.bytes().all(is_allowed) => Ok(Self { name: name.to_owned(), tls }),
            _ => Err(NameError(text.to_owned())),
        }
    }

    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whether TLS is to be spoken there.
    pub fn tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for PassedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}{}", self.name, if self.tls { ",tls" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spop_agent::ListenAddr;

    #[test]
    fn forms() {
        let parse = |text: &str| text.parse::<Place<ListenAddr>>();
        for text in [
            "systemd:spop",
            "systemd:spop,tls",
            "systemd:spoa-otel.socket",
            "127.0.0.1:7000",
            "unix:/run/spoa.sock,mode=660",
        ] {
            let place = parse(text).unwrap();
            assert_eq!(place.to_string(), text);
            assert_eq!(matches!(place, Place::Passed(_)), text.starts_with("systemd:"));
        }
        assert_eq!(parse(&format!("systemd:{}", "x".repeat(255))).unwrap().to_string().len(), 263);
        for wrong in ["", "a:b", "a,b", "a\tb", "é", &"x".repeat(256)] {
            let error = parse(&format!("systemd:{wrong}")).unwrap_err();
            assert_eq!(error, PlaceError::Name(NameError(wrong.to_owned())));
            assert!(error.to_string().contains("FileDescriptorName="));
        }
        assert!(matches!(parse("systemd"), Err(PlaceError::Addr(_))));
    }
}
