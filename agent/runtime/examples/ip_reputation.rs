//! An agent that rates client addresses: it answers every message that has an `ip` argument by `sess.<prefix>.ip_score`,
//! 42 for 192.0.2.17, else the sum of the address's bytes modulo 101.
//!
//! ```text
//! cargo run --release -p spop-agent --example ip_reputation -- --listen 127.0.0.1:12345
//! ```

use std::io::IsTerminal;

use clap::Parser;
use spop_agent::addr::ListenAddr;
use spop_agent::server::{stop_signal, HandlerError, Server, ServerConfig};
use spop_core::{AckEncoder, Messages, Scope, Value};

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

fn rate(messages: Messages<'_>, ack: &mut AckEncoder<'_>) -> Result<(), HandlerError> {
    for message in messages {
        let score = match message?.arg("ip")? {
            Some(Value::Ipv4(ip)) => score(&ip.octets()),
            Some(Value::Ipv6(ip)) => score(&ip.octets()),
            _ => continue,
        };
        ack.set_var(Scope::Session, b"ip_score", Value::Int64(score))?;
    }
    Ok(())
}

fn score(address: &[u8]) -> i64 {
    if address == [192, 0, 2, 17] {
        42
    } else {
        address.iter().map(|&byte| i64::from(byte)).sum::<i64>() % 101
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let options = Options::parse();
    let stop = stop_signal()?;
    let mut server = Server::new(options.server, rate);
    for addr in &options.listen {
        let bound = server.bind(addr).await.map_err(|error| format!("cannot listen on {addr}: {error}"))?;
        tracing::info!(addr = %bound, kind = "spop", "listening");
    }
    server.run(stop).await;
    Ok(())
}
