//! Out of files: those who are there are served, the log stays quiet, the admin endpoints answer, the collector gets its
//! spans, and who comes again when there is a file is served.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::{BOTH, LiveAgent, Program};
use crate::case::QUIET;
use crate::collector::Collector;
use crate::common::patiently;
use crate::process::free_port;

#[tokio::test]
async fn more_connections_than_files() {
    for program in BOTH {
        // Nobody is there yet, so that no connection is either.
        let collector = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{collector}");
        let args: &[&str] = match program {
            Program::SpoaOtel => &["--otlp-listen", "localhost:0", "--admin", "localhost:0", "--otlp", &url],
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
        if program == Program::SpoaOtel {
            let collector = Collector::start_at(&collector).await;
            assert!(collector.wait_for(1).await.iter().any(|span| span.name == "good"));
        }
        // Who looks after it is served too.
        if let Some(admin) = agent.admin_addr() {
            for _ in 0..3 {
                let metrics = patiently("/metrics", get(&admin, "/metrics")).await;
                assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
                let refused =
                    metrics.lines().find(|line| line.starts_with("spoa_connections_out_of_files_total ")).unwrap();
                assert_ne!(refused.rsplit(' ').next(), Some("0"), "{refused}");
            }
        }
        drop(peers);
        agent.serves("more connections than files").await;
        agent.open_files_at_most(files).await;
        let log = agent.stop().await;
        let refused = log.iter().filter(|line| line.contains("the file descriptors left")).count();
        assert!((1..=4).contains(&refused) && log.len() <= QUIET, "{log:#?}");
    }
}

async fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
