//! Why a handshake failed, for the counters and for whoever reads the log.

use std::io;

use tokio_rustls::rustls::{CertificateError, Error, PeerIncompatible};

use super::stats::TlsResult;
use crate::foreign::Foreign;

/// A handshake that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) result: TlsResult,
    /// In the words of whoever noticed it.
    pub(super) error: Option<io::Error>,
    /// What the peer speaks instead, if that is known.
    pub(super) instead: Option<&'static str>,
}

impl From<TlsResult> for Failure {
    fn from(result: TlsResult) -> Self {
        Self { result, error: None, instead: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let result = inner.map_or_else(|| of_transport(error.kind()), of_tls);
        Self { result, error: Some(error), instead: None }
    }
}

impl Failure {
    /// The first bytes are no TLS.
    pub(super) fn plain(first: &[u8]) -> Self {
        // The first frame of SPOP is a HELLO: four bytes of length, its type.
        let is_spop = matches!(first, [0, _, _, _, 1, ..]);
        let instead = match Foreign::detect(first) {
            _ if is_spop => Some("SPOP"),
            Some(Foreign::Http1) => Some("HTTP"),
            Some(Foreign::Http2) => Some("HTTP/2"),
            Some(Foreign::ProxyV1 | Foreign::ProxyV2) => Some("the PROXY protocol"),
            Some(Foreign::Text) => Some("plain text"),
            Some(Foreign::Tls) | None => None,
        };
        Self { result: TlsResult::Plain, error: None, instead }
    }

    /// What to look at, if anybody has to.
    pub(super) fn advice(&self) -> &'static str {
        match self.result {
            TlsResult::Plain => {
                "this address has ,tls: HAProxy's server line needs ssl, other clients https, or it must not have ,tls"
            }
            TlsResult::NoCertificate => {
                "clients have to have a certificate: HAProxy's server line needs crt FILE (or --tls-client-auth optional)"
            }
            TlsResult::UnknownAuthority => "the client's certificate is of no authority in --tls-client-ca",
            TlsResult::Expired => "the client's certificate is not valid now: renew it, or set the clocks",
            TlsResult::BadCertificate => "the client's certificate cannot be used",
            TlsResult::Version => "the client's TLS is too old (--tls-min-version)",
            TlsResult::Refused => {
                "the client refused: its ca-file must have the authority of --tls-cert, and the name that it verifies \
                 must be in that certificate"
            }
            TlsResult::Timeout => "it took too long (--tls-handshake-timeout)",
            TlsResult::Evicted => "too many were unfinished, and this was the oldest (--tls-max-handshakes)",
            TlsResult::Closed => "the client closed the connection",
            TlsResult::Accepted | TlsResult::Failed | TlsResult::Unexpected => "client and agent do not come together",
        }
    }
}

fn of_transport(kind: io::ErrorKind) -> TlsResult {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    match kind {
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => TlsResult::Closed,
        _ => TlsResult::Failed,
    }
}

fn of_tls(error: &Error) -> TlsResult {
    use CertificateError::{BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer};
    use PeerIncompatible::{
        ServerDoesNotSupportTls12Or13, ServerTlsVersionIsDisabledByOurConfig, SignatureAlgorithmsExtensionRequired,
        SupportedVersionsExtensionRequired, Tls12NotOffered, Tls12NotOfferedOrEnabled,
    };
    match error {
        Error::NoCertificatesPresented => TlsResult::NoCertificate,
        Error::InvalidCertificate(UnknownIssuer | BadSignature) => TlsResult::UnknownAuthority,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
            TlsResult::Expired
        }
        Error::InvalidCertificate(_) => TlsResult::BadCertificate,
        // Before TLS 1.2 clients said nothing of signatures.
        Error::PeerIncompatible(
            ServerDoesNotSupportTls12Or13
            | ServerTlsVersionIsDisabledByOurConfig
            | SignatureAlgorithmsExtensionRequired
            | SupportedVersionsExtensionRequired
            | Tls12NotOffered
            | Tls12NotOfferedOrEnabled,
        ) => TlsResult::Version,
        Error::AlertReceived(_) => TlsResult::Refused,
        _ => TlsResult::Failed,
    }
}
