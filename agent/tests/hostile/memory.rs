//! Memory that messages of the tracing language take: what is counted against a bound is what the system sees.

use std::time::Duration;

use spop_core::{NotifyEncoder, Value};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::agent::{LiveAgent, Program, figure};
use crate::raw::{Raw, Reply};
use crate::wire::{FIN, MAX_FRAME_SIZE, NOTIFY, frame};

const MIB: u64 = 1 << 20;

/// What an agent may hold beside what is counted: buffers, and what the allocator keeps of what is free.
const SLACK: u64 = 12 * MIB;

/// An agent with a collector that takes nothing, at least.
async fn start(collector: &TcpListener, args: &[&str]) -> LiveAgent {
    let url = format!("http://{}", collector.local_addr().unwrap());
    let args = [&["--otlp", &url, "--export-max-age", "1h"], args].concat();
    LiveAgent::start_with(Program::SpoaOtel, &args, &[("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000")]).await
}

async fn silent_collector() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Sends so many NOTIFYs over each of four connections, each with the messages of its number, and waits for the ACKs.
/// Gives the most memory that was seen.
async fn four_connections(agent: &LiveAgent, each: u64, messages: impl Fn(u64) -> Vec<u8>) -> u64 {
    let mut peers = JoinSet::new();
    for peer in 0..4 {
        let frames: Vec<_> = (0..each)
            .map(|n| {
                let frame = frame(NOTIFY, FIN, n, 1, &messages(peer * each + n));
                assert!(frame.len() as u32 <= MAX_FRAME_SIZE + 4, "{}", frame.len());
                frame
            })
            .collect();
        let addr = agent.addr.clone();
        peers.spawn(async move {
            let mut raw = Raw::running(&addr).await;
            for (n, frame) in (0..).zip(frames) {
                raw.send(&frame).await;
                assert_eq!(raw.reply().await, Reply::Ack(n, 1));
            }
        });
    }
    let mut most = 0;
    while !peers.is_empty() {
        let _ended =
            tokio::time::timeout(Duration::from_millis(20), peers.join_next()).await.ok().flatten().transpose();
        most = most.max(agent.process.rss());
    }
    most
}

/// The payload of a NOTIFY.
fn payload(write: impl FnOnce(&mut NotifyEncoder<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; MAX_FRAME_SIZE as usize];
    let mut notify = NotifyEncoder::payload(&mut bytes);
    write(&mut notify);
    let len = notify.finish();
    bytes.truncate(len);
    bytes
}

fn message<'a>(notify: &mut NotifyEncoder<'_>, id: &str, args: impl IntoIterator<Item = (&'a str, &'a str)>) {
    notify.message(b"otel:m").unwrap();
    notify.arg(b"id", Value::from(id)).unwrap();
    for (key, value) in args {
        notify.arg(key.as_bytes(), Value::from(value)).unwrap();
    }
}

#[tokio::test]
async fn very_many_spans_in_each_frame() {
    const FRAMES: u64 = 60;
    let collector = silent_collector().await;
    let mut agent = start(&collector, &["--max-memory", "16MiB", "--queue-bytes", "1MiB"]).await;
    let before = agent.process.rss();
    let most = four_connections(&agent, FRAMES, |n| {
        payload(|notify| {
            for part in 0..5 {
                let names: Vec<_> = (0..254).map(|span| (1000 + 254 * part + span).to_string()).collect();
                message(notify, &n.to_string(), names.iter().map(|name| ("span", name.as_str())));
                message(notify, &n.to_string(), [("finish", "*")]);
            }
        })
    })
    .await;
    agent.serves("very many spans").await;
    println!("{} KiB before, at most {} KiB", before >> 10, most >> 10);
    assert!(most <= before + 17 * MIB + SLACK, "{before} bytes before, {most} then");
    let log = agent.stop().await;
    // A NOTIFY may open and end 1,024 spans, one message less or more.
    let started = figure(&log, "spans accounted for exporter=\"otlp\"", "started");
    assert!((4 * FRAMES * 512..=4 * FRAMES * 800).contains(&started), "{started}");
}

/// Many more than fit: the least recently used ones make room.
#[tokio::test]
async fn very_many_open_ids() {
    let ids = match std::env::var("SPOP_SOAK_IDS") {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("SPOP_SOAK_IDS={text}: {error}")),
        Err(_) => 160_000,
    };
    const MESSAGES: u64 = 100;
    let collector = silent_collector().await;
    // A program without optimizations takes seconds to end them all.
    let mut agent = start(&collector, &["--max-memory", "64MiB", "--queue-bytes", "1MiB", "--grace", "16s"]).await;
    let before = agent.process.rss();
    let most = four_connections(&agent, ids / MESSAGES / 4, |n| {
        payload(|notify| {
            for id in n * MESSAGES..(n + 1) * MESSAGES {
                message(notify, &format!("id-{id:010}"), [("span", "HAProxy session")]);
            }
        })
    })
    .await;
    agent.serves("very many ids").await;
    println!("{} KiB before, at most {} KiB", before >> 10, most >> 10);
    assert!(most <= before + 65 * MIB + SLACK, "{before} bytes before, {most} then");
    assert!(most > 40 * MIB, "the table was not full: {most}");
    agent.stop().await;
}

/// What any client can cause: a `tracestate` as long and in as many parts as it may be, for each span and link.
#[tokio::test]
async fn a_long_tracestate_in_very_many_spans() {
    let collector = silent_collector().await;
    let mut agent = start(&collector, &["--queue-bytes", "64MiB", "--queue-spans", "1000000"]).await;
    let before = agent.process.rss();
    let tracestate = (0..32).map(|n| format!("k{n:02}={}", "v".repeat(11))).collect::<Vec<_>>().join(",");
    assert_eq!(tracestate.len(), 511);
    let most = four_connections(&agent, 150, |n| {
        let traceparent = format!("00-{:032x}-00f067aa0ba902b7-01", n + 1);
        let names: Vec<_> = (1..80).map(|span| span.to_string()).collect();
        let caller = [("extract", &*traceparent), ("", &tracestate), ("span", "0")];
        let spans = names.iter().flat_map(|name| [("span", &**name), ("child-of", "0"), ("follows-from", "0")]);
        payload(|notify| {
            message(notify, &n.to_string(), caller.into_iter().chain(spans));
            message(notify, &n.to_string(), [("finish", "*")]);
        })
    })
    .await;
    agent.serves("a long tracestate").await;
    println!("{} KiB before, at most {} KiB", before >> 10, most >> 10);
    assert!(most <= before + 64 * MIB + SLACK, "{before} bytes before, {most} then");
    drop(collector);
    let log = agent.stop().await;
    assert!(figure(&log, "spans accounted for exporter=\"otlp\"", "queue_bytes") > 0, "the queue was not full");
}
