//! The HTTP side: connections, requests, and one span for each.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator as _};
use opentelemetry::trace::{
    Span, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use opentelemetry_semantic_conventions::attribute as semconv;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::behaviour::Behaviour;

/// A client that does not finish its request headers loses its connection after this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The methods that conventions allow in a span name; any other would make the number of names unbounded.
const KNOWN_METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// What all requests share.
pub(crate) struct Server {
    tracer: SdkTracer,
    propagator: TextMapCompositePropagator,
    max_delay: Duration,
}

/// The request asked for the connection to be closed without an answer.
#[derive(Debug)]
struct CloseWithoutAnswer;

impl std::fmt::Display for CloseWithoutAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer, as asked for")
    }
}

impl std::error::Error for CloseWithoutAnswer {}

/// Serves until `stop` is ready, then lets open requests end for `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    server: Server,
    max_connections: u32,
    grace: Duration,
    stop: impl Future<Output = ()>,
) {
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(max_connections as usize));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = &mut stop => break,
            (place, accepted) = accepted => match accepted {
                Ok(connection) => (place, connection),
                Err(error) => {
                    // Most likely out of file descriptors: give others time to end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { server.answer(request, peer).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is the client's affair; its requests have their spans.
            let _ended = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut");
    }
}

impl Server {
    /// A server whose spans go to `provider`.
    pub(crate) fn new(provider: &SdkTracerProvider, max_delay: Duration) -> Self {
        Self {
            tracer: provider.tracer(env!("CARGO_PKG_NAME")),
            propagator: TextMapCompositePropagator::new(vec![
                Box::new(TraceContextPropagator::new()),
                Box::new(BaggagePropagator::new()),
            ]),
            max_delay,
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, CloseWithoutAnswer> {
        if request.uri().path() == "/healthz" {
            return Ok(text(StatusCode::OK, "ok\n".to_owned()));
        }
        // Not on top of any current context: there is none in a server's new request.
        let parent = self.propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()));
        let mut span = self.open_span(&request, peer, &parent);
        let response = match Behaviour::from_query(request.uri().query().unwrap_or_default(), self.max_delay) {
            Ok(wanted) => {
                tokio::time::sleep(wanted.delay).await;
                if wanted.close {
                    span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, "closed_without_answer"));
                    span.set_status(Status::error("closed without an answer"));
                    return Err(CloseWithoutAnswer);
                }
                report(&request, &parent, span.span_context(), &wanted)
            }
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let status = response.status();
        span.set_attribute(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        Ok(response)
    }

    /// A SERVER span by the stable HTTP conventions; it ends when it is dropped.
    fn open_span(&self, request: &Request<Incoming>, peer: SocketAddr, parent: &Context) -> impl Span {
        let uri = request.uri();
        let sent_method = request.method().as_str();
        let known = KNOWN_METHODS.contains(&sent_method);
        let mut attributes = vec![
            KeyValue::new(
                semconv::HTTP_REQUEST_METHOD,
                if known { sent_method.to_owned() } else { "_OTHER".to_owned() },
            ),
            KeyValue::new(semconv::URL_SCHEME, "http"),
            KeyValue::new(semconv::URL_PATH, uri.path().to_owned()),
            KeyValue::new(semconv::NETWORK_PEER_ADDRESS, peer.ip().to_string()),
            KeyValue::new(semconv::NETWORK_PEER_PORT, i64::from(peer.port())),
        ];
        if !known {
            attributes.push(KeyValue::new(semconv::HTTP_REQUEST_METHOD_ORIGINAL, sent_method.to_owned()));
        }
        if let Some(query) = uri.query() {
            attributes.push(KeyValue::new(semconv::URL_QUERY, query.to_owned()));
        }
        if let Some(version) = version(request.version()) {
            attributes.push(KeyValue::new(semconv::NETWORK_PROTOCOL_VERSION, version));
        }
        if let Some(agent) = header(request.headers(), USER_AGENT.as_str()) {
            attributes.push(KeyValue::new(semconv::USER_AGENT_ORIGINAL, agent.to_owned()));
        }
        let authority = header(request.headers(), HOST.as_str()).and_then(|host| host.parse().ok());
        if let Some(authority) = authority.as_ref().or_else(|| uri.authority()) {
            attributes.push(KeyValue::new(semconv::SERVER_ADDRESS, authority.host().to_owned()));
            let port = authority.port_u16().unwrap_or(80);
            attributes.push(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
        }
        self.tracer
            .span_builder(if known { sent_method.to_owned() } else { "HTTP".to_owned() })
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, parent)
    }
}

/// The trace context as it arrived, raw and as understood.
fn report(
    request: &Request<Incoming>,
    parent: &Context,
    own: &SpanContext,
    wanted: &Behaviour,
) -> Response<Full<Bytes>> {
    let baggage: serde_json::Map<_, _> =
        parent.baggage().iter().map(|(name, (value, _))| (name.to_string(), json!(value.as_str()))).collect();
    let remote = parent.span().span_context().clone();
    let received = |name| header(request.headers(), name);
    let shown = json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "received": {
            "traceparent": received("traceparent"),
            "tracestate": received("tracestate"),
            "baggage": received("baggage"),
            "x-unique-id": received("x-unique-id"),
        },
        "baggage": baggage,
        "trace_id": own.trace_id().to_string(),
        "span_id": own.span_id().to_string(),
        "parent_span_id": remote.is_valid().then(|| remote.span_id().to_string()),
    });
    let mut response = text(wanted.status, format!("{shown:#}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = wanted.cache
        && let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}"))
    {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        _ => None,
    }
}
