//! What tells the requests apart: the attributes of OpenTelemetry's conventions, as far as they are of low cardinality.

use std::time::Duration;

use opentelemetry::{KeyValue, SpanId, TraceId};

use crate::semconv::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION, SERVER_ADDRESS,
    SERVER_PORT, URL_SCHEME, known_method,
};

/// Longest text that is told apart, in bytes.
const MAX_TEXT: usize = 256;

/// The attribute of what is beyond the limit of series, as OpenTelemetry's SDKs have it.
const OVERFLOW: &str = "otel.metric.overflow";

/// A request, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// As it was sent; empty if that is not known.
    pub method: &'a str,
    /// Empty if it is not known.
    pub scheme: &'a str,
    /// Of the response.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error_type: Option<&'a str>,
    /// Of low cardinality; never the path.
    pub route: Option<&'a str>,
    /// Of HTTP, such as `1.1` and `2`.
    pub version: Option<&'a str>,
    /// The name and the port of the server; of requests to one only, since a client of ours may choose any name.
    pub server: Option<(&'a str, u16)>,
    /// From its start to its end.
    pub duration: Duration,
    /// A sampled span that took so long.
    pub exemplar: Option<(TraceId, SpanId)>,
}

/// What one series has in common. Its texts are borrowed: a series that is known costs no memory to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    service: &'a str,
    /// Empty in the series of what is beyond the limit only.
    method: &'a str,
    scheme: &'a str,
    status: Option<u16>,
    error_type: Option<&'a str>,
    route: Option<&'a str>,
    version: Option<&'a str>,
    server: Option<(&'a str, u16)>,
}

impl<'a> Key<'a> {
    pub(super) fn of(service: &'a str, measured: &Measured<'a>) -> Self {
        Key {
            service: bounded(service),
            method: known_method(measured.method),
            scheme: bounded(measured.scheme),
            status: measured.status,
            error_type: measured.error_type.map(bounded),
            route: measured.route.map(bounded),
            version: measured.version.map(bounded),
            server: measured.server.map(|(address, port)| (bounded(address), port)),
        }
    }

    /// The series of what is beyond the limit, of a service, or of all those that are too many: an empty text.
    pub(super) fn overflow(service: &'a str) -> Self {
        Key {
            service,
            method: "",
            scheme: "",
            status: None,
            error_type: None,
            route: None,
            version: None,
            server: None,
        }
    }

    pub(super) fn service(&self) -> &'a str {
        self.service
    }
}

/// As much of a text as is told apart.
fn bounded(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let end = (0..=MAX_TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The same with texts of its own.
#[derive(Debug)]
pub(super) struct Labels {
    service: Box<str>,
    method: Box<str>,
    scheme: Box<str>,
    status: Option<u16>,
    error_type: Option<Box<str>>,
    route: Option<Box<str>>,
    version: Option<Box<str>>,
    server: Option<(Box<str>, u16)>,
}

impl From<&Key<'_>> for Labels {
    fn from(key: &Key<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(Box::from);
        Labels {
            service: key.service.into(),
            method: key.method.into(),
            scheme: key.scheme.into(),
            status: key.status,
            error_type: owned(key.error_type),
            route: owned(key.route),
            version: owned(key.version),
            server: key.server.map(|(address, port)| (address.into(), port)),
        }
    }
}

impl Labels {
    pub(super) fn key(&self) -> Key<'_> {
        Key {
            service: &self.service,
            method: &self.method,
            scheme: &self.scheme,
            status: self.status,
            error_type: self.error_type.as_deref(),
            route: self.route.as_deref(),
            version: self.version.as_deref(),
            server: self.server.as_ref().map(|(address, port)| (&**address, *port)),
        }
    }

    /// Empty in the series of services that are too many.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Without the service, which is the resource's; sorted, as the SDK keeps them.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        if self.method.is_empty() {
            return vec![KeyValue::new(OVERFLOW, true)];
        }
        let text = |name: &'static str, value: &str| KeyValue::new(name, value.to_owned());
        let some = |name, value: &Option<Box<str>>| value.as_deref().map(|value| text(name, value));
        [
            some(ERROR_TYPE, &self.error_type),
            Some(text(HTTP_REQUEST_METHOD, &self.method)),
            self.status.map(|status| KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status))),
            some(HTTP_ROUTE, &self.route),
            some(NETWORK_PROTOCOL_VERSION, &self.version),
            self.server.as_ref().map(|(address, _)| text(SERVER_ADDRESS, address)),
            self.server.as_ref().map(|&(_, port)| KeyValue::new(SERVER_PORT, i64::from(port))),
            Some(text(URL_SCHEME, &self.scheme)).filter(|_| !self.scheme.is_empty()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::semconv::OTHER_METHOD;

    pub(crate) const GET: Measured<'_> = Measured {
        method: "GET",
        scheme: "http",
        status: Some(200),
        error_type: None,
        route: None,
        version: Some("1.1"),
        server: None,
        duration: Duration::from_millis(20),
        exemplar: None,
    };

    #[test]
    fn a_key_comes_back_from_its_labels() {
        let full = Measured {
            method: "POST",
            status: Some(503),
            error_type: Some("503"),
            route: Some("/api/{id}"),
            server: Some(("s1", 8080)),
            ..GET
        };
        for key in [Key::of("proxy", &GET), Key::of("", &full), Key::overflow("proxy")] {
            assert_eq!(Labels::from(&key).key(), key);
        }
        let unknown = Labels::from(&Key::of("proxy", &Measured { scheme: "", version: None, ..GET })).attributes();
        assert_eq!(unknown.len(), 2, "{unknown:?}");
        let attributes = Labels::from(&Key::of("proxy", &full)).attributes();
        let mut sorted = attributes.clone();
        sorted.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!((attributes.len(), &attributes), (8, &sorted));
        assert_eq!(Labels::from(&Key::overflow("proxy")).attributes(), [KeyValue::new("otel.metric.overflow", true)]);
    }

    #[test]
    fn methods_that_clients_make_up_are_one() {
        let method = |method| Key::of("proxy", &Measured { method, ..GET }).method;
        assert_eq!(
            ["GET", "QUERY", "get", "BREW", "", OTHER_METHOD].map(method),
            ["GET", "QUERY", OTHER_METHOD, OTHER_METHOD, OTHER_METHOD, OTHER_METHOD]
        );
    }

    #[test]
    fn long_texts_are_told_apart_by_their_beginnings() {
        let long = "é".repeat(MAX_TEXT);
        let key = Key::of(&long, &Measured { route: Some(&long), ..GET });
        assert_eq!((key.service.len(), key.route.map(str::len)), (MAX_TEXT, Some(MAX_TEXT)));
        let odd = format!("x{long}");
        assert_eq!(bounded(&odd).len(), MAX_TEXT - 1);
        assert_eq!(bounded(&odd[..MAX_TEXT - 1]).len(), MAX_TEXT - 1);
    }
}
