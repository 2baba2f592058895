//! Names of attributes: those of OpenTelemetry's semantic conventions, the older ones that are still read, and our own.

pub(crate) use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION,
    OPENTRACING_REF_TYPE, SERVER_ADDRESS, SERVER_PORT, SERVICE_INSTANCE_ID, SERVICE_NAME, URL_FULL, URL_PATH,
    URL_SCHEME,
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
