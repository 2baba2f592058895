//! The connection to the collector: one HTTP client or one gRPC channel, for
//! all services and for forwarded requests.

use super::answer::{self, MAX_ANSWER};
use super::config::{OtlpConfig, OtlpConfigError, Protocol, TlsFiles};
use super::failure::{error_chain, Failure};
use super::payload::{Payload, GRPC_PREFIX};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::RootCertStore;
use std::error::Error;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use tokio::time::error::Elapsed;
use tokio::time::{timeout_at, Instant};
use tonic::client::GrpcService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

/// Sent as `User-Agent`.
const USER_AGENT: &str = concat!("spoa-otel/", env!("CARGO_PKG_VERSION"));

/// The method that takes spans over gRPC.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

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

impl Transport {
    /// One attempt. Gives what the collector says of its success.
    pub(super) async fn send(
        &self,
        config: &OtlpConfig,
        payload: &Payload,
    ) -> Result<ExportTracePartialSuccess, Failure> {
        let limit = config.attempt_limit();
        let deadline = Instant::now() + limit;
        let sent = match self {
            Self::Http(client) => send_http(client, config, payload, deadline).await,
            Self::Grpc(channel) => timeout_at(deadline, send_grpc(channel.clone(), config, payload)).await,
        };
        sent.unwrap_or_else(|_| Err(Failure::timeout(limit)))
    }
}

async fn send_http(
    client: &reqwest::Client,
    config: &OtlpConfig,
    payload: &Payload,
    deadline: Instant,
) -> Result<Result<ExportTracePartialSuccess, Failure>, Elapsed> {
    let mut request = client
        .post(config.url.to_string())
        .header(CONTENT_TYPE, "application/x-protobuf")
        .headers(config.headers.clone())
        .body(payload.body.clone());
    if let Some(encoding) = payload.encoding {
        request = request.header(CONTENT_ENCODING, encoding);
    }
    let (head, body) = match timeout_at(deadline, request.send()).await? {
        Ok(response) => http::Response::<reqwest::Body>::from(response).into_parts(),
        // The URL may hold secrets.
        Err(error) => return Ok(Err(Failure::of_connection(&error.without_url()))),
    };
    // Whatever becomes of the rest, what the status says is true.
    let mut answer = Answer::default();
    let _ = timeout_at(deadline, answer.read(Limited::new(body, MAX_ANSWER))).await;
    if !head.status.is_success() {
        return Ok(Err(Failure::of_http(head.status, &head.headers, &answer.body)));
    }
    Ok(answer::of_http(content_type(&head.headers), &answer.body))
}

/// A unary call. Tonic's client would take an answer that is too large, or that has no message, for a failure.
async fn send_grpc(
    mut channel: Channel,
    config: &OtlpConfig,
    payload: &Payload,
) -> Result<ExportTracePartialSuccess, Failure> {
    let mut request = http::Request::new(tonic::body::Body::new(Full::new(payload.body.clone())));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_static(EXPORT);
    let headers = request.headers_mut();
    *headers = config.headers.clone();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(encoding) = payload.encoding {
        headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
    }
    let failure = |error: tonic::transport::Error| Failure::of_connection(&error);
    poll_fn(|cx| channel.poll_ready(cx)).await.map_err(failure)?;
    let (head, body) = channel.call(request).await.map_err(failure)?.into_parts();
    let mut answer = Answer::default();
    answer.read(body).await.map_err(|status| match status.source() {
        Some(error) => Failure::of_connection(error),
        None => Failure::of_grpc(&status),
    })?;
    match Status::from_header_map(&answer.trailers).or_else(|| Status::from_header_map(&head.headers)) {
        Some(status) if status.code() == Code::Ok => Ok(answer.grpc_message()),
        Some(status) => Err(Failure::of_grpc(&status)),
        None if head.status.is_success() => Err(Failure::of_missing_status(content_type(&head.headers))),
        None => Err(Failure::of_http(head.status, &head.headers, &answer.body)),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// What has arrived of an answer.
#[derive(Debug, Default)]
struct Answer {
    /// Its beginning.
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    /// Reads it to its end, and keeps a bounded part.
    async fn read<B: Body<Data = Bytes> + Unpin>(&mut self, mut body: B) -> Result<(), B::Error> {
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    let room = MAX_ANSWER.saturating_sub(self.body.len());
                    self.body.extend_from_slice(data.get(..room).unwrap_or(&data));
                }
                Err(frame) => self.trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(())
    }

    /// No compression is offered to the collector.
    fn grpc_message(&self) -> ExportTracePartialSuccess {
        match self.body.split_at_checked(GRPC_PREFIX) {
            Some(([0, ..], message)) => answer::of_protobuf(message),
            _ => ExportTracePartialSuccess::default(),
        }
    }
}
