//! The connection to the collector: one HTTP client or one gRPC channel, for
//! all services and for forwarded requests.

use super::answer::{self, MAX_ANSWER};
use super::config::OtlpConfig;
use super::error::OtlpConfigError;
use super::failure::{Failure, error_chain};
use super::payload::{GRPC_PREFIX, Payload};
use super::protocol::Protocol;
use super::{proxy, tls};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use std::error::Error;
use std::future::poll_fn;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Sent as `User-Agent`.
const USER_AGENT: &str = concat!("spoa-otel/", env!("CARGO_PKG_VERSION"));

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A cheaply cloned handle to the connection.
#[derive(Debug, Clone)]
pub(super) enum Transport {
    Http(reqwest::Client),
    Grpc(Channel),
}

impl OtlpConfig {
    /// Whether a connection can be set up: certificates and keys are there and can be used. Connects to nobody.
    ///
    /// # Errors
    /// They are not, or cannot.
    pub fn check(&self) -> Result<(), OtlpConfigError> {
        match self.protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => http_client(self).map(drop),
            Protocol::Grpc => grpc_endpoint(self).map(drop),
        }
    }
}

impl Transport {
    /// Prepares the connection; it is made when the first request needs it.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, OtlpConfigError> {
        match config.protocol {
            Protocol::HttpProtobuf | Protocol::HttpJson => http_client(config).map(Self::Http),
            Protocol::Grpc => Ok(Self::Grpc(grpc_endpoint(config)?.connect_lazy())),
        }
    }
}

fn http_client(config: &OtlpConfig) -> Result<reqwest::Client, OtlpConfigError> {
    let mut builder = reqwest::Client::builder();
    if proxy::is_exempt(&config.url) {
        builder = builder.no_proxy();
    }
    builder
        .tls_backend_preconfigured(tls::of_http(config)?)
        .user_agent(USER_AGENT)
        .connect_timeout(config.attempt_limit())
        // A redirected POST would become a GET.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| config.setup_error(error_chain(&error)))
}

fn grpc_endpoint(config: &OtlpConfig) -> Result<Endpoint, OtlpConfigError> {
    let mut endpoint = Endpoint::from(config.url.clone())
        .user_agent(USER_AGENT)
        .map_err(|error| config.setup_error(error_chain(&error)))?
        .connect_timeout(config.attempt_limit())
        // One connection serves all requests: a dead one has to be found out. More than one ping while a request waits
        // is taken for an attack by some servers.
        .http2_keep_alive_interval(config.attempt_limit())
        .keep_alive_timeout(config.attempt_limit());
    if config.is_https() {
        let tls = tls::of_grpc(config)?;
        endpoint = endpoint.tls_config(tls).map_err(|error| config.setup_error(error_chain(&error)))?;
    }
    Ok(endpoint)
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
        .header(CONTENT_TYPE, if config.protocol == Protocol::HttpJson { JSON } else { PROTOBUF })
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
    *request.uri_mut() = Uri::from_static(config.signal.grpc_method());
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
