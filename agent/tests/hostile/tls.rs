//! Hostile peers of a TLS listener, while good clients with certificates are served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::{LiveAgent, Program};
use crate::certificates::Files;
use crate::common::{Peer, patiently};
use crate::raw::Raw;
use crate::wire;

type Good = Peer<tokio_rustls::client::TlsStream<TcpStream>>;

struct Target {
    agent: LiveAgent,
    files: Files,
    tls: String,
    good: Good,
    notifies: u64,
}

impl Target {
    async fn start(args: &[&str]) -> Self {
        let files = Files::new();
        let options = files.options();
        let mut all: Vec<&str> = options.iter().map(String::as_str).collect();
        all.extend(["--listen", "127.0.0.1:0,tls"]);
        all.extend(args);
        let agent = LiveAgent::start(Program::SpoaOtel, &all).await;
        let tls = agent.spop_addrs().pop().unwrap();
        let good = files.known_client().hello(&tls).await;
        Target { agent, files, tls, good, notifies: 0 }
    }

    /// A connection that was there before, and a new one, with TLS and without.
    async fn serves(&mut self, after: &str) {
        self.good_is_served(after).await;
        let mut new = self.files.known_client().hello(&self.tls).await;
        ask(&mut new, 1, after).await;
        self.agent.serves(after).await;
    }

    async fn good_is_served(&mut self, after: &str) {
        self.notifies += 1;
        ask(&mut self.good, self.notifies, after).await;
        self.agent.good_is_served(after).await;
    }
}

async fn ask(peer: &mut Good, id: u64, after: &str) {
    peer.notify(id, "otel:x", 1).await;
    assert_eq!(patiently(after, peer.ack()).await.0, id, "after {after}");
}

/// A ClientHello as a real client sends it.
async fn client_hello() -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let files = Files::new();
    let client = tokio::spawn(async move { files.known_client().connect(&addr).await.is_ok() });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 4096];
    let len = stream.read(&mut hello).await.unwrap();
    client.abort();
    hello.truncate(len);
    hello
}

#[tokio::test]
async fn garbage_ends_its_own_connection() {
    let mut target = Target::start(&[]).await;
    let hello = client_hello().await;
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("a frame of SPOP".into(), wire::hello()),
        ("zeros".into(), vec![0; 4096]),
        ("an alert".into(), b"\x15\x03\x03\x00\x02\x02\x28".to_vec()),
        ("a record without an end".into(), b"\x16\x03\x01\xff\xff".repeat(5000)),
        ("an empty record".into(), b"\x16\x03\x01\x00\x00".repeat(5000)),
        (
            "a handshake of 16 MiB".into(),
            b"\x16\x03\x01\x40\x00\x01\xff\xff\xff".iter().copied().chain(vec![7; 1 << 20]).collect(),
        ),
        ("application data".into(), b"\x17\x03\x03\x00\x05hello".to_vec()),
        ("two ClientHellos".into(), hello.repeat(2)),
        ("a ClientHello, then a frame".into(), [&hello[..], &wire::hello()].concat()),
    ];
    for at in (0..hello.len()).step_by(7) {
        let mut flipped = hello.clone();
        flipped[at] ^= 0xff;
        cases.push((format!("byte {at} flipped"), flipped));
    }
    for (what, bytes) in &cases {
        let mut raw = Raw::connect(&target.tls).await;
        raw.send(bytes).await;
        raw.finish().await;
        let mut answer = Vec::new();
        let _reset = patiently(what, raw.stream.read_to_end(&mut answer)).await;
        // An alert or a ServerHello at most: nothing of SPOP.
        assert!(answer.is_empty() || matches!(answer[0], 0x14..=0x17), "{what}: {answer:?}");
        target.good_is_served(what).await;
    }
    target.serves("all of it").await;
}

/// More than all connections together, and as many at once as the system lets: no living connection waits, new ones find
/// a place.
#[tokio::test]
async fn a_flood_of_unfinished_handshakes_keeps_nobody_out() {
    let mut target = Target::start(&["--max-connections", "200", "--tls-handshake-timeout", "10m"]).await;
    let hello = client_hello().await;
    let before = target.agent.process.rss();
    let mut crowd = Vec::new();
    for n in 0..1000 {
        let mut raw = Raw::connect(&target.tls).await;
        match n % 3 {
            0 => {}
            1 => assert!(raw.send(&hello[..n % hello.len()]).await || n > 0),
            _ => {
                raw.send(&hello).await;
            }
        }
        crowd.push(raw);
        if n % 100 == 99 {
            target.serves("a hundred more").await;
        }
    }
    target.serves("a thousand").await;
    // A quarter of the connections may be unfinished.
    target.agent.rss_at_most(before + (16 << 20)).await;
    drop(crowd);
    tokio::time::sleep(Duration::from_millis(100)).await;
    target.serves("the end of the flood").await;
    target.agent.open_files_at_most(60).await;
}

/// TLS that stops after the handshake, in the middle of a record, or drips.
#[tokio::test]
async fn slow_tls_is_as_slow_as_slow_spop() {
    let mut target = Target::start(&["--hello-timeout", "1s", "--tls-handshake-timeout", "1s"]).await;
    let silent = target.files.known_client().connect(&target.tls).await.unwrap();
    let hello = client_hello().await;
    let mut drip = TcpStream::connect(&target.tls).await.unwrap();
    for byte in &hello {
        if drip.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut end = Vec::new();
    let _reset = patiently("the drip is ended", drip.read_to_end(&mut end)).await;
    let mut silent = silent;
    let mut last = Vec::new();
    let _end = patiently("the silent one is ended", silent.read_to_end(&mut last)).await;
    target.serves("both").await;
}
