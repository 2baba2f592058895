//! Senders of log lines that do their worst: what they can hold is bounded, and the good client is served meanwhile.

use std::io::Write;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::{LiveAgent, Program, figure};
use crate::case::QUIET;

const MIB: u64 = 1 << 20;

/// What an agent may hold beside what is counted: buffers, and what the allocator keeps of what is free.
const SLACK: u64 = 12 * MIB;

const LINE: &[u8] = b"<134>1 2026-11-28T20:00:00Z - haproxy 1 - - x\n";

/// The account of the lines.
const ACCOUNT: &str = "report: log lines received";

async fn start(listen: &str, args: &[&str]) -> (LiveAgent, String) {
    let args = [&["--log-listen", listen], args].concat();
    let agent = LiveAgent::start(Program::SpoaOtel, &args).await;
    let addr = agent.log_addrs().remove(0);
    (agent, addr)
}

async fn connect(addr: &str) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// The agent closes the connection; bytes that it has not read may make that a reset.
async fn is_closed(mut connection: TcpStream) {
    assert_eq!(connection.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn many_half_lines_hold_no_more_than_they_may() {
    const CONNECTIONS: usize = 200;
    let most = CONNECTIONS.to_string();
    let (mut agent, addr) =
        start("tcp://127.0.0.1:0", &["--log-max-connections", &most, "--log-max-per-peer", &most]).await;
    let before = agent.process.rss();
    let half = [&b"<134>"[..], &[b'x'; 60 << 10]].concat();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = connect(&addr).await;
        connection.write_all(&half).await.unwrap();
        held.push(connection);
    }
    agent.serves("many half lines").await;
    for _ in 0..100 {
        is_closed(connect(&addr).await).await;
    }
    let holds = agent.process.rss();
    println!("{} KiB before, {} KiB with half lines", before >> 10, holds >> 10);
    assert!(holds <= before + CONNECTIONS as u64 * (80 << 10) + SLACK, "{before} bytes before, {holds} then");
    drop(held);
    agent.open_files_at_most(50).await;
    let log = agent.stop().await;
    assert!(log.len() <= QUIET, "{log:#?}");
    let count = |name| figure(&log, ACCOUNT, name);
    let cut = CONNECTIONS as u64;
    assert_eq!([count("incomplete"), count("connections_refused"), count("connections")], [cut, 100, cut]);
}

#[tokio::test]
async fn lengths_without_measure_take_no_memory() {
    const LONG: usize = 50_000_000;
    let (mut agent, addr) = start("tcp://127.0.0.1:0", &[]).await;
    let before = agent.process.rss();
    let counted = format!("{LONG} ").into_bytes();
    let piece = vec![b'x'; 1 << 20];
    for (head, end) in [(counted, [b"46 ", LINE].concat()), (b"<134>".to_vec(), [b"\n", LINE].concat())] {
        let mut connection = connect(&addr).await;
        connection.write_all(&head).await.unwrap();
        let mut left = LONG;
        while left > 0 {
            let part = piece.len().min(left);
            connection.write_all(&piece[..part]).await.unwrap();
            left -= part;
        }
        connection.write_all(&end).await.unwrap();
        agent.serves("a line of 50 MB").await;
        let holds = agent.process.rss();
        assert!(holds <= before + SLACK, "{before} bytes before, {holds} then");
    }
    let log = agent.stop().await;
    assert_eq!([figure(&log, ACCOUNT, "too_long"), figure(&log, ACCOUNT, "tcp")], [2, 2], "{log:#?}");
}

#[tokio::test]
async fn garbage_ends_its_connection_only() {
    let (mut agent, addr) = start("tcp://127.0.0.1:0", &[]).await;
    let mut good = connect(&addr).await;
    good.write_all(LINE).await.unwrap();
    let garbage: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n<134>x\n",
        b"\0\0\0\x08\x01\0\0\0\x01\0\0\x05",
        b"\n",
        b"0 ",
        b"007 <134>x\n",
        b"99999999999999999999999999999999 x",
        b"5 <1>ab<134>x\n",
    ];
    for round in 0..50 {
        for bytes in garbage {
            let mut connection = connect(&addr).await;
            connection.write_all(bytes).await.unwrap();
            is_closed(connection).await;
        }
        if round % 10 == 0 {
            good.write_all(LINE).await.unwrap();
            agent.serves("garbage").await;
        }
    }
    agent.open_files_at_most(50).await;
    let log = agent.stop().await;
    assert!(log.len() <= QUIET, "{log:#?}");
    let count = |name| figure(&log, ACCOUNT, name);
    // One of them begins well.
    assert_eq!([count("bad_framing"), count("tcp")], [50 * 9, 6 + 50], "{log:#?}");
}

#[tokio::test]
async fn floods_leave_room_for_others_and_memory_to_the_system() {
    let (mut agent, tcp) = start("tcp://127.0.0.1:0", &["--workers", "1", "--log-listen", "udp://127.0.0.1:0"]).await;
    let udp = agent.log_addrs().remove(1);
    let before = agent.process.rss();
    let stop = Arc::new(AtomicBool::new(false));
    let mut floods = Vec::new();
    for n in 0..4 {
        let (stop, tcp, udp) = (stop.clone(), tcp.clone(), udp.clone());
        floods.push(thread::spawn(move || {
            let stopped = || stop.load(Relaxed);
            let lines = LINE.repeat(1000);
            if n < 2 {
                let mut connection = std::net::TcpStream::connect(tcp).unwrap();
                while !stopped() && connection.write_all(&lines).is_ok() {}
            } else {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                // Small ones, or the longest.
                let datagram = if n == 2 { LINE.to_vec() } else { vec![b'x'; 65_507] };
                while !stopped() {
                    let _ = socket.send_to(&datagram, &udp);
                }
            }
        }));
    }
    let mut most = 0;
    for _ in 0..20 {
        agent.serves("a flood of lines").await;
        most = most.max(agent.process.rss());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    println!("{} KiB before, at most {} KiB", before >> 10, most >> 10);
    // The buffers of the datagrams are 4 MiB.
    assert!(most <= before + 4 * MIB + SLACK, "{before} bytes before, {most} then");
    let log = agent.stop().await;
    assert!(log.len() <= QUIET, "{log:#?}");
    assert!(figure(&log, ACCOUNT, "tcp") > 0 && figure(&log, ACCOUNT, "udp") > 0, "{log:#?}");
}

/// Senders that never stop do not hold up the end.
#[tokio::test]
async fn the_end_comes_in_time_under_a_flood() {
    let (agent, tcp) = start("tcp://127.0.0.1:0", &["--grace", "4s", "--log-listen", "udp://127.0.0.1:0"]).await;
    let udp = agent.log_addrs().remove(1);
    let floods = [
        thread::spawn(move || {
            let mut connection = std::net::TcpStream::connect(tcp).unwrap();
            while connection.write_all(&LINE.repeat(1000)).is_ok() {}
        }),
        thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(udp).unwrap();
            // Until the socket is gone, which the system tells.
            while socket.send(LINE).is_ok() {}
        }),
    ];
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = agent.stop().await;
    assert!(figure(&log, ACCOUNT, "tcp") > 0 && figure(&log, ACCOUNT, "udp") > 0, "{log:#?}");
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}
