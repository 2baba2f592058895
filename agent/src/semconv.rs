//! Names of attributes: those of OpenTelemetry's semantic conventions, the older ones that are still read, and our own.

use std::sync::LazyLock;

use crate::environment;

pub(crate) use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, CLIENT_PORT, ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_REQUEST_RESEND_COUNT, HTTP_REQUEST_SIZE, HTTP_RESPONSE_SIZE, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE,
    NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, NETWORK_PROTOCOL_VERSION, NETWORK_TRANSPORT, OPENTRACING_REF_TYPE,
    SERVER_ADDRESS, SERVER_PORT, SERVICE_INSTANCE_ID, SERVICE_NAME, URL_FULL, URL_PATH, URL_QUERY, URL_SCHEME,
    USER_AGENT_ORIGINAL,
};

// Of the conventions before 2023, which much instrumentation still has; deprecated as a name to write.
pub(crate) const HTTP_METHOD: &str = "http.method";
pub(crate) const HTTP_STATUS_CODE: &str = "http.status_code";
pub(crate) const HTTP_TARGET: &str = "http.target";
pub(crate) const HTTP_URL: &str = "http.url";

/// Value of [`OPENTRACING_REF_TYPE`].
pub(crate) const FOLLOWS_FROM: &str = "follows_from";

/// Why a span ended that no `finish=` ended.
pub(crate) const HAPROXY_SPAN_END: &str = "haproxy.span.end";
/// Why the span of a request that was not sampled is there.
pub(crate) const HAPROXY_SPAN_KEPT: &str = "haproxy.span.kept";
pub(crate) const HAPROXY_FRONTEND: &str = "haproxy.frontend";
pub(crate) const HAPROXY_BACKEND: &str = "haproxy.backend";
pub(crate) const HAPROXY_SERVER: &str = "haproxy.server";
/// Who ended the request before its time, and when: two letters (`%ts`).
pub(crate) const HAPROXY_TERMINATION_STATE: &str = "haproxy.termination_state";
pub(crate) const HAPROXY_UNIQUE_ID: &str = "haproxy.unique_id";
/// Milliseconds: until there was a connection free, until it stood, until the response's headers came.
pub(crate) const HAPROXY_QUEUE_MS: &str = "haproxy.queue_ms";
pub(crate) const HAPROXY_CONNECT_MS: &str = "haproxy.connect_ms";
pub(crate) const HAPROXY_HEADERS_MS: &str = "haproxy.headers_ms";

/// Methods that are told apart: those of RFC 9110, PATCH and QUERY.
const METHODS: [&str; 10] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// What all other methods are.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// OpenTelemetry's variable with a list of the methods that are known, instead of those that the conventions name.
pub const KNOWN_METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";

/// The method as the conventions want it.
pub(crate) fn known_method(method: &str) -> &'static str {
    static KNOWN: LazyLock<Vec<String>> = LazyLock::new(|| {
        let list = environment::variable(KNOWN_METHODS).unwrap_or_default();
        let own: Vec<_> = list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        if own.is_empty() { METHODS.map(str::to_owned).into() } else { own }
    });
    KNOWN.iter().find(|known| *known == method).map_or(OTHER_METHOD, String::as_str)
}
