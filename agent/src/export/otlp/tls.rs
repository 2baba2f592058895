//! TLS to the collector.

use super::config::OtlpConfig;
use super::error::OtlpConfigError;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// A PEM file, and the variable that names it.
#[derive(Clone, Copy)]
struct PemFile<'a> {
    path: &'a Path,
    given_by: &'a str,
}

/// For HTTP.
pub(super) fn of_http(config: &OtlpConfig) -> Result<rustls::ClientConfig, OtlpConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = if config.is_https() { root_store(config)? } else { RootCertStore::empty() };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config.setup_error(error.to_string()))?
        .with_root_certificates(roots);
    match identity_files(config)? {
        Some((certificate, key)) => {
            let chain = certificate.certificates()?;
            builder.with_client_auth_cert(chain, key.key()?).map_err(|error| certificate.error(error.to_string()))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn root_store(config: &OtlpConfig) -> Result<RootCertStore, OtlpConfigError> {
    let mut roots = RootCertStore::empty();
    match &config.tls.ca {
        Some(path) => {
            let file = PemFile { path, given_by: &config.given_by.ca };
            for certificate in file.certificates()? {
                roots.add(certificate).map_err(|error| file.error(error.to_string()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot read one of the system's root certificates");
            }
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let reason = "the system has no root certificates; \
                    install them or set OTEL_EXPORTER_OTLP_CERTIFICATE";
                return Err(config.setup_error(reason));
            }
        }
    }
    Ok(roots)
}

impl PemFile<'_> {
    fn error(self, reason: impl Into<String>) -> OtlpConfigError {
        let (given_by, path) = (self.given_by.to_owned(), self.path.display().to_string());
        OtlpConfigError::TlsFile { given_by, path, reason: reason.into() }
    }

    fn certificates(self) -> Result<Vec<CertificateDer<'static>>, OtlpConfigError> {
        let certificates: Vec<_> = CertificateDer::pem_file_iter(self.path)
            .and_then(|certificates| certificates.collect())
            .map_err(|error| self.error(error.to_string()))?;
        if certificates.is_empty() {
            return Err(self.error("no PEM certificate in this file"));
        }
        Ok(certificates)
    }

    fn key(self) -> Result<PrivateKeyDer<'static>, OtlpConfigError> {
        PrivateKeyDer::from_pem_file(self.path).map_err(|error| self.error(error.to_string()))
    }

    fn read(self) -> Result<Vec<u8>, OtlpConfigError> {
        std::fs::read(self.path).map_err(|error| self.error(error.to_string()))
    }
}

/// The client's certificate and its key.
fn identity_files(config: &OtlpConfig) -> Result<Option<(PemFile<'_>, PemFile<'_>)>, OtlpConfigError> {
    let OtlpConfig { tls, given_by, .. } = config;
    let certificate =
        tls.client_certificate.as_deref().map(|path| PemFile { path, given_by: &given_by.client_certificate });
    let key = tls.client_key.as_deref().map(|path| PemFile { path, given_by: &given_by.client_key });
    match (certificate, key) {
        (Some(file), None) => Err(file.error(format!("a client certificate without {}", given_by.client_key))),
        (None, Some(file)) => Err(file.error(format!("a client key without {}", given_by.client_certificate))),
        (certificate, key) => Ok(certificate.zip(key)),
    }
}

/// For gRPC.
pub(super) fn of_grpc(config: &OtlpConfig) -> Result<ClientTlsConfig, OtlpConfigError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &config.tls.ca {
        Some(path) => {
            let file = PemFile { path, given_by: &config.given_by.ca };
            file.certificates()?;
            tls.ca_certificate(Certificate::from_pem(file.read()?))
        }
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = identity_files(config)? {
        // Tonic's own errors do not name the file.
        certificate.certificates()?;
        key.key()?;
        tls = tls.identity(Identity::from_pem(certificate.read()?, key.read()?));
    }
    Ok(tls)
}
