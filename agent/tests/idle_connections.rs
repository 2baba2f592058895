//! Very many idle connections to `spoa-otel`: what each of them costs, and that it is free again when they are closed. 1,000
//! here; `devenv/soak` sets SPOP_SOAK_CONNECTIONS and shows the figures.
//!
//! Free for the next ones: glibc's malloc gives memory back to the system only above the highest block in use. What stays is
//! at most what these connections took.

#[path = "hostile/agent.rs"]
#[allow(dead_code)] // A part is for hostile peers.
mod agent;
mod common;
#[path = "chain/process.rs"]
#[allow(dead_code)]
mod process;
mod spop_support;

use agent::{allow_files, figure, LiveAgent, Program};
use common::Peer;
use spop_core::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a connection may take, in bytes.
const EACH: u64 = 8 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_little_and_give_it_back() {
    let size = match std::env::var("SPOP_SOAK_CONNECTIONS") {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("SPOP_SOAK_CONNECTIONS={text}: {error}")),
        Err(_) => 1000,
    };
    // The agent, which has as many files as this process, raises its own limit.
    if !allow_files(size + 200) {
        return;
    }
    let most = (size + 10).to_string();
    let mut agent = LiveAgent::start(Program::SpoaOtel, &["--max-connections", &most]).await;
    let (files, before) = (agent.open_files(), agent.process.rss());
    let mut after = [0; 3];
    for (n, rss) in after.iter_mut().enumerate() {
        let connections = open(&agent.addr, size).await;
        let peak = agent.process.rss();
        agent.serves("many idle connections").await;
        drop(connections);
        agent.open_files_at_most(files).await;
        *rss = agent.process.rss();
        let each = peak.saturating_sub(before) / size;
        let [before, peak, rss] = [before, peak, *rss].map(|bytes| bytes >> 10);
        println!(
            "round {}: {before} KiB, {peak} KiB with {size} idle connections ({each} bytes each), {rss} KiB without",
            n + 1
        );
        assert!(each <= EACH, "{each} bytes for each connection");
    }
    // A connection lost with what belongs to it would show; what malloc keeps for the next ones does not grow.
    let slack = (1 << 20) + size * 512;
    assert!(after[2] <= after[0] + slack, "it grows each time: {after:?}");
    let log = agent.stop().await;
    assert_eq!(figure(&log, "report: connections ended", "refused"), 0);
}

async fn open(addr: &str, size: u64) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for start in (0..size).step_by(100) {
        let mut some = JoinSet::new();
        for _ in start..size.min(start + 100) {
            let addr = addr.to_owned();
            some.spawn(async move { Peer::hello(&addr, ClientConfig::DEFAULT).await.stream });
        }
        connections.extend(some.join_all().await);
    }
    connections
}
