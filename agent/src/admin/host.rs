//! Whom a request is for. A page of the web can give its own name the address of this listener (DNS rebinding) and have
//! the browser read what is served here; the browser then sends that name.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http_server::HttpStats;
use spop_agent::ratelimit::LogLimit;

/// Allows every name.
const ANY: &str = "*";

/// The names that the admin endpoints are asked by. Addresses are always allowed: nobody can give them away.
pub(super) struct Hosts {
    names: Vec<String>,
    stats: Arc<HttpStats>,
    log: LogLimit,
}

impl Hosts {
    /// `bound` is the address to listen on as it was given, `host:port`.
    pub(super) fn new(bound: &str, more: &[String], stats: Arc<HttpStats>) -> Self {
        let system = rustix::system::uname();
        let own = [bound.rsplit_once(':').map_or(bound, |(name, _)| name).to_owned()];
        let nodename = system.nodename().to_string_lossy().into_owned();
        let names = own.into_iter().chain([nodename]).chain(more.iter().cloned());
        Hosts { names: names.map(|name| canonical(&name)).collect(), stats, log: LogLimit::new() }
    }

    fn allow(&self, authority: &Authority) -> bool {
        let name = canonical(authority.host());
        let is_localhost = name == "localhost" || name.ends_with(".localhost");
        is_localhost || is_address(&name) || self.names.iter().any(|allowed| *allowed == name || allowed == ANY)
    }

    /// The first host of the request that is not allowed.
    fn foreign(&self, request: &Request) -> Option<String> {
        let target = request.uri().authority().filter(|authority| !self.allow(authority));
        let is_foreign = |text: &&[u8]| !Authority::try_from(*text).is_ok_and(|authority| self.allow(&authority));
        let header = || request.headers().get_all(HOST).into_iter().map(|host| host.as_bytes()).find(is_foreign);
        target.map(Authority::to_string).or_else(|| header().map(|host| String::from_utf8_lossy(host).into_owned()))
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    v6.map_or_else(|| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()), |host| host.parse::<Ipv6Addr>().is_ok())
}

/// Refuses what is for somebody else. A request without a host comes from no browser.
pub(super) async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    let Some(host) = hosts.foreign(&request) else { return next.run(request).await };
    hosts.stats.misdirected();
    if let Some(left_out) = hosts.log.pass() {
        let host: String = host.chars().take(100).collect();
        tracing::warn!(host, left_out, "request to the admin endpoints refused: --admin-host allows further names");
    }
    let text =
        "This name is not known here. Ask by address or as localhost, or start spoa-otel with --admin-host NAME.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_can_give_away_are_foreign() {
        let more = ["Metrics.Example.".to_owned(), "spoa".to_owned()];
        let hosts = Hosts::new("agent.internal:9464", &more, Arc::default());
        let any = Hosts::new("127.0.0.1:9464", &[ANY.to_owned()], Arc::default());
        let system = rustix::system::uname();
        let own = system.nodename().to_str().unwrap();
        let foreign = |hosts: &Hosts, host: &str| {
            let request = Request::builder().uri("/").header(HOST, host).body(axum::body::Body::empty()).unwrap();
            hosts.foreign(&request).is_some()
        };
        for host in ["localhost", "LOCALHOST:9464", "x.localhost", "localhost.", "127.0.0.1", "192.0.2.7:80", "[::1]"] {
            assert!(!foreign(&hosts, host), "{host}");
        }
        for host in [own, "[2001:db8::1]:1", "agent.internal:9464", "metrics.example:1", "SPOA", "spoa.:1"] {
            assert!(!foreign(&hosts, host), "{host}");
        }
        let theirs = [
            "evil.example",
            "evil.example:9464",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "spoa.evil",
            "::1",
            "",
            "a b",
        ];
        for host in theirs {
            assert!(foreign(&hosts, host), "{host}");
            assert_eq!(foreign(&any, host), matches!(host, "" | "a b" | "::1"), "{host}");
        }
    }

    #[test]
    fn every_host_of_a_request_is_looked_at() {
        let hosts = Hosts::new("127.0.0.1:9464", &[], Arc::default());
        let request = |uri: &str, headers: &[&str]| {
            let builder = Request::builder().uri(uri);
            let builder = headers.iter().fold(builder, |builder, host| builder.header(HOST, *host));
            hosts.foreign(&builder.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(request("/", &[]), None);
        assert_eq!(request("/", &["localhost", "evil.example"]).as_deref(), Some("evil.example"));
        assert_eq!(request("http://evil.example/", &["localhost"]).as_deref(), Some("evil.example"));
        assert_eq!(request("http://localhost/", &["localhost"]), None);
    }
}
