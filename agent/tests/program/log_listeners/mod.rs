//! The listeners of log lines, each transport: nothing is lost without being counted, and only those are heard who may be.

mod connections;
mod program;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spoa_otel::line::listener::{ListenCause, ListenerConfig, ListenerSnapshot, Listeners, LogAddr};
use spoa_otel::line::{LineSink, Sender};
use spoa_otel::passed::PassedSockets;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::process::{PATIENCE, eventually};

/// A line as HAProxy writes it, with a number.
pub fn line(n: usize) -> String {
    format!(
        "<134>1 2026-11-28T20:00:00.000000+00:00 - haproxy 4711 - [otel@32473 v=\"1\" svc=\"shop\" n=\"{n}\" f=\"www\" \
         b=\"shop\" s=\"s1\" st=\"200\" pad=\"{}\" z=\"1\"] 127.0.0.1:40000 [28/Nov/2026:20:00:00.000] www shop/s1 200",
        "x".repeat(500)
    )
}

/// A line at which whoever takes it panics.
const BROKEN: &str = "<134>broken";

/// Keeps lines; they wait while it is blocked.
#[derive(Default)]
struct Kept {
    lines: Mutex<Vec<(Sender, String)>>,
    blocked: AtomicBool,
}

impl LineSink for Kept {
    fn take(&self, sender: Sender, line: &[u8]) {
        while self.blocked.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let line = String::from_utf8(line.to_vec()).unwrap();
        assert!(line != BROKEN);
        self.lines.lock().unwrap().push((sender, line));
    }
}

struct Running {
    listeners: Listeners,
    kept: Arc<Kept>,
}

impl Running {
    async fn start(listen: &[&str], change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
        let mut config = ListenerConfig { listen, ..ListenerConfig::default() };
        change(&mut config);
        let kept = Arc::<Kept>::default();
        let listeners = Listeners::bind(config, &mut PassedSockets::default(), kept.clone()).await.unwrap();
        Running { listeners, kept }
    }

    async fn tcp(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::start(&["tcp://127.0.0.1:0"], change).await
    }

    /// Where the first listener is, over UDP or TCP.
    fn addr(&self) -> SocketAddr {
        match &self.listeners.addrs()[0] {
            LogAddr::Udp(host) | LogAddr::Tcp(host) => host.parse().unwrap(),
            addr => panic!("{addr}"),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr()).await.unwrap()
    }

    fn stats(&self) -> ListenerSnapshot {
        self.listeners.stats().snapshot()
    }

    fn lines(&self) -> Vec<(Sender, String)> {
        self.kept.lines.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, done: impl Fn(&ListenerSnapshot) -> bool) {
        eventually(what, || done(&self.stats()).then_some(())).await;
    }

    /// The figures and lines after the end.
    async fn stop(self) -> (ListenerSnapshot, Vec<String>) {
        let (stats, kept) = (self.listeners.stats(), self.kept);
        self.listeners.shutdown(PATIENCE).await;
        let lines = std::mem::take(&mut *kept.lines.lock().unwrap());
        (stats.snapshot(), lines.into_iter().map(|(_, line)| line).collect())
    }
}

fn sender() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn every_transport_gives_the_same_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let unix = format!("unix:{},mode=620", path.display());
    let listen = ["udp://127.0.0.1:0", "udp://[::1]:0", &unix, "tcp://127.0.0.1:0", "tcp://[::1]:0"];
    let running = Running::start(&listen, |_| {}).await;
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o620);
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let senders = [Sender::Ip(v4), Sender::Ip(v6), Sender::Local, Sender::Ip(v4), Sender::Ip(v6)];
    let mut sent = 0;
    for (addr, sender) in running.listeners.addrs().iter().zip(senders) {
        match addr {
            LogAddr::Udp(host) => {
                let socket = UdpSocket::bind(if host.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
                // HAProxy ends datagrams as it ends lines; others may not.
                socket.send_to(format!("{}\n", line(sent)).as_bytes(), host).unwrap();
                socket.send_to(line(sent + 1).as_bytes(), host).unwrap();
            }
            LogAddr::Unix(path, _) => {
                let socket = UnixDatagram::unbound().unwrap();
                socket.send_to(format!("{}\n", line(sent)).as_bytes(), path).unwrap();
                socket.send_to(line(sent + 1).as_bytes(), path).unwrap();
            }
            LogAddr::Tcp(host) => {
                let mut lines = TcpStream::connect(host).await.unwrap();
                lines.write_all(format!("{}\n", line(sent)).as_bytes()).await.unwrap();
                running.until("a line", |s| s.udp_lines + s.unix_lines + s.tcp_lines == sent as u64 + 1).await;
                let mut counted = TcpStream::connect(host).await.unwrap();
                let line = line(sent + 1);
                counted.write_all(format!("{} {line}", line.len()).as_bytes()).await.unwrap();
            }
            addr => panic!("{addr}"),
        }
        sent += 2;
        running.until("two lines", |s| s.udp_lines + s.unix_lines + s.tcp_lines == sent as u64).await;
        let expected = [(sender, line(sent - 2)), (sender, line(sent - 1))];
        assert_eq!(running.lines()[sent - 2..], expected, "{addr}");
    }
    let (stats, lines) = running.stop().await;
    assert_eq!([stats.udp_lines, stats.unix_lines, stats.tcp_lines], [4, 2, 4]);
    let bytes = stats.udp_bytes + stats.unix_bytes + stats.tcp_bytes;
    assert_eq!(bytes, lines.iter().map(String::len).sum::<usize>() as u64);
    assert_eq!((stats.connections, stats.open), (4, 0));
    assert!(!path.exists(), "the socket's file is gone");
}

/// As a receiver that stands still for a while does.
#[tokio::test]
async fn datagrams_wait_for_a_receiver_that_stands_still() {
    const LINES: usize = 2000;
    let running = Running::start(&["udp://127.0.0.1:0"], |_| {}).await;
    running.kept.blocked.store(true, Relaxed);
    let (socket, addr) = (sender(), running.addr());
    for n in 0..LINES {
        socket.send_to(line(n).as_bytes(), addr).unwrap();
    }
    running.kept.blocked.store(false, Relaxed);
    let (stats, lines) = running.stop().await;
    // What the system gives depends on its setting; that is no reason to lose a line without counting it.
    assert_eq!(lines, (0..LINES).filter(|n| lines.contains(&line(*n))).map(line).collect::<Vec<_>>());
    let allowed: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    if allowed >= 4 << 20 {
        assert_eq!((lines.len(), stats.lost), (LINES, 0));
    }
}

#[tokio::test]
async fn what_the_system_drops_is_counted_exactly() {
    let running = Running::start(&["udp://127.0.0.1:0"], |config| config.recv_buffer = 64 << 10).await;
    let (socket, addr) = (sender(), running.addr());
    let mut sent = 0;
    for _burst in 0..3 {
        running.kept.blocked.store(true, Relaxed);
        for _ in 0..1000 {
            socket.send_to(line(sent).as_bytes(), addr).unwrap();
            sent += 1;
        }
        running.kept.blocked.store(false, Relaxed);
        // What was dropped last is told with the next one that is kept.
        let before = running.stats().udp_lines;
        running.until("the burst is over", |s| s.udp_lines > before).await;
        let end = Instant::now() + PATIENCE;
        while running.stats().udp_lines + running.stats().lost < sent as u64 {
            assert!(Instant::now() < end, "{sent} were sent: {:?}", running.stats());
            socket.send_to(line(sent).as_bytes(), addr).unwrap();
            sent += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let (stats, lines) = running.stop().await;
    assert!(stats.lost > 500, "{stats:?}");
    assert_eq!(stats.udp_lines + stats.lost, sent as u64);
    assert_eq!(lines.len() as u64, stats.udp_lines);
}

#[tokio::test]
async fn datagrams_are_whole_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let running = Running::start(&["udp://127.0.0.1:0", &format!("unix:{}", path.display())], |_| {}).await;
    let (longest, addr) = ("x".repeat(65_507), running.addr());
    sender().send_to(longest.as_bytes(), addr).unwrap();
    sender().send_to(b"", addr).unwrap();
    let local = UnixDatagram::unbound().unwrap();
    for length in [65_535, 65_536, 65_537, 100_000] {
        local.send_to("y".repeat(length).as_bytes(), &path).unwrap();
    }
    running.until("all are read", |s| s.udp_lines == 2 && s.unix_lines + s.cut == 4).await;
    let (stats, lines) = running.stop().await;
    assert_eq!((stats.unix_lines, stats.cut), (2, 2));
    let mut lengths: Vec<_> = lines.iter().map(String::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 65_507, 65_535, 65_536]);
    assert_eq!((stats.udp_bytes, stats.unix_bytes), (65_507, 65_535 + 65_536));
}

/// An address of this host that is not loopback. Nothing is sent.
fn beyond_loopback() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn only_those_are_heard_who_may_be() {
    let Some(other) = beyond_loopback() else {
        return crate::programs::skipped("this host has no address but loopback");
    };
    let net = format!("{other}/24");
    for (allow, heard) in [(&["10.255.255.0/30"][..], false), (&["10.255.255.0/30", &net], true), (&["any"], true)] {
        let listen = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"];
        let allow: Vec<_> = allow.iter().map(|net| net.parse().unwrap()).collect();
        let running = Running::start(&listen, |config| config.allow = allow).await;
        let socket = UdpSocket::bind((other, 0)).unwrap();
        socket.send_to(line(0).as_bytes(), running.addr()).unwrap();
        let LogAddr::Tcp(tcp) = &running.listeners.addrs()[1] else { panic!() };
        let stranger = tokio::net::TcpSocket::new_v4().unwrap();
        stranger.bind((other, 0).into()).unwrap();
        let mut stranger = stranger.connect(tcp.parse().unwrap()).await.unwrap();
        let _ = stranger.write_all(format!("{}\n", line(1)).as_bytes()).await;
        // This host is heard always.
        sender().send_to(line(2).as_bytes(), running.addr()).unwrap();
        let mut own = TcpStream::connect(tcp).await.unwrap();
        own.write_all(format!("{}\n", line(3)).as_bytes()).await.unwrap();
        let expected = if heard { (2, 2, 0, 0) } else { (1, 1, 1, 1) };
        running.until("all came", |s| (s.udp_lines, s.tcp_lines, s.refused, s.refused_sender) == expected).await;
        let of_other = running.lines().iter().filter(|(sender, _)| *sender == Sender::Ip(other)).count();
        assert_eq!(of_other, if heard { 2 } else { 0 });
        running.stop().await;
    }
}

/// A socket for both families knows senders of IPv4 by the addresses that they have.
#[tokio::test]
async fn senders_of_ipv4_at_a_socket_of_ipv6() {
    let allow = vec!["10.0.0.1".parse().unwrap()];
    let running = Running::start(&["udp://[::]:0", "tcp://[::]:0"], |config| config.allow = allow).await;
    let LogAddr::Tcp(tcp) = &running.listeners.addrs()[1] else { panic!() };
    let [udp, tcp] = [running.addr(), tcp.parse().unwrap()].map(|addr| (Ipv4Addr::LOCALHOST, addr.port()));
    sender().send_to(line(1).as_bytes(), udp).unwrap();
    let mut connection = TcpStream::connect(tcp).await.unwrap();
    connection.write_all(format!("{}\n", line(1)).as_bytes()).await.unwrap();
    running.until("both came", |s| s.udp_lines + s.tcp_lines == 2).await;
    assert_eq!(running.lines(), vec![(Sender::Ip(Ipv4Addr::LOCALHOST.into()), line(1)); 2]);
    running.stop().await;
}

#[tokio::test]
async fn beyond_loopback_only_if_it_is_said_who_may_send() {
    let mut nothing = PassedSockets::default();
    for addr in ["udp://0.0.0.0:0", "udp://:0", "udp://[::]:0", "tcp://0.0.0.0:0", "tcp://*:0"] {
        let mut config = ListenerConfig { listen: vec![addr.parse().unwrap()], ..ListenerConfig::default() };
        let refused = Listeners::bind(config.clone(), &mut nothing, Arc::<Kept>::default()).await.err().unwrap();
        assert!(matches!(refused.cause, ListenCause::BeyondLoopback(_)), "{refused}");
        assert!(refused.to_string().contains("--log-allow"), "{refused}");
        config.allow = vec!["10.0.0.1".parse().unwrap()];
        Listeners::bind(config, &mut nothing, Arc::<Kept>::default()).await.unwrap().shutdown(PATIENCE).await;
    }
    Running::start(&["udp://localhost:0", "tcp://localhost:0"], |_| {}).await.stop().await;
}

#[tokio::test]
async fn a_socket_that_nobody_reads_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let addr = format!("unix:{}/log.sock", dir.path().display());
    drop(UnixDatagram::bind(dir.path().join("log.sock")).unwrap());
    let first = Running::start(&[&addr], |_| {}).await;
    let config = ListenerConfig { listen: vec![addr.parse().unwrap()], ..ListenerConfig::default() };
    let error = Listeners::bind(config, &mut PassedSockets::default(), first.kept.clone()).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("--log-listen {addr}: ")), "{error}");
    let send = |n| UnixDatagram::unbound().unwrap().send_to(line(n).as_bytes(), dir.path().join("log.sock")).unwrap();
    send(1);
    let (stats, _) = first.stop().await;
    assert_eq!(stats.unix_lines, 1, "it goes on");
    assert!(!Path::new(&addr["unix:".len()..]).exists());
}

#[tokio::test]
async fn a_panic_at_a_line_costs_that_line_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let listen = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0", &format!("unix:{}", path.display())];
    let running = Running::start(&listen, |_| {}).await;
    let LogAddr::Tcp(tcp) = running.listeners.addrs()[1].clone() else { panic!() };
    let (udp, mut tcp) = (sender(), TcpStream::connect(&tcp).await.unwrap());
    let unix = UnixDatagram::unbound().unwrap();
    for text in [BROKEN, &line(1)] {
        udp.send_to(text.as_bytes(), running.addr()).unwrap();
        unix.send_to(text.as_bytes(), &path).unwrap();
        tcp.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }
    running.until("the others are there", |s| s.udp_lines + s.unix_lines + s.tcp_lines == 3 && s.failed == 3).await;
    let (_, lines) = running.stop().await;
    assert_eq!(lines, vec![line(1); 3]);
}

/// All that was sent before the stop is taken, also by who has it still before itself, and in connections that nobody has
/// accepted yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_arrived_before_the_stop_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let listen = ["udp://127.0.0.1:0", &format!("unix:{}", path.display()), "tcp://127.0.0.1:0"];
    for round in 0..5 {
        let running = Running::start(&listen, |_| {}).await;
        running.kept.blocked.store(round % 2 == 0, Relaxed);
        let LogAddr::Tcp(tcp) = running.listeners.addrs()[2].clone() else { panic!() };
        let (udp, unix) = (sender(), UnixDatagram::unbound().unwrap());
        let counted = line(0);
        let counted = format!("{} {counted}", counted.len());
        let addr = running.addr();
        for n in 0..100 {
            udp.send_to(line(n).as_bytes(), addr).unwrap();
        }
        for n in 0..5 {
            unix.send_to(line(n).as_bytes(), &path).unwrap();
        }
        let connections: Vec<_> = (0..10)
            .map(|_| {
                let mut connection = std::net::TcpStream::connect(&tcp).unwrap();
                std::io::Write::write_all(&mut connection, counted.repeat(10).as_bytes()).unwrap();
                connection
            })
            .collect();
        running.kept.blocked.store(false, Relaxed);
        let (stats, _) = running.stop().await;
        assert_eq!([stats.udp_lines, stats.unix_lines, stats.tcp_lines], [100, 5, 100], "{stats:?}");
        assert_eq!((stats.incomplete, stats.lost), (0, 0));
        drop(connections);
    }
}

/// A sender that never stops is left alone at the end of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stop_ends_by_its_deadline() {
    let running = Running::start(&["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], |_| {}).await;
    let LogAddr::Udp(udp) = running.listeners.addrs()[1].clone() else { panic!() };
    let tcp = running.addr();
    let floods = [
        std::thread::spawn(move || {
            let mut connection = std::net::TcpStream::connect(tcp).unwrap();
            while std::io::Write::write_all(&mut connection, format!("{}\n", line(1)).repeat(100).as_bytes()).is_ok() {}
        }),
        std::thread::spawn(move || {
            let socket = sender();
            socket.connect(udp).unwrap();
            // Until the system tells that nobody listens any more.
            while socket.send(line(1).as_bytes()).is_ok() {}
        }),
    ];
    running.until("lines arrive", |s| s.tcp_lines > 100 && s.udp_lines > 100).await;
    let Running { listeners, kept } = running;
    let stats = listeners.stats();
    let stop = listeners.shutdown(Duration::from_millis(300));
    tokio::time::timeout(PATIENCE, stop).await.expect("by the deadline");
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    let stats = stats.snapshot();
    assert_eq!(kept.lines.lock().unwrap().len() as u64, stats.tcp_lines + stats.udp_lines);
    assert_eq!(stats.open, 0);
}

/// What is still in the system's buffer of a connection that is being read.
#[tokio::test]
async fn connections_are_read_to_their_end_at_the_stop() {
    let running = Running::tcp(|_| {}).await;
    let connections: Vec<_> = (0..10)
        .map(|n| {
            let mut connection = std::net::TcpStream::connect(running.addr()).unwrap();
            std::io::Write::write_all(&mut connection, format!("{}\n", line(n)).as_bytes()).unwrap();
            connection
        })
        .collect();
    running.until("they are read", |s| s.tcp_lines == 10).await;
    // The runtime has this thread only: nobody reads before the stop.
    for mut connection in &connections {
        std::io::Write::write_all(&mut connection, format!("{}\n", line(1)).repeat(100).as_bytes()).unwrap();
    }
    let (stats, _) = running.stop().await;
    assert_eq!((stats.tcp_lines, stats.incomplete, stats.open), (10 + 10 * 100, 0, 0));
}
