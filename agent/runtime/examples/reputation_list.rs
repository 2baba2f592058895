//! IP reputation by a list that may change while it is in use: `NETWORK SCORE` a line, the first that fits counts.
//!
//! `cargo run -p spop-agent --example reputation_list -- 127.0.0.1:12345 list.txt`, `haproxy -f score/haproxy.cfg`

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spop_agent::watched::{FileError, NamedFile, Watched};
use spop_agent::{Ack, Notify, Result, Scope, Server};

type List = Vec<(IpNet, i64)>;

/// A list with a wrong line is not taken: the one before it stays in use, and the log says why.
fn parse(file: &NamedFile, content: &[u8]) -> std::result::Result<List, FileError> {
    let text = String::from_utf8_lossy(content);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (net, score) = line.split_once(' ')?;
        let net = net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from));
        Some((net.ok()?, score.trim().parse().ok()?))
    };
    lines.map(|line| entry(line).ok_or_else(|| file.error(format!("not NETWORK SCORE: {line}")))).collect()
}

fn score(list: &List, ip: IpAddr) -> i64 {
    list.iter().find(|(net, _)| net.contains(&ip)).map_or(0, |(_, score)| *score)
}

#[tokio::main]
async fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<_> = std::env::args().collect();
    let [_, listen, path] = &args[..] else { return Err("usage: reputation_list ADDRESS FILE".into()) };
    let file = NamedFile::new("FILE", path);
    let of_file = file.clone();
    let list = Arc::new(Watched::load(vec![file], move |contents| parse(&of_file, &contents[0]))?);
    let watched = list.clone();
    // What cannot be used is in the log; the list that was read before stays.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let _ = watched.reload();
        }
    });
    let rate = move |notify: &Notify<'_>, ack: &mut Ack<'_>| -> Result {
        let list = list.get();
        for message in notify.messages() {
            if let Some(ip) = message.arg("ip").and_then(|value| value.as_ip()) {
                ack.set_var(Scope::Session, "score", score(&list, ip))?;
            }
        }
        Ok(())
    };
    let server = Server::new(rate).bind(&**listen).await?;
    tracing::info!(addr = server.addrs().next().map(tracing::field::display), "listening");
    server.run_until_signal().await
}
