//! Collectors that record what really arrives: OTLP/HTTP and OTLP/gRPC, plain
//! or with TLS.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spoa_otel::export::otlp::Protocol;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_types::{ErrorDetails, StatusExt};

/// How a collector answers a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Accept,
    /// Accept all but this many spans.
    Partial(i64),
    /// An HTTP status; for gRPC `Unavailable` if it is 503, else
    /// `InvalidArgument`.
    Status(u16),
    /// Accept, and say so with an empty message about a partial success, as
    /// OpenTelemetry's Collector does.
    Empty,
    /// Accept, with a remark of so many bytes.
    Remark(usize),
    /// 200 with a page for browsers.
    Page,
    /// Busy for so many seconds: 429 with `Retry-After`; for gRPC
    /// `ResourceExhausted` with `RetryInfo`.
    Busy(u64),
    /// Accept, after so long.
    Late(Duration),
    /// Never.
    Hang,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The body on the wire (HTTP only).
    pub(crate) raw: Bytes,
    /// The body without compression (HTTP only).
    pub(crate) body: Vec<u8>,
    pub(crate) message: ExportTraceServiceRequest,
    /// Of a request with metrics.
    pub(crate) metrics: Option<ExportMetricsServiceRequest>,
}

#[derive(Default)]
struct Record {
    arrived: Vec<Arrived>,
    /// Answers to the next requests; then all are accepted.
    answers: VecDeque<Answer>,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    record: Arc<Mutex<Record>>,
    server: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    pub(crate) async fn http() -> Self {
        Self::http_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn http_at(addr: SocketAddr) -> Self {
        Self::http_limited(addr, 4 << 20).await
    }

    async fn http_limited(addr: SocketAddr, limit: usize) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let record = Arc::<Mutex<Record>>::default();
        let router = router(record.clone()).layer(DefaultBodyLimit::max(limit));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, record, server }
    }

    /// HTTP with TLS, by this certificate and key; for clients that have this
    /// certificate, if one is given.
    pub(crate) async fn https(pem: &(String, String), client: Option<&str>) -> Self {
        let listener = TlsListener::bind(pem, client).await;
        let addr = listener.tcp.local_addr().unwrap();
        let record = Arc::<Mutex<Record>>::default();
        let router = router(record.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, record, server }
    }

    pub(crate) async fn grpc() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Protocol::Grpc).await
    }

    /// At this address, which may have been another collector's.
    pub(crate) async fn at(addr: SocketAddr, protocol: Protocol) -> Self {
        match protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => Self::http_at(addr).await,
            Protocol::Grpc => Self::grpc_with(Server::builder(), addr, 4 << 20).await,
        }
    }

    /// One that refuses requests of more bytes.
    pub(crate) async fn limited(protocol: Protocol, limit: usize) -> Self {
        let addr = "127.0.0.1:0".parse().unwrap();
        match protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => Self::http_limited(addr, limit).await,
            Protocol::Grpc => Self::grpc_with(Server::builder(), addr, limit).await,
        }
    }

    /// gRPC with TLS, as [`Self::https`].
    pub(crate) async fn grpcs((cert, key): &(String, String), client: Option<&str>) -> Self {
        let mut config = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        if let Some(client) = client {
            config = config.client_ca_root(Certificate::from_pem(client));
        }
        Self::grpc_with(Server::builder().tls_config(config).unwrap(), "127.0.0.1:0".parse().unwrap(), 4 << 20).await
    }

    async fn grpc_with(mut server: Server, addr: SocketAddr, limit: usize) -> Self {
        let incoming = TcpIncoming::bind(addr).unwrap();
        let addr = incoming.local_addr().unwrap();
        let record = Arc::<Mutex<Record>>::default();
        let service = TraceServiceServer::new(Service(record.clone()))
            .max_decoding_message_size(limit)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        let metrics = MetricsServiceServer::new(Service(record.clone()))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        let server = server.add_service(service).add_service(metrics).serve_with_incoming(incoming);
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { addr, record, server }
    }

    /// Answers the next requests like this.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.record.lock().unwrap().answers.extend(answers);
    }

    /// The ids of all spans that arrived, in order, each once.
    pub(crate) fn span_ids(&self) -> Vec<u64> {
        let arrived = self.arrived().into_iter();
        let scopes = arrived.flat_map(|a| a.message.resource_spans).flat_map(|r| r.scope_spans);
        let id = |span: Span| u64::from_be_bytes(span.span_id.try_into().unwrap());
        let ids: BTreeSet<u64> = scopes.flat_map(|s| s.spans).map(id).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.record.lock().unwrap().arrived.clone()
    }
}

fn note(record: &Mutex<Record>, arrived: Arrived) -> Answer {
    let mut record = record.lock().unwrap();
    record.arrived.push(arrived);
    record.answers.pop_front().unwrap_or(Answer::Accept)
}

fn response(answer: Answer) -> ExportTraceServiceResponse {
    let partial_success = match answer {
        Answer::Partial(rejected_spans) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() })
        }
        Answer::Empty => Some(ExportTracePartialSuccess::default()),
        Answer::Remark(bytes) => {
            Some(ExportTracePartialSuccess { rejected_spans: 0, error_message: "x".repeat(bytes) })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }
}

fn router(record: Arc<Mutex<Record>>) -> Router {
    Router::new().fallback(collect).with_state(record)
}

async fn collect(
    State(record): State<Arc<Mutex<Record>>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> impl IntoResponse {
    let encoding = headers.get("content-encoding");
    let body = match encoding.map(|value| value.to_str().unwrap()) {
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&raw[..]);
            decoder.read_to_end(&mut plain).unwrap();
            plain
        }
        Some("zstd") => zstd::decode_all(&raw[..]).unwrap(),
        None => raw.to_vec(),
        Some(other) => panic!("content encoding {other}"),
    };
    let is_json = headers["content-type"] == "application/json";
    let is_metrics = uri.path().ends_with("/v1/metrics");
    let answer = note(
        &record,
        Arrived {
            at: Instant::now(),
            path: uri.path().to_owned(),
            message: match is_json {
                _ if is_metrics => ExportTraceServiceRequest::default(),
                true => serde_json::from_slice(&body).unwrap(),
                false => ExportTraceServiceRequest::decode(&body[..]).unwrap(),
            },
            metrics: is_metrics.then(|| match is_json {
                true => serde_json::from_slice(&body).unwrap(),
                false => ExportMetricsServiceRequest::decode(&body[..]).unwrap(),
            }),
            headers,
            raw,
            body,
        },
    );
    let status = match answer {
        Answer::Accept | Answer::Partial(_) | Answer::Empty | Answer::Remark(_) | Answer::Page => StatusCode::OK,
        Answer::Late(time) => {
            tokio::time::sleep(time).await;
            StatusCode::OK
        }
        Answer::Status(status) => StatusCode::from_u16(status).unwrap(),
        Answer::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        Answer::Hang => std::future::pending().await,
    };
    let content_type =
        if matches!(answer, Answer::Page) { "text/html; charset=utf-8" } else { "application/x-protobuf" };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
    if let Answer::Busy(seconds) = answer {
        headers.insert("retry-after", seconds.into());
    }
    (status, headers, response(answer).encode_to_vec())
}

struct Service(Arc<Mutex<Record>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, message) = request.into_parts();
        let answer = self.note(metadata.into_headers(), message, None).await?;
        Ok(tonic::Response::new(response(answer)))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let (metadata, _, metrics) = request.into_parts();
        let answer = self.note(metadata.into_headers(), ExportTraceServiceRequest::default(), Some(metrics)).await?;
        // The answers of all signals are the same on the wire.
        let response = response(answer).encode_to_vec();
        Ok(tonic::Response::new(ExportMetricsServiceResponse::decode(&response[..]).unwrap()))
    }
}

impl Service {
    async fn note(
        &self,
        headers: HeaderMap,
        message: ExportTraceServiceRequest,
        metrics: Option<ExportMetricsServiceRequest>,
    ) -> Result<Answer, tonic::Status> {
        let arrived = Arrived {
            at: Instant::now(),
            path: String::new(),
            headers,
            raw: Bytes::new(),
            body: Vec::new(),
            message,
            metrics,
        };
        match note(&self.0, arrived) {
            answer @ (Answer::Accept | Answer::Partial(_) | Answer::Empty | Answer::Remark(_) | Answer::Page) => {
                Ok(answer)
            }
            answer @ Answer::Late(time) => {
                tokio::time::sleep(time).await;
                Ok(answer)
            }
            Answer::Status(503) => Err(tonic::Status::unavailable("busy")),
            Answer::Status(_) => Err(tonic::Status::invalid_argument("no")),
            Answer::Busy(seconds) => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
                Err(tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "busy", details))
            }
            Answer::Hang => std::future::pending().await,
        }
    }
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    async fn bind((certificate, key): &(String, String), client: Option<&str>) -> Self {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        use rustls::server::WebPkiClientVerifier;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let parse = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let verifier = match client {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(client) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(parse(client)).unwrap();
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap()
            }
        };
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![parse(certificate)], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        Self { tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, addr) = self.tcp.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
