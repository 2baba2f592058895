//! Asks an HTTP service about each client, `GET URL/ADDRESS` with a number as its answer, within a deadline, and remembers it.
//!
//! `cargo run -p spop-agent --example lookup -- 127.0.0.1:12345 http://127.0.0.1:8000/scores`, `haproxy -f score/haproxy.cfg`

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spop_agent::{Answer, Request, Result, Scope, Server};

/// Below HAProxy's `timeout processing`: a late answer helps nobody.
const DEADLINE: Duration = Duration::from_millis(200);
const FRESH: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 100_000;

struct Lookup {
    http: reqwest::Client,
    url: String,
    known: Mutex<HashMap<IpAddr, (Instant, i64)>>,
}

impl Lookup {
    async fn score(&self, ip: IpAddr) -> Result<i64> {
        if let Some((_, score)) = self.known.lock().unwrap().get(&ip).filter(|(asked, _)| asked.elapsed() < FRESH) {
            return Ok(*score);
        }
        let answer = self.http.get(format!("{}/{ip}", self.url)).send().await?.error_for_status()?;
        let score = answer.text().await?.trim().parse()?;
        let mut known = self.known.lock().unwrap();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(ip, (Instant::now(), score));
        Ok(score)
    }
}

#[tokio::main]
async fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<_> = std::env::args().collect();
    let [_, listen, url] = &args[..] else { return Err("usage: lookup ADDRESS URL".into()) };
    let http = reqwest::Client::builder().timeout(DEADLINE).build()?;
    let lookup = Arc::new(Lookup { http, url: url.clone(), known: Mutex::default() });
    let handler = move |request: Request| {
        let lookup = lookup.clone();
        async move {
            let mut answer = Answer::new();
            if let Some(ip) = request.messages().find_map(|message| message.arg("ip")?.as_ip()) {
                // A failure is logged and counted, and HAProxy gets an answer without a score.
                answer.set_var(Scope::Session, "score", lookup.score(ip).await?);
            }
            Ok(answer)
        }
    };
    let server = Server::new_async(handler).bind(&**listen).await?;
    tracing::info!(addr = server.addrs().next().map(tracing::field::display), "listening");
    server.run_until_signal().await
}
