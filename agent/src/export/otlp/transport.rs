//! The connection to the collector: one HTTP client or one gRPC channel, for
//! all services and for forwarded requests.

use super::config::{Compression, OtlpConfig, OtlpConfigError, Protocol, TlsFiles};
use crate::export::ExportStats;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::RootCertStore;
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A cheaply cloned handle to the connection.
#[derive(Debug, Clone)]
pub(super) enum Transport {
    Http(reqwest::Client),
    Grpc(Channel),
}

impl Transport {
    /// Prepares the connection; it is made when the first request needs it.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, OtlpConfigError> {
        match config.protocol {
            Protocol::HttpProtobuf => http_client(config).map(Self::Http),
            Protocol::Grpc => grpc_channel(config).map(Self::Grpc),
        }
    }
}

/// An error with its sources: the outermost text alone ("transport error")
/// does not tell what is wrong.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn setup_error(config: &OtlpConfig, reason: impl Into<String>) -> OtlpConfigError {
    OtlpConfigError::Setup { url: config.url.to_string(), reason: reason.into() }
}

fn http_client(config: &OtlpConfig) -> Result<reqwest::Client, OtlpConfigError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(client_tls(config)?)
        .timeout(config.timeout)
        // A redirected POST would become a GET.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| setup_error(config, error_chain(&error)))
}

fn client_tls(config: &OtlpConfig) -> Result<rustls::ClientConfig, OtlpConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = if config.is_https() { root_store(config)? } else { RootCertStore::empty() };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup_error(config, error.to_string()))?
        .with_root_certificates(roots);
    match identity_files(&config.tls)? {
        Some((certificate, key)) => {
            let chain = parse_certificates(certificate)?;
            builder
                .with_client_auth_cert(chain, parse_key(key)?)
                .map_err(|error| tls_file_error(certificate, error.to_string()))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn root_store(config: &OtlpConfig) -> Result<RootCertStore, OtlpConfigError> {
    let mut roots = RootCertStore::empty();
    match &config.tls.ca {
        Some(path) => {
            for certificate in parse_certificates(path)? {
                roots.add(certificate).map_err(|error| tls_file_error(path, error.to_string()))?;
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
                return Err(setup_error(config, reason));
            }
        }
    }
    Ok(roots)
}

fn tls_file_error(path: &Path, reason: impl Into<String>) -> OtlpConfigError {
    OtlpConfigError::TlsFile { path: path.display().to_string(), reason: reason.into() }
}

fn parse_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OtlpConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| tls_file_error(path, error.to_string()))?;
    if certificates.is_empty() {
        return Err(tls_file_error(path, "no PEM certificate in this file"));
    }
    Ok(certificates)
}

fn parse_key(path: &Path) -> Result<PrivateKeyDer<'static>, OtlpConfigError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| tls_file_error(path, error.to_string()))
}

fn identity_files(tls: &TlsFiles) -> Result<Option<(&Path, &Path)>, OtlpConfigError> {
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(path), None) => Err(tls_file_error(path, "client certificate without its key")),
        (None, Some(path)) => Err(tls_file_error(path, "client key without its certificate")),
    }
}

fn grpc_channel(config: &OtlpConfig) -> Result<Channel, OtlpConfigError> {
    let mut endpoint = Endpoint::from(config.url.clone()).timeout(config.timeout).connect_timeout(config.timeout);
    if config.is_https() {
        let mut tls = ClientTlsConfig::new();
        tls = match &config.tls.ca {
            Some(path) => {
                parse_certificates(path)?;
                tls.ca_certificate(Certificate::from_pem(read_file(path)?))
            }
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = identity_files(&config.tls)? {
            // Tonic's own errors do not name the file.
            parse_certificates(certificate)?;
            parse_key(key)?;
            tls = tls.identity(Identity::from_pem(read_file(certificate)?, read_file(key)?));
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| setup_error(config, error_chain(&error)))?;
    }
    Ok(endpoint.connect_lazy())
}

fn read_file(path: &Path) -> Result<Vec<u8>, OtlpConfigError> {
    std::fs::read(path).map_err(|error| tls_file_error(path, error.to_string()))
}

/// Compresses a request body for HTTP; gives the `Content-Encoding` too.
pub(super) fn compress(
    body: &Bytes,
    compression: Option<Compression>,
) -> std::io::Result<(Bytes, Option<&'static str>)> {
    use std::io::Write;
    match compression {
        None => Ok((body.clone(), None)),
        Some(Compression::Gzip) => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body)?;
            Ok((encoder.finish()?.into(), Some("gzip")))
        }
        Some(Compression::Zstd) => {
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            Ok((zstd::encode_all(&body[..], level)?.into(), Some("zstd")))
        }
    }
}

/// The shared HTTP client as the OTLP exporters use it: counts every attempt.
#[derive(Debug)]
pub(super) struct CountingClient {
    pub(super) client: reqwest::Client,
    pub(super) stats: Arc<ExportStats>,
}

#[async_trait::async_trait]
impl HttpClient for CountingClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.stats.add_attempt();
        let result = self.client.send_bytes(request).await;
        // The exporter itself reports only "network error".
        result.inspect_err(|error| {
            tracing::debug!(error = error_chain(error.as_ref()), "OTLP request failed");
        })
    }
}
