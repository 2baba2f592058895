//! What was asked, as the conventions for HTTP want it: known methods, path and query, host and port.

use std::borrow::Cow;

use super::record::Record;
use crate::semconv::{OTHER_METHOD, known_method};

/// Parameters of a query whose values are signatures and keys.
const SECRETS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];
const REDACTED: &str = "REDACTED";

/// Bytes of a name of a host, and of a user agent.
const MAX_HOST: usize = 255;
const MAX_USER_AGENT: usize = 512;

/// What was asked.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// One of the known ones, or `_OTHER`; `None` if there is none.
    method: Option<&'static str>,
    name: Cow<'a, str>,
    scheme: &'static str,
    server_scheme: &'static str,
    pub(super) path: &'a str,
    pub(super) query: Cow<'a, str>,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) user_agent: &'a str,
}

impl<'a> Request<'a> {
    pub(super) fn of(record: &'a Record<'_>) -> Self {
        let method = Some(known_method(&record.method)).filter(|_| !record.method.is_empty());
        let method_name = method_name(record.tcp, method);
        let (path, query) = record.uri.split_once('?').unwrap_or((&record.uri, ""));
        let (host, port) = host_and_port(&record.host);
        // Without a name: where the client connected to.
        let (host, port) = if host.is_empty() { (&*record.local_address, record.local_port) } else { (host, port) };
        Request {
            method,
            name: match &*record.route {
                "" => method_name.into(),
                route => format!("{method_name} {route}").into(),
            },
            scheme: scheme(record.tls),
            server_scheme: scheme(record.server_tls),
            path,
            query: redacted(query),
            host: beginning(host, MAX_HOST),
            port,
            user_agent: beginning(&record.user_agent, MAX_USER_AGENT),
        }
    }

    pub(super) fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// Of the SERVER span: with the route, never with the path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Of the connection to the server.
    pub(super) fn server_scheme(&self) -> &'static str {
        self.server_scheme
    }
}

/// What a span without a route is called.
pub(super) fn method_name(tcp: bool, method: Option<&'static str>) -> &'static str {
    match method {
        _ if tcp => "TCP",
        Some(method) if method != OTHER_METHOD => method,
        _ => "HTTP",
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// `name`, `name:port`, `[address]`, `[address]:port`.
fn host_and_port(host: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (host, None),
    }
}

/// So many bytes at most, whole characters.
fn beginning(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// A query without the values of secrets.
fn redacted(query: &str) -> Cow<'_, str> {
    let secret = |parameter: &str| {
        let (name, _) = parameter.split_once('=')?;
        SECRETS.contains(&name).then_some(name.len())
    };
    if !query.split('&').any(|parameter| secret(parameter).is_some()) {
        return Cow::Borrowed(query);
    }
    let mut out = String::with_capacity(query.len());
    for (at, parameter) in query.split('&').enumerate() {
        if at > 0 {
            out.push('&');
        }
        match secret(parameter).and_then(|name| parameter.get(..name)) {
            Some(name) => out.extend([name, "=", REDACTED]),
            None => out.push_str(parameter),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (host, expected) in [
            ("example.com", ("example.com", None)),
            ("example.com:8080", ("example.com", Some(8080))),
            ("[::1]", ("::1", None)),
            ("[::1]:80", ("::1", Some(80))),
            ("example.com:", ("example.com", None)),
            ("a:99999", ("a", None)),
            ("[::1", ("[:", Some(1))),
            ("", ("", None)),
        ] {
            assert_eq!(host_and_port(host), expected, "{host}");
        }
    }

    #[test]
    fn secrets_of_a_query_are_redacted() {
        for (query, expected) in [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("sig=abc", "sig=REDACTED"),
            ("a=1&Signature=x%3D&b", "a=1&Signature=REDACTED&b"),
            (
                "AWSAccessKeyId=1&X-Goog-Signature=2&&sig=",
                "AWSAccessKeyId=REDACTED&X-Goog-Signature=REDACTED&&sig=REDACTED",
            ),
            ("signature=1&asig=2&sig", "signature=1&asig=2&sig"),
        ] {
            assert_eq!(redacted(query), expected, "{query}");
        }
    }

    #[test]
    fn texts_are_bounded_by_whole_characters() {
        assert_eq!((beginning("aé", 2), beginning("aé", 3), beginning("", 3)), ("a", "aé", ""));
    }
}
