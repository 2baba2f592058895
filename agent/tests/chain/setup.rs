//! The chain under test: client, two HAProxys, a server; one `spoa-otel` for both, one collector.

use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program};
use crate::http::http_client;
use crate::lines::free_udp_address;
use crate::origin::Origin;
use crate::process::free_port;
pub use crate::spoa::{Spoa, conf};

/// What differs between tests.
#[derive(Clone)]
pub struct Setup<'a> {
    pub spoe_cfg: &'a str,
    /// How long HAProxy waits for the agent.
    pub spoe_timeout: &'a str,
    pub cache: bool,
    /// HAProxy's log lines go to the agent.
    pub lines: bool,
    /// How HAProxy speaks TLS with the agent, if it does: the words of its server line.
    pub tls: Option<&'a str>,
    pub spoa_args: &'a [&'a str],
    pub spoa_env: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            spoe_cfg: "spoe.cfg",
            spoe_timeout: "10s",
            cache: false,
            lines: false,
            tls: None,
            spoa_args: &[],
            spoa_env: &[],
        }
    }
}

pub struct Chain {
    // Dropped in this order: the proxies first.
    pub proxies: [Haproxy; 2],
    pub spoa: Spoa,
    pub origin: Origin,
    pub collector: Collector,
    /// Base URL of the traced way.
    pub url: String,
    pub http: reqwest::Client,
}

impl Chain {
    pub async fn start(program: &Program, setup: Setup<'_>) -> Self {
        let collector = Collector::start().await;
        let origin = Origin::start().await;
        let mut args = setup.spoa_args.to_vec();
        if !args.contains(&"--otlp") {
            args.extend(["--otlp", collector.url.as_str()]);
        }
        let log = free_udp_address();
        let listener = format!("udp://{log}");
        if setup.lines {
            args.extend(["--log-listen", &listener]);
        }
        let suffix = if setup.tls.is_some() { ",tls" } else { "" };
        let spoa = Spoa::start(&format!("127.0.0.1:{}{suffix}", free_port()), &args, setup.spoa_env).await;
        let [one, one_plain, two, two_plain, stats] = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
        let mut env = vec![
            ("SPOE_CFG", setup.spoe_cfg),
            ("SPOE_TIMEOUT", setup.spoe_timeout),
            ("SPOA_ADDRESS", spoa.addr.as_str()),
            ("SPOA_TLS", setup.tls.unwrap_or("no-ssl")),
            ("STATS_ADDRESS", &stats),
            ("PROXY1_ADDRESS", &one),
            ("PROXY1_PLAIN_ADDRESS", &one_plain),
            ("PROXY2_ADDRESS", &two),
            ("PROXY2_PLAIN_ADDRESS", &two_plain),
            ("SERVER_ADDRESS", &origin.addr),
            // For HAProxy 3.4. The servers of most tests answer, see `nine_spans.rs` and `failures.rs`.
            ("NINE_SPANS_ANYWAY", "1"),
        ];
        if setup.lines {
            env.push(("LOG_TARGET", &log));
        }
        if setup.cache {
            env.push(("WITH_CACHE", "1"));
        }
        let proxies = [
            Haproxy::start(program, &conf("haproxy-1.cfg"), &env, &one).await,
            Haproxy::start(program, &conf("haproxy-2.cfg"), &env, &two).await,
        ];
        let chain = Chain { proxies, spoa, origin, collector, url: format!("http://{one}"), http: http_client() };
        chain.wait_until_traced().await;
        chain
    }

    /// The first health check of `option spop-check` may come after the first request.
    pub async fn wait_until_traced(&self) {
        for _ in 0..1000 {
            let answer = self.http.get(format!("{}/warm-up", self.url)).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            if answer.headers().contains_key("x-trace-id") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no request is traced");
    }

    /// A request on a connection of its own, all the way: on one that was used before, HAProxy answers the failure of
    /// its server by closing, not by a 502.
    pub async fn get_alone(&self, path: &str) -> reqwest::Response {
        http_client().get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

/// The trace id that HAProxy~1 tells its client.
pub fn trace_id(answer: &reqwest::Response) -> String {
    answer.headers()["x-trace-id"].to_str().unwrap().to_owned()
}
