//! Asks an HTTP service about each client, `GET URL/ADDRESS` with a number as its answer, within a deadline, and remembers it:
//! `cargo run -p spop-agent --example lookup -- 127.0.0.1:12345 http://127.0.0.1:8000/scores`, `haproxy -f score/haproxy.cfg`

use std::time::{Duration, Instant};
use std::{collections::HashMap, net::IpAddr, sync::Arc, sync::Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use spop_agent::{Answer, Request, Result, Scope, Server};

/// Below HAProxy's `timeout processing`.
const DEADLINE: Duration = Duration::from_millis(200);
const FRESH: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 100_000;

struct Lookup {
    http: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    known: Mutex<HashMap<IpAddr, (Instant, i64)>>,
}

impl Lookup {
    async fn score(&self, ip: IpAddr) -> Result<i64> {
        let known = self.known.lock().unwrap().get(&ip).copied();
        if let Some((_, score)) = known.filter(|(asked, _)| asked.elapsed() < FRESH) {
            return Ok(score);
        }
        let answer = self.http.get(format!("{}/{ip}", self.url).parse()?).await?;
        let score = std::str::from_utf8(&answer.into_body().collect().await?.to_bytes())?.trim().parse()?;
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
    let http = Client::builder(TokioExecutor::new()).build_http();
    let lookup = Arc::new(Lookup { http, url: url.clone(), known: Mutex::default() });
    let handler = move |request: Request| {
        let (lookup, mut answer) = (lookup.clone(), Answer::new());
        async move {
            if let Some(ip) = request.messages().find_map(|message| message.arg("ip")?.as_ip()) {
                // A failure is logged and counted, and HAProxy gets an answer without a score.
                answer.set_var(Scope::Session, "score", tokio::time::timeout(DEADLINE, lookup.score(ip)).await??);
            }
            Ok(answer)
        }
    };
    let server = Server::new_async(handler).bind(&**listen).await?;
    tracing::info!(addr = server.addrs().next().map(tracing::field::display), "listening");
    server.run_until_signal().await
}
