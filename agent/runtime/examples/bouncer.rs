//! A bouncer: rates each request by what it looks like, and says whether HAProxy is to deny it.
//!
//! `cargo run -p spop-agent --example bouncer -- 127.0.0.1:12345`, `haproxy -f bouncer/haproxy.cfg`

use spop_agent::{Ack, Message, Notify, Result, Scope, Server, Value};

/// From here on a request is denied.
const DENIED: i64 = 50;

fn text<'a>(message: &Message<'a>, name: &str) -> &'a [u8] {
    match message.arg(name) {
        Some(Value::String(text)) => text,
        _ => b"",
    }
}

fn score(message: &Message<'_>) -> i64 {
    let (path, agent) = (text(message, "path"), text(message, "user-agent"));
    let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    let mut score = 0;
    if agent.is_empty() {
        score += 30;
    }
    if agent.starts_with(b"sqlmap") || agent.starts_with(b"Nikto") {
        score += 60;
    }
    for wanted in [&b"/wp-login"[..], b"/.env", b"/.git/", b"../"] {
        if has(wanted) {
            score += 40;
        }
    }
    score
}

fn judge(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    for message in notify.messages().filter(|message| message.name == b"judge") {
        let score = score(&message);
        ack.set_var(Scope::Transaction, "score", score)?;
        ack.set_var(Scope::Transaction, "deny", score >= DENIED)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listen = std::env::args().nth(1).ok_or("usage: bouncer ADDRESS")?;
    let server = Server::new(judge).bind(&*listen).await?;
    tracing::info!(addr = server.addrs().next().map(tracing::field::display), "listening");
    server.run_until_signal().await
}
