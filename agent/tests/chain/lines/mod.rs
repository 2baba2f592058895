//! Tracing by HAProxy's log lines: the shipped configurations with more frontends, backends and rules, one `spoa-otel`, one collector.

mod case;
mod cases;
pub mod client;
mod configuration;
mod forged;
pub mod handover;
mod load;
mod namespaces;
mod nine;
mod options;
mod reload;
mod restart;
mod scale_out;
mod table;
mod times;
mod tls;
mod two_proxies;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;

use futures_util::future::join_all;

use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, programs};
use crate::origin::{Full, Origin};
use crate::process::{eventually, free_port};
use crate::scrape::Metrics;
use crate::setup::{Spoa, conf};

/// Who makes the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The agent, asked over SPOP.
    Lean,
    /// HAProxy, since the agent that it would ask is away.
    Fallback,
    /// HAProxy, always.
    LogOnly,
}

impl Mode {
    /// Of the table of HAProxy's versions.
    pub fn suite(self) -> &'static str {
        if self == Mode::LogOnly { "log-only" } else { "lean" }
    }
}

/// How the lines travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Ring,
    Unix,
}

/// What differs between tests.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub mode: Mode,
    pub transport: Transport,
    /// How long HAProxy waits for the agent.
    pub spoe_timeout: &'a str,
    pub spoa_args: &'a [&'a str],
    pub spoa_env: &'a [(&'a str, &'a str)],
    /// Of HAProxy's configuration.
    pub edit: Option<&'a dyn Fn(String) -> String>,
    /// HAProxy is a master with workers.
    pub master: bool,
}

impl Setup<'_> {
    pub fn of(mode: Mode, transport: Transport) -> Self {
        Setup { mode, transport, spoe_timeout: "10s", spoa_args: &[], spoa_env: &[], edit: None, master: false }
    }
}

/// One HAProxy between client and server.
pub struct Proxy {
    // Dropped in this order.
    pub haproxy: Haproxy,
    pub spoa: Spoa,
    pub origin: Origin,
    pub collector: Collector,
    /// Where the lines go.
    pub log: String,
    pub addresses: Addresses,
    /// Requests until the agent was asked.
    pub warm_up: usize,
    _full: Full,
    _folder: tempfile::TempDir,
}

/// Of HAProxy's frontends.
pub struct Addresses {
    pub http: String,
    pub h2: String,
    pub listen: String,
    pub tcp: String,
    pub tls: String,
    /// Nobody answers there.
    pub nobody: String,
}

impl Proxy {
    pub async fn start(program: &Program, setup: Setup<'_>) -> Self {
        let collector = Collector::start().await;
        let folder = tempfile::tempdir().unwrap();
        let log = free_log_address(setup.transport, folder.path());
        let spoa = start_spoa(&format!("127.0.0.1:{}", free_port()), &log, setup, &collector).await;
        Self::around(program, setup, collector, spoa, (log, folder)).await
    }

    /// With this agent and this collector; the lines go to `log`, files into the folder.
    async fn around(
        program: &Program,
        setup: Setup<'_>,
        collector: Collector,
        spoa: Spoa,
        (log, folder): (String, tempfile::TempDir),
    ) -> Self {
        let (origin, full) = (Origin::start().await, Full::new());
        let [http, h2, listen, tcp, tls, nobody] = [(); 6].map(|()| format!("127.0.0.1:{}", free_port()));
        let addresses = Addresses { http, h2, listen, tcp, tls, nobody };
        let configuration = configuration::write(setup, folder.path());
        let spoe_cfg = conf("spoe-lean.cfg").to_str().unwrap().to_owned();
        let mut env = vec![
            ("SERVICE_NAME", "proxy"),
            // As a whole: HAProxy forgets `default-path` at the second filter.
            ("SPOE_CFG", &spoe_cfg),
            ("SPOE_TIMEOUT", setup.spoe_timeout),
            ("LOG_ADDRESS", &log),
            ("LISTEN_ADDRESS", &addresses.http),
            ("SERVER_ADDRESS", &origin.addr),
            ("H2_ADDRESS", &addresses.h2),
            ("LISTEN_SECTION_ADDRESS", &addresses.listen),
            ("TCP_ADDRESS", &addresses.tcp),
            ("TLS_ADDRESS", &addresses.tls),
            ("NOBODY", &addresses.nobody),
            ("FULL", &full.addr),
            ("SPOA_ADDRESS", if setup.mode == Mode::Fallback { &addresses.nobody } else { &spoa.addr }),
        ];
        if setup.transport == Transport::Ring {
            env.push(("LOG_TARGET", "ring@otel"));
        }
        let haproxy = Haproxy::start_as(setup.master, program, &configuration, &env, &addresses.http).await;
        // One after the other begins to listen, and a connection to see it would be logged.
        let Addresses { h2, listen, tcp, tls, .. } = &addresses;
        eventually("HAProxy listens everywhere", || {
            [h2, listen, tcp, tls].iter().all(|addr| listens(addr)).then_some(())
        })
        .await;
        let mut proxy =
            Proxy { haproxy, spoa, origin, collector, log, addresses, warm_up: 0, _full: full, _folder: folder };
        if setup.transport == Transport::Ring {
            // HAProxy 3.0 may forget lines that it wrote before.
            let connected = |metrics: &Metrics| metrics.get("log_connections_total") > 0.0;
            Metrics::scrape_until(&proxy.spoa.admin, "the ring connects", connected).await;
        }
        if setup.mode == Mode::Lean {
            proxy.wait_until_asked().await;
        }
        proxy
    }

    /// The first health check of `option spop-check` may come after the first request.
    pub async fn wait_until_asked(&mut self) {
        let answered = |metrics: &Metrics| metrics.sum("messages_total", "") > 0.0;
        loop {
            client::get(&self.addresses.http, "/warm-up").await;
            self.warm_up += 1;
            if answered(&Metrics::scrape(&self.spoa.admin).await) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Whether somebody listens at this address of 127.0.0.1. Listeners come first in that file; the rest may be tens of thousands of
/// connections that have ended, and what else a test has under way waits for who reads them.
fn listens(addr: &str) -> bool {
    let port: u16 = addr.rsplit_once(':').unwrap().1.parse().unwrap();
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
    let lines = BufReader::new(File::open("/proc/net/tcp").unwrap()).lines().skip(1).map(Result::unwrap);
    lines.take_while(|line| line.contains(" 00000000:0000 0A ")).any(|line| line.contains(&listening))
}

/// Runs this with each HAProxy, side by side: they wait more than they work.
pub async fn with_each(run: impl AsyncFn(Program)) {
    join_all(programs().into_iter().map(|program| run(program))).await;
}

/// The agent with a listener for lines.
pub async fn start_spoa(listen: &str, log: &str, setup: Setup<'_>, collector: &Collector) -> Spoa {
    let scheme = match setup.transport {
        Transport::Udp => "udp://",
        Transport::Ring => "tcp://",
        Transport::Unix => "unix:",
    };
    let log = format!("{scheme}{log}");
    let args = [&["--otlp", &collector.url, "--log-listen", &log], setup.spoa_args].concat();
    Spoa::start(listen, &args, setup.spoa_env).await
}

pub fn free_log_address(transport: Transport, folder: &Path) -> String {
    match transport {
        Transport::Udp => free_udp_address(),
        Transport::Ring => format!("127.0.0.1:{}", free_port()),
        Transport::Unix => folder.join("log.sock").to_str().unwrap().to_owned(),
    }
}

pub fn free_udp_address() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
