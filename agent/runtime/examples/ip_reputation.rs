//! An agent that rates client addresses: it answers every message that has an `ip` argument by `sess.<prefix>.ip_score`,
//! 42 for 192.0.2.17, else the sum of the address's bytes modulo 101.
//!
//! ```text
//! cargo run --release -p spop-agent --example ip_reputation -- --listen 127.0.0.1:12345
//! ```

use std::io::IsTerminal;
use std::net::IpAddr;

use clap::Parser;
use spop_agent::{Ack, ListenAddr, Notify, Result, Scope, Server, ServerConfig, stop_signal};

/// Rates client addresses for HAProxy (SPOA).
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen: host:port, unix:/path[,mode=660,user=NAME,group=NAME] or abns@name; may be given several times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:12345")]
    listen: Vec<ListenAddr>,
    #[command(flatten)]
    server: ServerConfig,
}

fn rate(notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
    for message in notify.messages() {
        if let Some(ip) = message.arg("ip").and_then(|value| value.as_ip()) {
            ack.set_var(Scope::Session, "ip_score", score(ip))?;
        }
    }
    Ok(())
}

fn score(ip: IpAddr) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>() % 101;
    match ip {
        IpAddr::V4(ip) if ip.octets() == [192, 0, 2, 17] => 42,
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    }
}

// Microseconds of work for a NOTIFY at most: one thread answers hundreds of thousands a second.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let options = Options::parse();
    let stop = stop_signal()?;
    let mut server = Server::new(rate).config(options.server);
    for addr in &options.listen {
        server = server.bind(addr).await.map_err(|error| format!("cannot listen on {addr}: {error}"))?;
        let bound = server.addrs().next_back().map(tracing::field::display);
        tracing::info!(addr = bound, kind = "spop", "listening");
    }
    server.run(stop).await;
    Ok(())
}
