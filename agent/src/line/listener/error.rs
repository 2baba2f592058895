//! Why it cannot be listened somewhere.

use std::io;
use std::net::SocketAddr;

use spop_agent::tls::TlsError;

use super::addr::LogAddr;
use crate::passed::PassedError;

/// Where it cannot be listened.
#[derive(Debug, thiserror::Error)]
#[error("--log-listen {addr}: {cause}")]
pub struct ListenError {
    /// The address.
    pub addr: LogAddr,
    /// Why.
    pub cause: ListenCause,
}

/// Why it cannot be listened there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenCause {
    /// Others could send, and nobody said who may.
    #[error(
        "{0} is beyond loopback, and whoever sends lines there can forge spans. Say who may send: --log-allow with a \
         network such as 10.0.0.0/8, an address, or any"
    )]
    BeyondLoopback(SocketAddr),
    /// It has `,tls`, and there are no certificates.
    #[error("{}", TlsError::NoCertificate)]
    NoCertificate,
    /// It is in use, not allowed, or not of this host.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Systemd did not pass such sockets.
    #[error(transparent)]
    Passed(#[from] Box<PassedError>),
}

/// Whether only this host can send there.
pub(super) fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}
