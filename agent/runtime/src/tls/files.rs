//! From files in PEM to what handshakes need.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::config::{ClientAuth, TlsConfig, TlsVersion};
use crate::watched::{FileError, NamedFile, Watched};

/// Before a certificate ends, for so long each start and each change of its file says so.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate.
    #[error("an address with ,tls needs a certificate: --tls-cert FILE, and --tls-key FILE unless the key is in it")]
    NoCertificate,
    /// Clients' certificates matter, but nobody said whose.
    #[error("--tls-client-auth needs the authorities of clients' certificates: --tls-client-ca FILE")]
    NoClientAuthority,
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The certificates of a process, shared by its TLS listeners. A clone is another handle of the same.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<TlsConfig>,
    pub(super) loaded: Arc<Watched<Loaded>>,
}

/// What is made of the files.
pub(super) struct Loaded {
    pub(super) server: Arc<ServerConfig>,
    /// When the certificate ends, if that can be read.
    not_after: Option<SystemTime>,
}

impl Tls {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// A file cannot be read or used, or the key is not that of the certificate.
    pub fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let Some(cert) = &config.cert else { return Err(TlsError::NoCertificate) };
        if config.client_auth.is_some() && config.client_ca.is_none() {
            return Err(TlsError::NoClientAuthority);
        }
        let cert = NamedFile::new("--tls-cert", cert);
        let key = config.key.as_ref().map_or_else(|| cert.clone(), |key| NamedFile::new("--tls-key", key));
        let files: Vec<_> = [cert, key]
            .into_iter()
            .chain(config.client_ca.as_ref().map(|ca| NamedFile::new("--tls-client-ca", ca)))
            .collect();
        let config = Arc::new(config);
        let (named, shared) = (files.clone(), config.clone());
        let loaded = Watched::load(files, move |contents| make(&named, contents, &shared))?;
        Ok(Self { config, loaded: Arc::new(loaded) })
    }

    /// Reads the files now; true if they changed. Connections stay as they are, new ones get the new certificate.
    ///
    /// # Errors
    /// The files cannot be used: those read before stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        Ok(self.loaded.reload()?)
    }

    /// How often changed files were taken into use, and how often they could not be.
    pub fn reloads(&self) -> (u64, u64) {
        (self.loaded.changes(), self.loaded.failures())
    }

    /// When the certificate ends, if that can be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.loaded.get().not_after
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish_non_exhaustive()
    }
}

fn make(files: &[NamedFile], contents: &[Vec<u8>], config: &TlsConfig) -> Result<Loaded, FileError> {
    let ([cert, key, rest @ ..], [cert_pem, key_pem, ca_pem @ ..]) = (files, contents) else {
        unreachable!("the caller names two files or three");
    };
    let chain = certificates(cert, cert_pem)?;
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
        pem::Error::NoItemsFound if key.option == cert.option => {
            key.error("no private key in PEM in it: say where it is by --tls-key FILE")
        }
        pem::Error::NoItemsFound => key.error("no private key in PEM in it"),
        error => key.error(error),
    })?;
    key.warn_if_readable();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match config.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| cert.error(error))?;
    let builder = match (rest.first(), ca_pem.first()) {
        (Some(ca), Some(pem)) => builder.with_client_cert_verifier(verifier(ca, pem, config)?),
        _ => builder.with_no_client_auth(),
    };
    let not_after = not_after(cert, &chain);
    let mut server = builder.with_single_cert(chain, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            key.error(format!("this key is not that of the certificate in {}", cert.path.display()))
        }
        rustls::Error::InvalidCertificate(_) => cert.error(error),
        error => key.error(error),
    })?;
    // Each connection shows its certificate: HAProxy's last for long, and what was withdrawn is not taken up again.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Loaded { server: Arc::new(server), not_after })
}

fn certificates(file: &NamedFile, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates.map_err(|error| file.error(error))? {
        none if none.is_empty() => Err(file.error("no certificate in PEM in it")),
        some => Ok(some),
    }
}

fn verifier(file: &NamedFile, pem: &[u8], config: &TlsConfig) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, pem)? {
        roots.add(certificate).map_err(|error| file.error(error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match config.client_auth.unwrap_or_default() {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| file.error(error))
}

/// The end of our certificate; one that is over or ends soon is told.
fn not_after(file: &NamedFile, chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let own = Certificate::from_der(chain.first()?).ok()?;
    let not_after = own.tbs_certificate.validity.not_after.to_system_time();
    let path = file.path.display();
    match not_after.duration_since(SystemTime::now()) {
        Err(_) => tracing::warn!(%path, "the certificate has expired: clients that verify it will refuse it"),
        Ok(left) if left < SOON => {
            tracing::warn!(%path, days = left.as_secs() / 86_400, "the certificate expires soon");
        }
        Ok(_) => {}
    }
    Some(not_after)
}
