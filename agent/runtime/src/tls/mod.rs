//! TLS at listeners, by [rustls](https://docs.rs/rustls): certificates of both sides, read again when their files change;
//! handshakes that are bounded in number and time, and counted by what became of them.
//!
//! All but the counters takes the feature `tls`.

#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod failure;
#[cfg(feature = "tls")]
mod files;
#[cfg(feature = "tls")]
mod queue;
mod stats;

#[cfg(feature = "tls")]
pub use acceptor::{Handshake, TlsAcceptor, TlsStream};
#[cfg(feature = "tls")]
pub use config::{ClientAuth, TlsConfig, TlsVersion};
#[cfg(feature = "tls")]
pub use files::{Tls, TlsError};
pub use stats::{TlsResult, TlsStats};
