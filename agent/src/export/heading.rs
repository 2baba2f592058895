//! What a trace is headed by: method, path and status of its request. The name of its root is the same for all traces
//! as a rule, or a method alone.

use crate::cut;
use crate::semconv::{
    HTTP_METHOD, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_RESPONSE_STATUS_CODE, HTTP_STATUS_CODE,
    HTTP_TARGET, HTTP_URL, URL_FULL, URL_PATH,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::borrow::Cow;

/// The attributes of OpenTelemetry's conventions for HTTP, then those of the older ones. A method that few know is
/// `_OTHER`, and itself in an attribute of its own.
const METHOD: [&str; 3] = [HTTP_REQUEST_METHOD_ORIGINAL, HTTP_REQUEST_METHOD, HTTP_METHOD];
const STATUS: [&str; 2] = [HTTP_RESPONSE_STATUS_CODE, HTTP_STATUS_CODE];
/// Of these the path is taken: a query may hold secrets.
const URLS: [&str; 3] = [URL_FULL, HTTP_TARGET, HTTP_URL];
/// Longest text, in characters.
const MAX_TEXT: usize = 200;

/// A request, as far as it is known: an empty text is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: String,
}

impl HttpRequest {
    /// What the attributes of a span say.
    pub(crate) fn of_span<'a>(attribute: impl Fn(&'static str) -> Option<Cow<'a, str>>) -> Self {
        let first = |names: &[&'static str]| names.iter().find_map(|name| attribute(name));
        let text = |value: Option<Cow<'a, str>>| value.map(|value| cut::to_chars(&value, MAX_TEXT)).unwrap_or_default();
        let path = attribute(URL_PATH).or_else(|| first(&URLS).map(|url| path_of(&url).to_owned().into()));
        Self { method: text(first(&METHOD)), path: text(path), status: text(first(&STATUS)) }
    }

    /// The request of a trace. `spans`: service, kind and request of each, the root first, then the others by their
    /// start.
    ///
    /// The root's service is believed before others, whose requests may be of another path and end otherwise; and what
    /// was asked of it before what it asked itself, whose answer need not have reached the client.
    pub(crate) fn of_trace<'a>(spans: impl Iterator<Item = (&'a str, SpanKind, Self)>) -> Self {
        let spans: Vec<_> = spans.collect();
        let of_root = |service: &str| spans.first().is_some_and(|(root, ..)| *root == service);
        let own = spans.iter().filter(|(service, ..)| of_root(service));
        let was_asked = |kind: SpanKind| kind == SpanKind::Server;
        let is_told = own.clone().any(|(_, kind, request)| was_asked(*kind) && request.title().is_some());
        let believed = own.filter(|(_, kind, _)| !is_told || *kind != SpanKind::Client);
        let request = Self::merged(believed.map(|(.., request)| request));
        if request.title().is_some() { request } else { Self::merged(spans.iter().map(|(.., request)| request)) }
    }

    /// What is known first.
    fn merged<'a>(requests: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let first = |text: fn(&Self) -> &String| {
            requests.clone().map(text).find(|text| !text.is_empty()).cloned().unwrap_or_default()
        };
        Self { method: first(|of| &of.method), path: first(|of| &of.path), status: first(|of| &of.status) }
    }

    /// Method and path, as far as they are known.
    pub(crate) fn title(&self) -> Option<String> {
        let known: Vec<_> = [&*self.method, &*self.path].into_iter().filter(|text| !text.is_empty()).collect();
        (!known.is_empty()).then(|| known.join(" "))
    }

    /// Whether the server failed.
    pub(crate) fn is_error(&self) -> bool {
        self.status.len() == 3 && self.status.starts_with('5')
    }

    /// The same with other texts.
    pub(crate) fn map(self, text: impl Fn(&str) -> String) -> Self {
        Self { method: text(&self.method), path: text(&self.path), status: text(&self.status) }
    }
}

/// The path in an URL, or in the target of a request.
fn path_of(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(attributes: &[(&str, &str)]) -> HttpRequest {
        let value = |name: &str| attributes.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
        HttpRequest::of_span(|name| value(name).map(|value| value.to_owned().into()))
    }

    fn request(method: &str, path: &str, status: &str) -> HttpRequest {
        HttpRequest { method: method.to_owned(), path: path.to_owned(), status: status.to_owned() }
    }

    #[test]
    fn the_attributes_of_both_conventions() {
        let new = [("http.request.method", "GET"), ("url.path", "/a?b"), ("http.response.status_code", "200")];
        let old = [("http.method", "PUT"), ("http.url", "/old?token=abc"), ("http.status_code", "503")];
        assert_eq!(of(&new), request("GET", "/a?b", "200"));
        assert_eq!(of(&old), request("PUT", "/old", "503"));
        assert_eq!(of(&[old, new].concat()), of(&new));
        assert_eq!(of(&[("other", "GET")]), HttpRequest::default());
        let odd = [("http.request.method", "_OTHER"), ("http.request.method_original", "BREW")];
        assert_eq!(of(&odd), request("BREW", "", ""));
        for (url, path) in [
            ("https://host:1/a/b?c=/d#e", "/a/b"),
            ("http://host?c", "/"),
            ("http://host", "/"),
            ("/a#b?c", "/a"),
            ("*", "*"),
            ("", ""),
        ] {
            for name in URLS {
                assert_eq!(of(&[(name, url)]).path, path, "{name} {url}");
            }
        }
        assert_eq!(of(&[("url.path", &"é".repeat(201))]).path, format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn the_service_of_the_root_is_believed_before_others() {
        let proxy = |request| ("proxy", SpanKind::Internal, request);
        let none = || proxy(HttpRequest::default());
        let inner = || ("server", SpanKind::Server, request("GET", "/inner", "502"));
        let of = |spans: &[(&'static str, SpanKind, HttpRequest)]| HttpRequest::of_trace(spans.iter().cloned());
        let spans = [none(), inner(), proxy(request("GET", "/outer", "")), proxy(request("", "", "200"))];
        assert_eq!(of(&spans), request("GET", "/outer", "200"));
        assert_eq!(of(&[none(), inner()]), request("GET", "/inner", "502"));
        // The server's status is not the proxy's.
        assert_eq!(of(&[proxy(request("GET", "/outer", "")), inner()]), request("GET", "/outer", ""));
        assert_eq!(of(&[none()]), HttpRequest::default());
        assert_eq!(of(&[]).title(), None);
    }

    #[test]
    fn what_a_proxy_was_asked_comes_before_what_it_asked() {
        let asked = |path, status| ("proxy", SpanKind::Server, request("GET", path, status));
        let asks = ("proxy", SpanKind::Client, request("POST", "/changed", "200"));
        let of = |spans: &[(&'static str, SpanKind, HttpRequest)]| HttpRequest::of_trace(spans.iter().cloned());
        assert_eq!(of(&[asked("/a", "503"), asks.clone()]), request("GET", "/a", "503"));
        // The client was gone before it got the server's answer.
        assert_eq!(of(&[asked("/a", ""), asks.clone()]), request("GET", "/a", ""));
        let answered = ("proxy", SpanKind::Internal, request("", "", "502"));
        assert_eq!(of(&[asked("/a", ""), asks.clone(), answered]), request("GET", "/a", "502"));
        let untold = ("proxy", SpanKind::Server, HttpRequest::default());
        assert_eq!(of(&[untold, asks]), request("POST", "/changed", "200"));
    }

    #[test]
    fn a_title_of_what_is_known() {
        assert_eq!(request("GET", "/a", "200").title().as_deref(), Some("GET /a"));
        assert_eq!(request("GET", "", "").title().as_deref(), Some("GET"));
        assert_eq!(request("", "/a", "").title().as_deref(), Some("/a"));
        assert_eq!(request("", "", "200").title(), None);
        assert_eq!(
            ["200", "404", "500", "599", "5", ""].map(|s| request("", "", s).is_error()),
            [false, false, true, true, false, false]
        );
    }
}
