//! Endpoints as people write them.

use super::error::{OtlpConfigError, invalid};
use super::protocol::Protocol;
use super::signal::Signal;
use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::borrow::Cow;
use std::fmt::Display;

/// Where a collector takes spans, or metrics.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Uri,
    /// Of the user and the password that were in the URL.
    pub(super) authorization: Option<HeaderValue>,
}

/// What an endpoint's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The URL of a collector.
    Base,
    /// The URL of its receiver of spans, or of metrics.
    Complete,
}

impl Endpoint {
    /// Reads the text of the option or variable `name`. For gRPC it may lack the scheme; `insecure` says then that there
    /// is no TLS.
    pub(super) fn parse(
        name: &str,
        text: &str,
        form: Form,
        (protocol, signal): (Protocol, Signal),
        insecure: bool,
    ) -> Result<Self, OtlpConfigError> {
        // What is wrong may be the place of the password.
        let refused = |reason: &dyn Display| invalid(name, format!("invalid URL {:?}: {reason}", redacted(text)));
        let is_grpc = protocol == Protocol::Grpc;
        let complete = match (is_grpc && !text.contains("://"), insecure) {
            (false, _) => Cow::Borrowed(text),
            (true, true) => format!("http://{text}").into(),
            (true, false) => format!("https://{text}").into(),
        };
        let scheme = complete.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(refused(&"it must start with http:// or https://"));
        }
        let mut url = Url::parse(&complete).map_err(|error| refused(&error))?;
        let authorization = take_credentials(&mut url);
        url.set_fragment(None);
        if form == Form::Base && !is_grpc {
            // Complete already, as people write it, if only for another signal.
            let base = url.path().trim_end_matches('/');
            let base = Signal::ALL.iter().find_map(|signal| base.strip_suffix(signal.path())).unwrap_or(base);
            let path = format!("{base}{}", signal.path());
            url.set_path(&path);
        }
        Ok(Self { url: url.as_str().parse().map_err(|error| refused(&error))?, authorization })
    }
}

/// Moves user and password, which are no part of the address, to where they are sent.
fn take_credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    // Fails for URLs that have no host only.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// For people, without what may be secret: user, password, query.
pub(super) fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let query = if url.query().is_some() { "?..." } else { "" };
    format!("{}://{host}{}{query}", url.scheme_str().unwrap_or_default(), url.path())
}

/// The text of an endpoint without what may be secret, which is clear of an URL only: user, password, query.
pub fn redacted(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or((String::new(), text), |(s, rest)| (format!("{s}://"), rest));
    let query = rest.find(['?', '#']);
    match (rest.rfind('@'), query) {
        // A password with such a character, or a query with an @?
        (Some(at), Some(query)) if query < at => format!("{scheme}..."),
        (Some(at), _) => format!("{scheme}...@{}", without_query(rest.get(at + 1..).unwrap_or_default())),
        (None, _) => format!("{scheme}{}", without_query(rest)),
    }
}

fn without_query(text: &str) -> Cow<'_, str> {
    match text.split_once(['?', '#']) {
        Some((before, _)) => format!("{before}?...").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Form::{Base, Complete};
    use Protocol::{Grpc, HttpProtobuf as Http};

    fn url(text: &str, form: Form, protocol: Protocol) -> String {
        Endpoint::parse("E", text, form, (protocol, Signal::Traces), false).unwrap().url.to_string()
    }

    #[test]
    fn base_urls_are_completed() {
        for (base, complete) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("HTTP://c", "http://c/v1/traces"),
            ("https://[::1]/x/", "https://[::1]/x/v1/traces"),
            ("http://c/x?token=abc", "http://c/x/v1/traces?token=abc"),
            ("http://c?token=abc", "http://c/v1/traces?token=abc"),
            // Complete already, as people write it.
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
            ("http://c:4318/x/v1/traces/?a=b", "http://c:4318/x/v1/traces?a=b"),
            ("http://c:4318/xv1/traces", "http://c:4318/xv1/traces/v1/traces"),
        ] {
            assert_eq!(url(base, Base, Http), complete);
        }
        for complete in ["http://c:4318/", "http://c/x/?token=abc", "http://c/v1/traces/"] {
            assert_eq!(url(complete, Complete, Http), complete);
        }
        assert_eq!(url("http://c:4317", Base, Grpc), "http://c:4317/");
    }

    #[test]
    fn each_signal_has_its_path() {
        for (base, complete) in [
            ("http://c:4318", "http://c:4318/v1/metrics"),
            ("http://c:4318/x/", "http://c:4318/x/v1/metrics"),
            ("http://c:4318/v1/metrics", "http://c:4318/v1/metrics"),
            // As --otlp may have it.
            ("http://c:4318/x/v1/traces?a=b", "http://c:4318/x/v1/metrics?a=b"),
        ] {
            let endpoint = Endpoint::parse("E", base, Base, (Http, Signal::Metrics), false).unwrap();
            assert_eq!(endpoint.url, complete);
        }
    }

    #[test]
    fn grpc_needs_no_scheme() {
        for (text, host) in
            [("c:4317", "c:4317"), ("c", "c"), ("[::1]:4317", "[::1]:4317"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            for (insecure, scheme) in [(true, "http"), (false, "https")] {
                let endpoint = Endpoint::parse("E", text, Base, (Grpc, Signal::Traces), insecure).unwrap();
                assert_eq!(endpoint.url.to_string(), format!("{scheme}://{host}/"));
            }
        }
        // The scheme decides.
        assert_eq!(
            Endpoint::parse("E", "https://c", Base, (Grpc, Signal::Traces), true).unwrap().url.to_string(),
            "https://c/"
        );
    }

    #[test]
    fn user_and_password_become_authorization() {
        for (text, credentials) in [
            ("http://me:pass@c:1", Some("me:pass")),
            ("http://me:p%40ss%C3%A9@c:1", Some("me:p@ss\u{e9}")),
            ("http://me:p@ss@c:1", Some("me:p@ss")),
            ("http://me@c:1", Some("me:")),
            ("http://:token@c:1", Some(":token")),
            ("http://c:1", None),
        ] {
            for (protocol, expected) in [(Http, "http://c:1/v1/traces"), (Grpc, "http://c:1/")] {
                let endpoint = Endpoint::parse("E", text, Base, (protocol, Signal::Traces), false).unwrap();
                assert_eq!(endpoint.url.to_string(), expected);
                let expected = credentials.map(|text| format!("Basic {}", BASE64_STANDARD.encode(text)));
                let found = endpoint.authorization.as_ref();
                assert_eq!(found.map(|value| value.to_str().unwrap().to_owned()), expected, "{text}");
                assert!(found.is_none_or(HeaderValue::is_sensitive));
            }
        }
        let bare = Endpoint::parse("E", "me:pass@c:4317", Base, (Grpc, Signal::Traces), true).unwrap();
        assert!(bare.url == "http://c:4317/" && bare.authorization.is_some());
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, protocol, shown, reason) in [
            ("c:4318", Http, "\"c:4318\"", "must start with http://"),
            ("ftp://c", Grpc, "\"ftp://c\"", "must start with http://"),
            ("http://", Http, "\"http://\"", "empty host"),
            ("http://c:99999", Http, "\"http://c:99999\"", "invalid port"),
            ("http://me:secret@c:x/y", Http, "\"http://...@c:x/y\"", "invalid port"),
            ("http://me:sec/ret@c", Http, "\"http://...@c\"", "invalid port"),
            ("http://me:s?ecret@c", Http, "\"http://...\"", "invalid port"),
            ("http://me:s#ecret@c", Http, "\"http://...\"", "invalid port"),
            ("http://c:x/?token=secret", Grpc, "\"http://c:x/?...\"", "invalid port"),
            ("http://c:x/?mail=a@b&token=secret", Http, "\"http://...\"", "invalid port"),
            ("me:secret@c", Http, "\"...@c\"", "must start with http://"),
            ("htp://me:secret@c?key=secret", Http, "\"htp://...@c?...\"", "must start with http://"),
        ] {
            let error =
                Endpoint::parse("--otlp", text, Base, (protocol, Signal::Traces), false).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--otlp: invalid URL {shown}: ")), "{error}");
            assert!(error.contains(reason) && !error.contains("ecret"), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for (url, expected) in [
            ("http://c:4318/x/v1/traces", "http://c:4318/x/v1/traces"),
            ("https://me:secret@c/x?token=secret", "https://c/x?..."),
            ("https://[::1]:4317/", "https://[::1]:4317/"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), expected);
        }
    }
}
