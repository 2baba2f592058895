//! Very many idle connections to `spoa-otel`: what each of them costs, and that the system has it again when they are closed.
//! 2,000 here; `devenv/soak` sets SPOP_SOAK_CONNECTIONS and shows the figures.

use std::time::{Duration, Instant};

use crate::agent::{LiveAgent, Program, allow_files, figure};
use crate::common::Peer;
use spop_core::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a connection may take, in bytes.
const EACH: u64 = 8 << 10;

/// What the agent may keep for reasons of its own: buffers of its threads, caches of the allocator.
const SLACK: u64 = 2 << 20;

/// The allocator keeps free pages for some ten seconds.
const RETURN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_little_and_give_it_back() {
    let size = match std::env::var("SPOP_SOAK_CONNECTIONS") {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("SPOP_SOAK_CONNECTIONS={text}: {error}")),
        Err(_) => 2000,
    };
    // The agent, which has as many files as this process, raises its own limit.
    if !allow_files(size + 200) {
        return;
    }
    let most = (size + 10).to_string();
    let mut agent = LiveAgent::start(Program::SpoaOtel, &["--max-connections", &most]).await;
    let (files, before) = (agent.open_files(), agent.process.rss());
    let connections = open(&agent.addr, size).await;
    let peak = agent.process.rss();
    agent.serves("many idle connections").await;
    drop(connections);
    agent.open_files_at_most(files).await;
    let each = peak.saturating_sub(before) / size;
    assert!(each <= EACH, "{each} bytes for each connection");
    let (closed, bound) = (Instant::now(), before + SLACK);
    let mut after = agent.process.rss();
    while after > bound {
        let [kib, bound] = [after, bound].map(|bytes| bytes >> 10);
        assert!(closed.elapsed() < RETURN, "{kib} KiB stay, expected at most {bound} KiB");
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = agent.process.rss();
    }
    let [before, peak, after] = [before, peak, after].map(|bytes| bytes >> 10);
    println!(
        "{before} KiB, {peak} KiB with {size} idle connections ({each} bytes each), {after} KiB {:.1?} \
        after they closed",
        closed.elapsed()
    );
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
