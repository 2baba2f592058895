//! `fake-server`: an instrumented HTTP server to put behind HAProxy.
//!
//! It answers every path with the trace context it received, and exports one SERVER span per request.
#![forbid(unsafe_code)]

mod behaviour;
mod server;
mod telemetry;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use spop_agent::stop_signal;
use tokio::net::TcpListener;

/// HTTP server that shows the trace context it received and exports a SERVER span for each request.
///
/// Any path answers 200 with a JSON text. In the query, `delay=200ms` waits before the answer, `status=503` chooses the status,
/// `cache=60` lets caches keep the answer for so many seconds, and `close` closes the connection without an answer.
/// The path /healthz answers 200 without a span.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address to listen on; with port 0 a free one. It is printed when the server is ready.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// OTLP receiver (http/protobuf), such as http://127.0.0.1:4318; without one, no spans are exported.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp: Option<String>,

    /// Connections served at the same time; further ones wait to be accepted.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,

    /// The longest `delay=` that is granted; a longer one is answered with 400.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    max_delay: Duration,

    /// How long open requests may take to end after SIGTERM, SIGINT or SIGUSR1.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::WARN)
        .init();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    // Outside of the runtime: the exporter's client blocks, on the batch processor's own thread.
    let provider = telemetry::provider(options.otlp.as_deref())?;
    let server = server::Server::new(&provider, options.max_delay);
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(listen_and_serve(&options, server)));
    let flushed = provider.shutdown().context("the last spans could not be exported");
    served.and(flushed)
}

async fn listen_and_serve(options: &Options, server: server::Server) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    writeln!(std::io::stdout(), "listening addr={} kind=http", listener.local_addr()?)?;
    server::serve(listener, server, options.max_connections, options.grace, stop).await;
    Ok(())
}
