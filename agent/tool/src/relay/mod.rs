//! `spop relay`: between HAProxy and an agent.

mod connection;
mod faults;
mod frames;
mod shared;
mod waiting;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use spop_agent::addr::{Addr, ListenAddr};

use crate::failure::Failure;
use crate::tap::{Listener, Tap, TapOptions};
use faults::FaultOptions;
use shared::{Counts, Shared};

/// Stand between HAProxy and an agent: show both directions, and what an agent in trouble would do
///
/// Every NOTIFY and ACK is a line, as `spop decode` prints it, an ACK with how long it took. Bytes pass unchanged, also what is no
/// SPOP, unless a fault is asked for. Lines and the record have each frame as it came, before its fault; the line says `fault=dropped`,
/// `cut` or `delayed`.
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
    #[command(flatten)]
    faults: FaultOptions,
    #[command(flatten)]
    tap: TapOptions,
}

const EXAMPLES: &str = "\
Examples (HAProxy's `server` line names the relay):
  spop relay 127.0.0.1:12346 127.0.0.1:12345
  spop relay 127.0.0.1:12346 127.0.0.1:12345 --quiet --record session.pcapng
  spop relay 127.0.0.1:12346 unix:/run/spoa.sock --delay 200ms@10% --drop-ack 1%
  spop relay 127.0.0.1:12346 127.0.0.1:12345 --cut 1/100 --seed 7
Ctrl-C ends it with a summary.";

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let runtime = crate::tap::runtime()?;
    // First: a record of an earlier run is not overwritten by one that cannot begin.
    let listener = runtime.block_on(Listener::bind(&options.listen))?;
    let tap = Arc::new(Tap::new(&options.tap)?);
    let latencies =
        Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(|error| Failure::Usage(error.to_string()))?;
    let shared = Arc::new(Shared {
        agent: options.agent.clone(),
        timeout: options.timeout,
        faults: options.faults.clone(),
        all: options.tap.all,
        tap: tap.clone(),
        counts: Counts::default(),
        latencies: Mutex::new(latencies),
    });
    runtime.block_on(listen(listener, options, &shared))?;
    drop(runtime);
    shared.summary();
    drop(shared);
    crate::tap::finish(tap)
}

async fn listen(mut listener: Listener, options: &Options, shared: &Arc<Shared>) -> Result<(), Failure> {
    let told = (&shared.counts.refused, shared.tap.closed());
    let open = listener.serve(options.tap.max_connections, told, |stream, peer| {
        let number = shared.counts.connections.fetch_add(1, Relaxed);
        connection::relay(stream, peer, number, shared.clone())
    });
    // Those that are open end with the relay.
    open.await.map(drop)
}
