//! Very many peers: at once, one after the other, with memory in their hands, and all of them wrong.

use spop_core::Value;
use tokio::task::JoinSet;

use crate::agent::{BOTH, LiveAgent, Program, allow_files, figure};
use crate::case::QUIET;
use crate::raw::{Raw, Reply};
use crate::wire::{ABORT, FIN, NOTIFY, UNSET, frame, hello, hello_keys, hello_with, kv, message, notify, prefixed};

/// What an agent may have more than before for reasons of its own: buffers that its threads keep, places of memory that
/// malloc could not use again.
const SLACK: u64 = 4 << 20;

/// Starts an agent whose allocator gives free memory back: jemalloc after a second instead of some ten, glibc's large blocks
/// at once, where it would otherwise raise by itself what it takes for large.
async fn start(program: Program, args: &[&str]) -> LiveAgent {
    let envs = [("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000"), ("MALLOC_MMAP_THRESHOLD_", "65536")];
    LiveAgent::start_with(program, args, &envs).await
}

/// Runs `attack` three times. Files and memory come back each time. But ip_reputation has glibc's malloc, which keeps what was
/// freed below the highest block in use: that of the first times, at most what the peers `held` at once, may stay; the last
/// finds enough in it.
async fn leaves_nothing(agent: &mut LiveAgent, what: &str, held: u64, mut attack: impl AsyncFnMut(&LiveAgent)) {
    let (files, before) = (agent.open_files(), agent.process.rss());
    let mut after = [0; 3];
    for rss in &mut after {
        attack(agent).await;
        agent.serves(what).await;
        agent.open_files_at_most(files).await;
        if agent.program == Program::SpoaOtel {
            agent.rss_at_most(before + SLACK).await;
        }
        *rss = agent.process.rss();
    }
    let program = agent.program;
    println!("{program:?}, {what}: {} KiB before, {:?} KiB after", before >> 10, after.map(|rss| rss >> 10));
    assert!(after[0] <= before + held + SLACK, "{program:?}, {what}: {before} bytes before, {after:?} after");
    assert!(after[2] <= after[0].max(after[1]) + SLACK, "{program:?}, {what}: it grows each time, {after:?}");
}

/// The bound of what an idle connection takes.
const CONNECTION: u64 = 8 << 10;

/// Opens so many connections, some at a time.
async fn crowd(addr: &str, size: u64) -> Vec<Raw> {
    let mut peers = Vec::new();
    for start in (0..size).step_by(100) {
        let mut some = JoinSet::new();
        for _ in start..size.min(start + 100) {
            let addr = addr.to_owned();
            some.spawn(async move { Raw::running(&addr).await });
        }
        peers.extend(some.join_all().await);
    }
    peers
}

#[tokio::test]
async fn two_thousand_connections() {
    const SIZE: u64 = 2000;
    if !allow_files(SIZE + 200) {
        return;
    }
    for program in BOTH {
        let mut agent = start(program, &[]).await;
        leaves_nothing(&mut agent, "2000 connections", SIZE * CONNECTION, async |agent: &LiveAgent| {
            let mut peers = crowd(&agent.addr, SIZE).await;
            for (n, peer) in peers.iter_mut().enumerate() {
                peer.send(&notify(n as u64, 1)).await;
            }
            for (n, peer) in peers.iter_mut().enumerate() {
                assert_eq!(peer.reply().await, Reply::Ack(n as u64, 1));
            }
        })
        .await;
        let log = agent.stop().await;
        if program == Program::SpoaOtel {
            assert_eq!(figure(&log, "report: connections ended", "refused"), 0, "{log:#?}");
        }
    }
}

#[tokio::test]
async fn connections_that_come_and_go() {
    for program in BOTH {
        let mut agent = start(program, &[]).await;
        leaves_nothing(&mut agent, "churn", 20 * CONNECTION, async |agent: &LiveAgent| {
            let mut peers = JoinSet::new();
            for worker in 0..20 {
                let addr = agent.addr.clone();
                peers.spawn(async move {
                    let (hello, half) = (hello(), notify(1, 1)[..9].to_vec());
                    for n in 0..100 {
                        let mut raw = Raw::connect(&addr).await;
                        match (worker + n) % 5 {
                            0 => {}
                            1 => raw.reset(),
                            2 => {
                                raw.send(&hello[..30]).await;
                                raw.reset();
                            }
                            3 => {
                                raw.send(&[&hello[..], &half].concat()).await;
                            }
                            _ => {
                                raw.send(&[&hello[..], &notify(n, 1), &half].concat()).await;
                                raw.reset();
                            }
                        }
                    }
                });
            }
            peers.join_all().await;
        })
        .await;
        let log = agent.stop().await;
        assert!(log.len() <= QUIET, "{log:#?}");
    }
}

/// Each of many connections fills what one may have for fragments; then they are gone, or give up.
#[tokio::test]
async fn memory_for_fragments_comes_back() {
    const SIZE: u64 = 500;
    const EACH: u64 = 64 << 10;
    let payload = [0; 16000];
    for program in BOTH {
        let mut agent = start(program, &[]).await;
        let before = agent.process.rss();
        leaves_nothing(&mut agent, "fragments", SIZE * (CONNECTION + EACH), async |agent: &LiveAgent| {
            let mut peers = crowd(&agent.addr, SIZE).await;
            let fragments = [frame(NOTIFY, 0, 1, 1, &payload), frame(UNSET, 0, 1, 1, &payload).repeat(3)].concat();
            for peer in &mut peers {
                peer.send(&fragments).await;
            }
            for peer in peers.iter_mut().take(SIZE as usize / 2) {
                peer.send(&[frame(UNSET, FIN | ABORT, 1, 1, &[]), notify(2, 1)].concat()).await;
                assert_eq!(peer.reply().await, Reply::Ack(2, 1));
            }
            let most = agent.process.rss();
            // A frame is half received when they are asked.
            let bound = before + SIZE * (CONNECTION + EACH + 16384) + SLACK;
            assert!(most <= bound, "{:?}: {most} bytes are more than {bound}", agent.program);
            // The rest gives up only now.
            for peer in peers.iter_mut().skip(SIZE as usize / 2) {
                peer.send(&frame(UNSET, FIN | ABORT, 1, 1, &[])).await;
            }
        })
        .await;
        agent.stop().await;
    }
}

/// Each of many connections has half of a large frame: together they hold what all may, and each what it may in any case.
#[tokio::test]
async fn large_frames_share_a_bound() {
    const SIZE: u64 = 200;
    const SHARED: u64 = 8 << 20;
    const BOUND: u64 = SHARED + SIZE * spop_agent::OWN_BUFFERS as u64;
    let [versions, _, capabilities] = hello_keys();
    let hello = hello_with(&[versions, kv("max-frame-size", Value::UInt32(1 << 20)), capabilities]);
    let half = [&hello[..], &prefixed(1 << 20, &[NOTIFY]), &vec![0; 1 << 19]].concat();
    for program in BOTH {
        let mut agent =
            start(program, &["--max-frame-size", "1048576", "--max-buffered", "8MiB", "--half-frame-timeout", "2s"])
                .await;
        let (before, mut refused) = (agent.process.rss(), 0);
        leaves_nothing(&mut agent, "large frames", BOUND, async |agent: &LiveAgent| {
            let mut peers = Vec::new();
            for _ in 0..SIZE {
                let mut raw = Raw::connect(&agent.addr).await;
                raw.send(&half).await;
                peers.push(raw);
            }
            let most = agent.process.rss();
            assert!(most <= before + BOUND + SLACK, "{program:?}: {most} bytes are more than {before} and {BOUND}");
            let mut ends = [0, 0];
            for raw in &mut peers {
                match &raw.replies().await[..] {
                    [Reply::Hello(..), Reply::Disconnect(2), Reply::End] => ends[0] += 1,
                    [Reply::Hello(..), Reply::Disconnect(13), Reply::End] => ends[1] += 1,
                    other => panic!("{program:?}: {other:?}"),
                }
            }
            assert!(ends.iter().all(|&count| count > 0), "{program:?}: {ends:?}");
            refused += ends[1];
        })
        .await;
        let log = agent.stop().await;
        assert!(log.len() <= QUIET, "{log:#?}");
        if program == Program::SpoaOtel {
            assert_eq!(figure(&log, "report: connections ended", "buffers_full"), refused, "{log:#?}");
        }
    }
}

#[tokio::test]
async fn a_thousand_that_are_wrong_make_no_flood_of_lines() {
    let broken = frame(NOTIFY, FIN, 1, 1, &message("m", &[vec![1, b'a', 15]]));
    let told = frame(crate::wire::DISCONNECT, FIN, 0, 0, &kv("status-code", Value::UInt32(42)));
    let too_big = [frame(NOTIFY, 0, 1, 1, &[0; 16000]), frame(UNSET, FIN, 1, 1, &[0; 16000])].concat();
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &["--max-connections", "100", "--max-reassembly", "20000"]).await;
        for (name, after_hello, bytes) in [
            ("HTTP", false, &b"GET / HTTP/1.1\r\n\r\n"[..]),
            ("broken payloads", true, &broken),
            ("DISCONNECT 42", true, &told),
            ("fragments beyond the bound", true, &too_big),
        ] {
            for _ in 0..1000 {
                let mut raw = Raw::connect(&agent.addr).await;
                if after_hello {
                    raw.send(&hello()).await;
                }
                raw.send(bytes).await;
                raw.finish().await;
                raw.replies().await;
            }
            agent.serves(name).await;
        }
        // More than may be open: those that are too many are closed at once, without a word.
        let mut held = Vec::new();
        while held.len() < 98 {
            held.push(Raw::running(&agent.addr).await);
        }
        let files = agent.open_files();
        agent.serves("many, but not too many").await;
        agent.open_files_at_most(files).await;
        held.push(Raw::running(&agent.addr).await);
        for _ in 0..1000 {
            assert_eq!(Raw::connect(&agent.addr).await.replies().await, [Reply::End], "{program:?}");
        }
        drop(held);
        agent.open_files_at_most(50).await;
        agent.serves("too many").await;
        let log = agent.stop().await;
        println!("{program:?}: {} lines of log", log.len());
        assert!(log.len() <= QUIET, "{log:#?}");
        if program == Program::SpoaOtel {
            let count = |name| figure(&log, "report: connections ended", name);
            assert_eq!([count("protocol_errors"), count("too_big"), count("refused")], [2000, 1000, 1000]);
        }
    }
}
