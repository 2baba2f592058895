//! The proxy between an OTLP/HTTP exporter and its collector, which `HTTP_PROXY` and its kin may name.

use super::config::OtlpConfig;
use super::protocol::Protocol;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use std::net::IpAddr;

/// What is on this machine is not reached through a proxy, whatever `NO_PROXY` says.
pub(super) fn is_exempt(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The proxy on the way to this collector and the variables that may name it, for the log.
pub(super) fn described(config: &OtlpConfig) -> Option<String> {
    if config.protocol == Protocol::Grpc || is_exempt(&config.url) {
        return None;
    }
    let proxy = Matcher::from_env().intercept(&config.url)?;
    let variable = if config.is_https() { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    Some(format!("{} (of {variable} or ALL_PROXY)", super::endpoint::shown(proxy.uri())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_exempt() {
        for (url, exempt) in [
            ("http://localhost:4318/", true),
            ("http://LOCALHOST/", true),
            ("http://127.0.0.1:1/", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:4318/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
            ("http://[::2]/", false),
        ] {
            assert_eq!(is_exempt(&url.parse().unwrap()), exempt, "{url}");
        }
    }
}
