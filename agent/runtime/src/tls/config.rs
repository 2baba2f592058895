//! Certificates, and whom a TLS listener takes.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "clap")]
use crate::duration;

/// Certificates of TLS listeners, whom they take, and their bounds: the same for all listeners of a process.
///
/// ```no_run
/// use spop_agent::tls::{Tls, TlsConfig};
///
/// let mut config = TlsConfig::new("/etc/spoa/tls.pem");
/// config.client_ca = Some("/etc/spoa/haproxys.pem".into());
/// let tls = Tls::load(config)?;
/// # Ok::<(), spop_agent::tls::TlsError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct TlsConfig {
    /// Certificate of the listeners with ,tls, in PEM, followed by those between it and its authority; read again when it
    /// changes, as the other files
    #[cfg_attr(feature = "clap", arg(id = "tls_cert", long = "tls-cert", value_name = "FILE"))]
    pub cert: Option<PathBuf>,

    /// Private key of this certificate, in PEM [default: in the file of --tls-cert]
    #[cfg_attr(feature = "clap", arg(id = "tls_key", long = "tls-key", value_name = "FILE"))]
    pub key: Option<PathBuf>,

    /// Authorities of clients' certificates, in PEM. Who has no certificate of them is not served [default: none, everybody
    /// is served]
    #[cfg_attr(feature = "clap", arg(id = "tls_client_ca", long = "tls-client-ca", value_name = "FILE"))]
    pub client_ca: Option<PathBuf>,

    /// Whether clients have to have a certificate of --tls-client-ca; optional: who has none is served too [default:
    /// required]
    #[cfg_attr(feature = "clap", arg(id = "tls_client_auth", long = "tls-client-auth", value_name = "HOW"))]
    pub client_auth: Option<ClientAuth>,

    /// Oldest version of TLS to take
    #[cfg_attr(feature = "clap", arg(id = "tls_min_version", long = "tls-min-version", value_name = "VERSION"))]
    #[cfg_attr(feature = "clap", arg(default_value = "1.2"))]
    pub min_version: TlsVersion,

    /// How long a handshake may take
    #[cfg_attr(
        feature = "clap",
        arg(id = "tls_handshake_timeout", long = "tls-handshake-timeout", value_name = "TIME")
    )]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.handshake_timeout), value_parser = duration::parse))]
    pub handshake_timeout: Duration,

    /// Most unfinished handshakes of each kind of listener, and a quarter of its connections at most; the oldest one makes
    /// room for a new one
    #[cfg_attr(feature = "clap", arg(id = "tls_max_handshakes", long = "tls-max-handshakes", value_name = "N"))]
    #[cfg_attr(feature = "clap", arg(default_value_t = Self::DEFAULT.max_handshakes))]
    pub max_handshakes: usize,
}

/// Whether clients have to have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum ClientAuth {
    /// A client without one is not served.
    #[default]
    Required,
    /// A client without one is served; one with a certificate of another authority is not.
    Optional,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[cfg_attr(feature = "clap", value(name = "1.2"))]
    V1_2,
    /// TLS 1.3.
    #[cfg_attr(feature = "clap", value(name = "1.3"))]
    V1_3,
}

impl TlsConfig {
    /// What holds unless an option says otherwise.
    pub const DEFAULT: Self = Self {
        cert: None,
        key: None,
        client_ca: None,
        client_auth: None,
        min_version: TlsVersion::V1_2,
        handshake_timeout: Duration::from_secs(5),
        max_handshakes: 256,
    };

    /// With a file that has the certificate and its key; [`key`](Self::key) can be another one.
    pub fn new(cert: impl Into<PathBuf>) -> Self {
        Self { cert: Some(cert.into()), ..Self::DEFAULT }
    }

    /// Is a file or something about clients given, which only TLS listeners use?
    pub fn is_given(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.client_ca.is_some() || self.client_auth.is_some()
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
