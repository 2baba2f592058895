//! The admin endpoints, over HTTP and for people and programs that look after the agent.
//!
//! Unless there are [`Credentials`] everybody who reaches them may read all of it: bind them to loopback, or to a network of
//! such people. What a browser asks under a name that is not known to be this host's is refused.
//!
//! - [`metrics`]: `/metrics`, what is counted, for Prometheus.
//! - [`health`]: `/healthz` and `/readyz`.
//! - [`traces`]: `/traces` and `/traces.json`, the recent traces.

pub mod health;
mod host;
pub mod metrics;
pub mod traces;

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, Response};
use axum::routing::get;

use crate::http_server::credentials::Credentials;
use crate::http_server::{Guard, HttpLimits, HttpServer, HttpStats, Sockets, check_credentials};
use crate::worker::deadline_after;
use host::Hosts;
use spop_agent::duration;
use spop_agent::tls::Tls;
use spop_agent::watched::FileError;

/// Bounds of the admin listener.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminConfig {
    /// Most connections to the admin endpoints at once; an idle one makes room, else further ones are closed
    #[arg(id = "admin_max_connections", long = "admin-max-connections", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_connections)]
    pub max_connections: usize,

    /// Most of these of one peer, which is an address, or a /64 network of IPv6
    #[arg(id = "admin_max_per_peer", long = "admin-max-per-peer", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_per_peer)]
    pub max_per_peer: usize,

    /// How long the head of a request to them may take, and an idle connection stays open
    #[arg(id = "admin_head_timeout", long = "admin-head-timeout", value_name = "TIME")]
    #[arg(default_value = duration::text(Self::DEFAULT.head_timeout), value_parser = duration::parse)]
    pub head_timeout: Duration,

    /// How long a client may leave their response unread
    #[arg(id = "admin_write_timeout", long = "admin-write-timeout", value_name = "TIME")]
    #[arg(default_value = duration::text(Self::DEFAULT.write_timeout), value_parser = duration::parse)]
    pub write_timeout: Duration,

    /// Further host name that they are asked by, beside localhost, addresses, the name in --admin and this system's own;
    /// * allows any; repeatable
    #[arg(id = "admin_host", long = "admin-host", value_name = "NAME")]
    pub hosts: Vec<String>,

    /// File with a token in each line, of which requests to them need one (Authorization: Bearer), except /healthz and
    /// /readyz; read again when it changes [default: none, everybody may ask]
    #[arg(id = "admin_token_file", long = "admin-token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The same with user:password in each line (Authorization: Basic), as browsers ask for; with both files one is enough
    /// [default: none]
    #[arg(id = "admin_basic_file", long = "admin-basic-file", value_name = "FILE")]
    pub basic_file: Option<PathBuf>,

    /// What is in these files, once they are [read](Self::read_credentials).
    #[arg(skip)]
    pub credentials: Option<Credentials>,

    /// Certificates, if TLS is to be spoken.
    #[arg(skip)]
    pub tls: Option<Tls>,
}

impl AdminConfig {
    const DEFAULT: Self = Self {
        max_connections: 64,
        max_per_peer: 32,
        head_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        hosts: Vec::new(),
        token_file: None,
        basic_file: None,
        credentials: None,
        tls: None,
    };

    /// Reads the files of tokens and passwords, for [`credentials`](Self::credentials); `None` without any.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn read_credentials(&self) -> Result<Option<Credentials>, FileError> {
        let file = |option, path: &Option<PathBuf>| path.clone().map(|path| (option, path));
        let token = file("--admin-token-file", &self.token_file);
        Credentials::load(token, file("--admin-basic-file", &self.basic_file))
    }
}

/// Whoever asks these looks whether the agent lives, and learns no more.
const OPEN: &[&str] = &["/healthz", "/readyz"];

impl Default for AdminConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A path and what is there, for the list of endpoints.
pub type Endpoint = (&'static str, &'static str);

/// The endpoints, put together from routers.
#[derive(Default)]
pub struct Site {
    router: Router,
    endpoints: Vec<Endpoint>,
}

impl Site {
    /// A site with nothing but the list of its endpoints, at `/`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a router with these endpoints. A path must not be added twice.
    pub fn with(mut self, endpoints: &[Endpoint], router: Router) -> Self {
        self.endpoints.extend_from_slice(endpoints);
        self.router = self.router.merge(router);
        self
    }

    fn into_router(self, hosts: Arc<Hosts>, guard: Arc<Guard>) -> Router {
        let (mut links, mut list) = (String::new(), String::new());
        for (path, what) in self.endpoints {
            // Writing to a text cannot fail.
            let _ = writeln!(links, "<li><a href=\"{path}\">{path}</a> {what}</li>");
            let _ = writeln!(list, "  {path:<14} {what}");
        }
        let index = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>spoa-otel</title>\n\
             <h1>spoa-otel</h1>\n<ul>\n{links}</ul>\n</html>\n"
        );
        let not_found = format!("There is nothing here. There is:\n{list}");
        self.router
            .route("/", get(async move || Html(index.clone())))
            .fallback(async move || (StatusCode::NOT_FOUND, not_found.clone()))
            .layer(from_fn_with_state(guard, check_credentials))
            .layer(from_fn_with_state(hosts, host::check))
            .layer(map_response(with_security_headers))
    }
}

/// What a browser must not do with these pages; a handler's own header counts.
async fn with_security_headers(mut response: Response) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A bound listener that does not serve yet.
pub struct Admin {
    sockets: Sockets,
    addrs: Vec<SocketAddr>,
    limits: HttpLimits,
    hosts: Arc<Hosts>,
    stats: Arc<HttpStats>,
    guard: Arc<Guard>,
    tls: Option<Tls>,
}

impl Admin {
    /// Listens on `host:port`.
    ///
    /// # Errors
    /// The address is in use, not allowed or not of this host.
    pub async fn bind(addr: &str, config: AdminConfig) -> io::Result<Self> {
        Self::of(Sockets::bind(addr).await?, addr, config)
    }

    /// Serves sockets that listen already, such as [`passed`](crate::passed) ones.
    ///
    /// # Errors
    /// One of them cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen_on(sockets: Vec<TcpListener>, config: AdminConfig) -> io::Result<Self> {
        Self::of(Sockets::passed(sockets)?, "", config)
    }

    fn of(sockets: Sockets, name: &str, config: AdminConfig) -> io::Result<Self> {
        let stats = Arc::<HttpStats>::default();
        Ok(Admin {
            addrs: sockets.addrs()?,
            sockets,
            limits: limits(&config),
            hosts: Arc::new(Hosts::new(name, &config.hosts, stats.clone())),
            guard: Guard::new("admin", config.credentials, OPEN, stats.clone()),
            tls: config.tls,
            stats,
        })
    }

    /// The real addresses, with the port that the system chose for port 0.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The counters of its connections; they live on after it.
    pub fn stats(&self) -> Arc<HttpStats> {
        self.stats.clone()
    }

    /// Serves on the current Tokio runtime.
    pub fn serve(self, site: Site) -> AdminServer {
        let router = site.into_router(self.hosts, self.guard);
        AdminServer(HttpServer::start(self.sockets, ("admin", self.tls), router, self.limits, self.stats))
    }
}

fn limits(config: &AdminConfig) -> HttpLimits {
    HttpLimits {
        max_connections: config.max_connections,
        max_per_peer: config.max_per_peer,
        // It is what others leave descriptors to.
        reserved_files: 0,
        head_timeout: config.head_timeout,
        write_timeout: config.write_timeout,
    }
}

/// The admin listener at work.
pub struct AdminServer(HttpServer);

impl AdminServer {
    /// Other bounds, for the connections that begin from now on. The names that it is asked by stay.
    pub fn reconfigure(&self, config: &AdminConfig) {
        self.0.set_limits(limits(config));
    }

    /// Accepts no more connections and lets requests under way finish for at most `grace`. To be called last of all, so
    /// that the end can be watched.
    pub async fn shutdown(&self, grace: Duration) {
        self.0.shutdown(deadline_after(grace)).await;
    }
}
