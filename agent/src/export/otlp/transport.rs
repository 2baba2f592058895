//! The connection to the collector: one HTTP client or one gRPC channel, for
//! all services and for forwarded requests.

use super::config::{Compression, OtlpConfig, OtlpConfigError, Protocol, TlsFiles};
use super::failure::{error_chain, Failure, FailureKind};
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::RootCertStore;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Largest answer that is read.
const MAX_RESPONSE: usize = 64 << 10;

/// Sent as `User-Agent`.
const USER_AGENT: &str = concat!("spoa-otel/", env!("CARGO_PKG_VERSION"));

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

fn setup_error(config: &OtlpConfig, reason: impl Into<String>) -> OtlpConfigError {
    OtlpConfigError::Setup { url: config.url.to_string(), reason: reason.into() }
}

fn http_client(config: &OtlpConfig) -> Result<reqwest::Client, OtlpConfigError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(client_tls(config)?)
        .user_agent(USER_AGENT)
        .connect_timeout(config.timeout)
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
    let mut endpoint = Endpoint::from(config.url.clone())
        .user_agent(USER_AGENT)
        .map_err(|error| setup_error(config, error_chain(&error)))?
        .connect_timeout(config.timeout)
        // One connection serves all requests: a dead one has to be found out.
        .http2_keep_alive_interval(config.timeout)
        .keep_alive_timeout(config.timeout);
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

/// A request as it goes over the wire, prepared once for all attempts.
#[derive(Debug)]
pub(super) enum Payload {
    Http { body: Bytes, encoding: Option<&'static str> },
    Grpc(ExportTraceServiceRequest),
}

impl Payload {
    /// Of a request of this process.
    pub(super) fn of_request(
        request: ExportTraceServiceRequest,
        transport: &Transport,
        compression: Option<Compression>,
    ) -> std::io::Result<Self> {
        match transport {
            Transport::Http(_) => Self::http(request.encode_to_vec().into(), compression),
            Transport::Grpc(_) => Ok(Self::Grpc(request)),
        }
    }

    /// Of an encoded request.
    pub(super) fn of_bytes(
        body: &Bytes,
        transport: &Transport,
        compression: Option<Compression>,
    ) -> std::io::Result<Self> {
        match transport {
            Transport::Http(_) => Self::http(body.clone(), compression),
            Transport::Grpc(_) => Ok(Self::Grpc(ExportTraceServiceRequest::decode(body.clone())?)),
        }
    }

    fn http(body: Bytes, compression: Option<Compression>) -> std::io::Result<Self> {
        Ok(match compression {
            None => Self::Http { body, encoding: None },
            Some(Compression::Gzip) => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&body)?;
                Self::Http { body: encoder.finish()?.into(), encoding: Some("gzip") }
            }
            Some(Compression::Zstd) => {
                let body = zstd::encode_all(&body[..], zstd::DEFAULT_COMPRESSION_LEVEL)?;
                Self::Http { body: body.into(), encoding: Some("zstd") }
            }
        })
    }
}

impl Transport {
    /// One attempt.
    pub(super) async fn send(
        &self,
        config: &OtlpConfig,
        payload: &Payload,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        match (self, payload) {
            (Self::Http(client), Payload::Http { body, encoding }) => send_http(client, config, body, *encoding).await,
            (Self::Grpc(channel), Payload::Grpc(request)) => send_grpc(channel, config, request).await,
            _ => Err(Failure::new(FailureKind::Refused, "a payload of the other protocol".to_owned())),
        }
    }
}

async fn send_http(
    client: &reqwest::Client,
    config: &OtlpConfig,
    body: &Bytes,
    encoding: Option<&'static str>,
) -> Result<ExportTraceServiceResponse, Failure> {
    let mut request = client
        .post(config.url.to_string())
        .header(CONTENT_TYPE, "application/x-protobuf")
        .headers(config.headers.clone())
        .body(body.clone());
    if let Some(encoding) = encoding {
        request = request.header(CONTENT_ENCODING, encoding);
    }
    let mut response = request.send().await.map_err(|error| Failure::of_connection(&error))?;
    let status = response.status();
    if !status.is_success() {
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        return Err(Failure::of_http(status, retry_after));
    }
    // The spans are delivered: an unreadable answer changes nothing.
    let mut answer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if answer.len() + chunk.len() > MAX_RESPONSE {
            break;
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(ExportTraceServiceResponse::decode(&answer[..]).unwrap_or_default())
}

async fn send_grpc(
    channel: &Channel,
    config: &OtlpConfig,
    message: &ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Failure> {
    let mut client = TraceServiceClient::new(channel.clone()).max_decoding_message_size(MAX_RESPONSE);
    if let Some(compression) = config.compression {
        client = client.send_compressed(match compression {
            Compression::Gzip => CompressionEncoding::Gzip,
            Compression::Zstd => CompressionEncoding::Zstd,
        });
    }
    let mut request = tonic::Request::new(message.clone());
    *request.metadata_mut() = MetadataMap::from_headers(config.headers.clone());
    let response = client.export(request).await.map_err(|status| Failure::of_grpc(&status))?;
    Ok(response.into_inner())
}
