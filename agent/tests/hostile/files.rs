//! Out of files: those who are there are served, the log stays quiet, and who waits is served as soon as there is a file.

use std::time::Duration;

use rustix::process::{prlimit, Pid, Resource, Rlimit};
use tokio::net::TcpStream;

use crate::agent::{LiveAgent, Program, BOTH};
use crate::case::QUIET;

#[tokio::test]
async fn more_connections_than_files() {
    for program in BOTH {
        let args: &[&str] = match program {
            Program::SpoaOtel => &["--otlp-listen", "127.0.0.1:0"],
            Program::IpReputation => &[],
        };
        let mut agent = LiveAgent::start(program, args).await;
        let files = agent.open_files();
        let pid = Pid::from_raw(agent.process.pid() as i32).unwrap();
        let limit = Rlimit { current: Some(files as u64 + 20), maximum: Some(files as u64 + 20) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
        let mut addrs = vec![agent.addr.clone()];
        addrs.extend(agent.otlp_addr());
        let mut peers = Vec::new();
        for n in 0..100 {
            peers.push(TcpStream::connect(&addrs[n % addrs.len()]).await.unwrap());
        }
        agent.good_is_served("more connections than files").await;
        // Long enough for dozens of vain attempts to accept.
        tokio::time::sleep(Duration::from_secs(2)).await;
        agent.good_is_served("more connections than files").await;
        drop(peers);
        agent.serves("more connections than files").await;
        agent.open_files_at_most(files).await;
        let log = agent.stop().await;
        let failed = log.iter().filter(|line| line.contains("cannot accept a")).count();
        assert!((1..=4).contains(&failed) && log.len() <= QUIET, "{log:#?}");
    }
}
