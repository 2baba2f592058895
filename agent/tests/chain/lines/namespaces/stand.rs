//! A client, two proxies in a row, a server, three agents behind one backend, and a collector; each on a host of its own.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::network::{Host, Links, Network};
use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program};
use crate::lines::client::get;
use crate::lines::two_proxies::{Lines, config_for, until_all_are_asked};
use crate::lines::{Mode, Transport};
use crate::origin::Origin;
use crate::process::PATIENCE;
use crate::scrape::Metrics;
use crate::setup::Spoa;

/// What each proxy waits for an agent at most.
pub const SPOE_TIMEOUT: Duration = Duration::from_millis(500);

/// Requests under way at once.
const CLIENTS: usize = 4;
/// Of each client, after an answer: a bound for what all of this costs.
const PAUSE: Duration = Duration::from_millis(30);

pub struct Agent {
    // Dropped in this order.
    spoa: Spoa,
    pub host: Host,
}

impl Agent {
    pub async fn metrics(&self) -> Metrics {
        let admin = self.spoa.admin.clone();
        self.host.run(async move { Metrics::scrape(&admin).await }).await
    }

    async fn asked(&self) -> f64 {
        self.metrics().await.get("messages_lean_total")
    }
}

/// An answer.
pub struct Answer {
    pub took: Duration,
    pub trace_id: Option<String>,
}

/// What the clients saw in a time.
#[derive(Default)]
pub struct Answers {
    pub traced: Vec<Answer>,
    /// Over both proxies as well, but no agent is asked and no agent gets a line.
    pub plain: Vec<Answer>,
}

impl Answers {
    /// Whether an agent keeps requests waiting: more than links that lose a frame now and then.
    pub fn waited(&self) -> bool {
        let slow = self.traced.iter().filter(|answer| answer.took >= SPOE_TIMEOUT).count();
        4 * slow > self.traced.len()
    }
}

pub struct Stand {
    // Dropped in this order.
    _proxies: Vec<(Haproxy, Host)>,
    /// The first two get lines: of a proxy each.
    pub agents: Vec<Agent>,
    pub collector: Collector,
    pub origin: Origin,
    client: Host,
    _others: [Host; 2],
    addresses: [String; 2],
    /// The traces of all requests so far; each made two lines.
    pub ids: Vec<String>,
    /// Requests that nobody traced.
    pub plain: usize,
    _folder: tempfile::TempDir,
}

impl Stand {
    pub async fn start(program: &Program, transport: Transport, links: Links, name: &str) -> Self {
        let mut network = Network::new(name, links);
        let (client, server, receiver) =
            (network.host("client").await, network.host("server").await, network.host("collector").await);
        let addr = format!("{}:80", server.ip);
        let origin = server.run(async move { Origin::start_at(&addr).await }).await;
        let addr = format!("{}:4318", receiver.ip);
        let collector = receiver.run(async move { Collector::start_at(&addr).await }).await;

        let (mut agents, mut addrs, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=3 {
            let host = network.host(&format!("agent-{number}")).await;
            let log = format!("{}:5140", host.ip);
            let scheme = if transport == Transport::Ring { "tcp" } else { "udp" };
            let (listen, url, lines) =
                (format!("{}:7000", host.ip), collector.url.clone(), format!("{scheme}://{log}"));
            let start = async move {
                let args = ["--otlp", &url, "--log-listen", &lines, "--log-allow", "10.0.0.0/24"];
                Spoa::start(&listen, &args, &[]).await
            };
            let agent = Agent { spoa: host.run(start).await, host };
            addrs.push(agent.spoa.addr.clone());
            logs.push(log);
            agents.push(agent);
        }

        let folder = tempfile::tempdir().unwrap();
        let addrs: Vec<_> = addrs.iter().map(String::as_str).collect();
        let config = config_for(Mode::Lean, &addrs, (&logs, Lines::OfAProxyToOne), &folder);
        // Numbers of lines are exact with one thread.
        let text = std::fs::read_to_string(&config).unwrap().replacen("\nglobal\n", "\nglobal\n    nbthread 1\n", 1);
        assert!(text.contains("nbthread 1"));
        std::fs::write(&config, text).unwrap();
        let hosts = [network.host("proxy-1").await, network.host("proxy-2").await];
        let [addresses, inner] = [0, 1].map(|n| [8000, 8001].map(|port| format!("{}:{port}", hosts[n].ip)));
        let next = [inner.clone(), [(); 2].map(|()| origin.addr.clone())];
        let mut proxies = Vec::new();
        for (n, (host, [traced, plain])) in hosts.into_iter().zip([addresses.clone(), inner]).enumerate() {
            let mut env = vec![
                ("SERVICE_NAME", format!("haproxy-{}", n + 1)),
                ("SPOE_TIMEOUT", format!("{}ms", SPOE_TIMEOUT.as_millis())),
                ("LOG_ADDRESS", logs[n].clone()),
                ("LISTEN_ADDRESS", traced.clone()),
                ("SERVER_ADDRESS", next[n][0].clone()),
                ("PLAIN_ADDRESS", plain),
                ("PLAIN_SERVER_ADDRESS", next[n][1].clone()),
            ];
            if transport == Transport::Ring {
                env.push(("LOG_TARGET", "ring@otel".to_owned()));
            }
            let (program, config) = (program.clone(), config.clone());
            let start = async move {
                let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
                Haproxy::start(&program, &config, &env, &traced).await
            };
            proxies.push((host.run(start).await, host));
        }
        let mut stand = Stand {
            _proxies: proxies,
            agents,
            collector,
            origin,
            client,
            _others: [server, receiver],
            addresses,
            ids: Vec::new(),
            plain: 0,
            _folder: folder,
        };
        if transport == Transport::Ring {
            // Lines that were written before may be forgotten, and nobody would know.
            for agent in &stand.agents[..2] {
                let admin = agent.spoa.admin.clone();
                let connected = |metrics: &Metrics| metrics.get("log_connections_total") > 0.0;
                let wait = async move { drop(Metrics::scrape_until(&admin, "the ring connects", connected).await) };
                agent.host.run(wait).await;
            }
        }
        stand.wait_until_all_are_asked().await;
        stand
    }

    /// Each agent, once more from now on.
    pub async fn wait_until_all_are_asked(&mut self) {
        let before = self.asked().await;
        let asked = async |n: usize| self.agents[n].asked().await > before[n];
        let ids = std::cell::RefCell::new(Vec::new());
        let request = async || {
            let id = self.request().await;
            ids.borrow_mut().push(id);
        };
        let spoas: Vec<_> = self.agents.iter().map(|agent| &agent.spoa).collect();
        until_all_are_asked(&spoas, asked, request).await;
        self.ids.append(&mut ids.into_inner());
    }

    /// How often each agent was asked.
    pub async fn asked(&self) -> Vec<f64> {
        join_all(self.agents.iter().map(Agent::asked)).await
    }

    /// A traced request; its trace.
    async fn request(&self) -> String {
        let addr = self.addresses[0].clone();
        self.client.run(async move { one(&addr).await.trace_id.unwrap() }).await
    }

    /// Clients ask over both ways until this time is over.
    pub async fn load(&mut self, time: Duration) -> Answers {
        let [traced, plain] = self.addresses.clone();
        let clients = async move {
            let end = Instant::now() + time;
            let traced = join_all((0..CLIENTS).map(|_| tokio::spawn(until(end, traced.clone()))));
            let (traced, plain) = tokio::join!(traced, until(end, plain));
            Answers { traced: traced.into_iter().flat_map(Result::unwrap).collect(), plain }
        };
        let answers = self.client.run(clients).await;
        self.ids.extend(answers.traced.iter().map(|answer| answer.trace_id.clone().expect("a request without ids")));
        self.plain += answers.plain.len();
        answers
    }

    /// Lines that came and lines that are known to be missing, of each proxy; together they are all that it wrote. The last
    /// line tells how far it counted.
    pub async fn settled(&mut self) -> [[usize; 2]; 2] {
        let end = Instant::now() + PATIENCE;
        loop {
            let id = self.request().await;
            self.ids.push(id);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut accounts = [[0; 2]; 2];
            for (account, agent) in accounts.iter_mut().zip(&self.agents) {
                let metrics = agent.metrics().await;
                *account =
                    ["log_lines_total{result=\"ours\"}", "log_lines_missing"].map(|name| metrics.get(name) as usize);
            }
            let written = self.ids.len();
            if accounts.iter().all(|[came, missing]| came + missing == written) {
                return accounts;
            }
            let sums = accounts.map(|[came, missing]| came + missing);
            assert!(sums.iter().all(|sum| *sum <= written), "{accounts:?} of {written} each: some came twice");
            assert!(Instant::now() < end, "{accounts:?} of {written} each: some are not accounted for");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn until(end: Instant, addr: String) -> Vec<Answer> {
    let mut answers = Vec::new();
    while Instant::now() < end {
        answers.push(one(&addr).await);
        tokio::time::sleep(PAUSE).await;
    }
    answers
}

async fn one(addr: &str) -> Answer {
    let sent = Instant::now();
    let seen = get(addr, "/namespaces").await;
    assert_eq!(seen.status, Some(200));
    Answer { took: sent.elapsed(), trace_id: seen.trace_id }
}
