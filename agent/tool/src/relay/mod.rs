//! `spop relay`: between HAProxy and an agent.

mod connection;
mod faults;
mod frames;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use spop_agent::addr::{Addr, ListenAddr};
use spop_agent::stop_signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::tap::{Listener, RecordOptions, Tap};
use faults::FaultOptions;

/// Stand between HAProxy and an agent: show both directions, and what an agent in trouble would do
///
/// Every NOTIFY and ACK is a line, as `spop decode` prints it, an ACK with how long it took. Bytes pass unchanged, also what is no
/// SPOP, unless a fault is asked for.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where HAProxy connects: host:port, tcp://host:port, unix:/path[,mode=660,user=NAME,group=NAME] or abns@name
    listen: ListenAddr,
    /// The agent: host:port, tcp://host:port, unix:/path or abns@name
    agent: Addr,
    /// How long the connection to the agent may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::net::time)]
    timeout: Duration,
    /// The most connections at once; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_connections: usize,
    /// Show all frames, also HELLO, DISCONNECT, fragments and health checks
    #[arg(long)]
    all: bool,
    /// Show nothing; the summary at the end remains
    #[arg(long, short, conflicts_with_all = ["all", "json"])]
    quiet: bool,
    /// Print one JSON object per frame
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    faults: FaultOptions,
    #[command(flatten)]
    record: RecordOptions,
}

const EXAMPLES: &str = "\
Examples (HAProxy's `server` line names the relay):
  spop relay 127.0.0.1:12346 127.0.0.1:12345
  spop relay 127.0.0.1:12346 127.0.0.1:12345 --quiet --record session.pcapng
  spop relay 127.0.0.1:12346 unix:/run/spoa.sock --delay 200ms@10% --drop-ack 1%
  spop relay 127.0.0.1:12346 127.0.0.1:12345 --cut 1/100 --seed 7
Ctrl-C ends it with a summary.";

/// What all connections share.
struct Shared {
    agent: Addr,
    timeout: Duration,
    faults: FaultOptions,
    all: bool,
    tap: Arc<Tap>,
    counts: Counts,
    /// In microseconds.
    latencies: Mutex<Histogram<u64>>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    refused: AtomicU64,
    unconnected: AtomicU64,
    notifies: AtomicU64,
    acks: AtomicU64,
    no_frames: AtomicU64,
    delayed: AtomicU64,
    dropped_acks: AtomicU64,
    dropped_notifies: AtomicU64,
    cut: AtomicU64,
    reordered: AtomicU64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let tap = Arc::new(Tap::new(options.quiet, options.json, &options.record)?);
    let latencies =
        Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(|error| Failure::Usage(error.to_string()))?;
    let shared = Arc::new(Shared {
        agent: options.agent.clone(),
        timeout: options.timeout,
        faults: options.faults.clone(),
        all: options.all,
        tap: tap.clone(),
        counts: Counts::default(),
        latencies: Mutex::new(latencies),
    });
    let runtime = crate::tap::runtime()?;
    runtime.block_on(listen(options, &shared))?;
    drop(runtime);
    shared.summary();
    drop(shared);
    crate::tap::finish(tap)
}

async fn listen(options: &Options, shared: &Arc<Shared>) -> Result<(), Failure> {
    let stop = stop_signal()?;
    let mut listener = Listener::bind(&options.listen).await?;
    eprintln!("spop: listening addr={}, in front of {}, Ctrl-C ends it", listener.addr(), options.agent);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return Ok(()),
            () = shared.tap.closed() => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Too many files are open as a rule; some will be closed.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        if connections.len() >= options.max_connections {
            shared.counts.refused.fetch_add(1, Relaxed);
            continue;
        }
        let number = shared.counts.connections.fetch_add(1, Relaxed);
        connections.spawn(connection::relay(stream, peer, number, shared.clone()));
    }
}

impl Shared {
    fn latency(&self, took: Duration) {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record((took.as_micros() as u64).max(1));
    }

    fn summary(&self) {
        let counts = &self.counts;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        eprintln!(
            "spop: {} connections, {} NOTIFYs, {} ACKs",
            count(&counts.connections),
            count(&counts.notifies),
            count(&counts.acks)
        );
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if !latencies.is_empty() {
            let [half, most, last] =
                [0.5, 0.99, 1.0].map(|quantile| latencies.value_at_quantile(quantile) as f64 / 1e3);
            eprintln!("spop: latency of the agent: p50 {half:.3} ms, p99 {most:.3} ms, max {last:.3} ms");
        }
        for (counter, what) in [
            (&counts.refused, "connections refused: --max-connections were open"),
            (&counts.unconnected, "connections closed: the agent could not be reached"),
            (&counts.no_frames, "directions of connections passed on without decoding: they are not SPOP"),
            (&counts.delayed, "ACKs delayed"),
            (&counts.dropped_acks, "ACKs dropped"),
            (&counts.dropped_notifies, "NOTIFYs dropped"),
            (&counts.cut, "connections cut"),
            (&counts.reordered, "ACKs passed on in another order"),
        ] {
            if count(counter) > 0 {
                eprintln!("spop: {} {what}", count(counter));
            }
        }
    }
}
