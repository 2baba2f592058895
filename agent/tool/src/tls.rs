//! TLS towards an agent, as the words behind `ssl` on HAProxy's server line have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use spop_agent::addr::Addr;

use crate::failure::Failure;

/// Whether and how TLS is spoken.
#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Speak TLS, as HAProxy does with `ssl verify required` on its server line
    #[arg(long)]
    tls: bool,
    /// Authorities of the agent's certificate, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca_file: Option<PathBuf>,
    /// Certificate to show to the agent, in PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    cert: Option<PathBuf>,
    /// Its private key, in PEM [default: in the file of --cert, as HAProxy's crt has it]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Name or address that has to be in the agent's certificate [default: the host of ADDR]
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
    /// Take any certificate of the agent
    #[arg(long, requires = "tls", conflicts_with_all = ["ca_file", "server_name"])]
    insecure: bool,
}

/// What connections with TLS have in common.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsOptions {
    /// `None` if it is plain.
    pub(crate) fn of(&self, addr: &Addr) -> Result<Option<Tls>, Failure> {
        if !self.tls {
            return Ok(None);
        }
        let Addr::Tcp(host) = addr else {
            return Err(Failure::Usage(format!("--tls is for TCP, and {addr} is a unix socket")));
        };
        let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        let host = self.server_name.as_deref().unwrap_or(host.trim_start_matches('[').trim_end_matches(']'));
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Usage(format!("--server-name: {host:?} is neither a name nor an address")))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match &self.cert {
            None => builder.with_no_client_auth(),
            Some(cert) => {
                let key = self.key.as_ref().unwrap_or(cert);
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
                let config = builder.with_client_auth_cert(certificates(cert)?, private);
                config.map_err(|error| unusable(key, error))?
            }
        };
        Ok(Some(Tls { config: Arc::new(config), name }))
    }

    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| unusable(path, error))?;
                }
            }
        }
        Ok(roots)
    }
}

impl Tls {
    /// The beginning of a connection.
    pub(crate) fn session(&self) -> Result<ClientConnection, Failure> {
        ClientConnection::new(self.config.clone(), self.name.clone()).map_err(|error| Failure::Usage(error.to_string()))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match read.map_err(|error| unusable(path, error))? {
        none if none.is_empty() => Err(unusable(path, "no certificate in PEM in it")),
        some => Ok(some),
    }
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("{}: {reason}", path.display()))
}

/// Takes any certificate, whose key the agent has to have all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
