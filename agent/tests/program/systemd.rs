//! What systemd does for a service: passes sockets, is told how things stand, restarts what hangs.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use spop_core::ClientConfig;
use tokio::io::AsyncWriteExt;

use crate::common::Peer;
use crate::log_listeners::line;
use crate::passed::pass;
use crate::process::{PATIENCE, Process, eventually, free_port};
use crate::program_support::{Session, run};
use crate::programs::skipped;
use crate::scrape::Metrics;

/// The end of NOTIFY_SOCKET at which systemd listens.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager { socket, path: path.to_str().unwrap().to_owned(), _dir: dir }
    }

    /// What it was told and nobody read yet.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let next = || self.socket.recv(&mut buffer).ok().map(|n| String::from_utf8(buffer[..n].to_vec()).unwrap());
        let messages: Vec<_> = std::iter::from_fn(next).collect();
        messages.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    }

    /// All that it is told until this comes.
    async fn until(&self, start: &str) -> Vec<String> {
        let mut all = Vec::new();
        eventually(start, || {
            all.extend(self.told());
            all.iter().any(|line: &String| line.starts_with(start)).then_some(())
        })
        .await;
        all
    }
}

#[tokio::test]
async fn it_is_told_how_things_stand() {
    let manager = Manager::new();
    let mut session = Session::start(&["--grace", "40s"], &[("NOTIFY_SOCKET", &manager.path)]).await;
    let told = manager.until("READY=1").await;
    assert!(!told.iter().any(|line| line.starts_with("WATCHDOG") || line.starts_with("ERRNO")), "{told:?}");
    session.message("id", &[("span", "a")]).await;
    let told = manager.until("STATUS=1 connections, 1 spans open, 0 exported, 0 dropped").await;
    assert!(!told.contains(&"READY=1".to_owned()), "once: {told:?}");
    session.stop().await;
    let told = manager.until("EXTEND_TIMEOUT_USEC=").await;
    assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
    let time = told.iter().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")).unwrap();
    assert!((40_000_000..50_000_000).contains(&time.parse::<u32>().unwrap()), "{time}");
}

/// As Type=notify-reload wants it: without the time systemd takes no notice.
#[tokio::test]
async fn a_reload_begins_and_ends() {
    let manager = Manager::new();
    let session = Session::start(&[], &[("NOTIFY_SOCKET", &manager.path)]).await;
    manager.until("READY=1").await;
    session.process.signal("-HUP");
    let told = manager.until("READY=1").await;
    let place =
        |start: &str| told.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{told:?}"));
    let order = ["RELOADING=1", "MONOTONIC_USEC=", "READY=1"].map(place);
    assert!(order.is_sorted(), "{told:?}");
    session.stop().await;
}

#[test]
fn it_is_told_why_there_is_no_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (args, status, errno) in [
        (["--listen", &addr], format!("STATUS=cannot start: --listen {addr}: "), "ERRNO=98"),
        (["--listen", "systemd:spop"], "STATUS=cannot start: --listen systemd:spop: ".to_owned(), "ERRNO=22"),
        (["--config", "/nonexistent/config.toml"], "STATUS=".to_owned(), "ERRNO=22"),
    ] {
        let manager = Manager::new();
        run(&args, &[("NOTIFY_SOCKET", &manager.path)]);
        let told = manager.told();
        assert!(told.iter().any(|line| line.starts_with(&status)), "{told:?}");
        assert!(told.contains(&errno.to_owned()), "{told:?}");
        assert!(!told.contains(&"READY=1".to_owned()), "{told:?}");
    }
}

/// Nobody to be told, a manager that is gone or takes nothing: HAProxy is served.
#[tokio::test]
async fn a_manager_that_is_stuck_holds_up_nothing() {
    let manager = Manager::new();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &manager.path).is_ok() {}
    for socket in [&*manager.path, "/nonexistent/notify"] {
        let mut session = Session::start(&[], &[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "100000")]).await;
        session.message("id", &[("span", "a")]).await;
        let lines = session.stop().await;
        let told = |line: &serde_json::Value| line["fields"]["message"].as_str().unwrap().contains("NOTIFY_SOCKET");
        assert!(lines.iter().any(told), "{socket}: {lines:#?}");
    }
}

/// Accepting a connection never returns once the file is there.
const HANGING_ACCEPT: &str = "
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdlib.h>
    #include <sys/socket.h>
    #include <unistd.h>
    int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags) {
        int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, \"accept4\");
        while (access(getenv(\"HANG_IF\"), F_OK) == 0) pause();
        return real(fd, addr, len, flags);
    }
";

/// As long as everything runs, and not when connections are accepted no more, though the other threads run.
#[tokio::test]
async fn the_watchdog_is_fed_while_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let library = crate::preloaded(dir.path(), HANGING_ACCEPT);
    let hang = dir.path().join("hang");
    let manager = Manager::new();
    let env = [
        ("NOTIFY_SOCKET", &*manager.path),
        ("WATCHDOG_USEC", "400000"),
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("HANG_IF", hang.to_str().unwrap()),
    ];
    let session = Session::start(&["--workers", "4"], &env).await;
    for _ in 0..5 {
        manager.until("WATCHDOG=1").await;
    }
    std::fs::write(&hang, "").unwrap();
    let _connection = TcpStream::connect(&session.addr).unwrap();
    // Nobody waits for the connection: that nothing more comes is seen by time alone, ten times that of the program.
    eventually("it is fed no more", || {
        manager.told();
        std::thread::sleep(Duration::from_secs(2));
        (!manager.told().contains(&"WATCHDOG=1".to_owned())).then_some(())
    })
    .await;
    drop(session);
}

/// It is another process that systemd waits for.
#[tokio::test]
async fn the_watchdog_of_another_process_is_left_alone() {
    let manager = Manager::new();
    let env = [("NOTIFY_SOCKET", &*manager.path), ("WATCHDOG_USEC", "10000"), ("WATCHDOG_PID", "1")];
    let session = Session::start(&[], &env).await;
    let told = manager.until("STATUS=").await;
    session.stop().await;
    let told = [told, manager.until("STOPPING=1").await].concat();
    assert!(!told.contains(&"WATCHDOG=1".to_owned()), "{told:?}");
}

fn fd(socket: impl Into<OwnedFd>) -> OwnedFd {
    socket.into()
}

fn tcp(addr: &str) -> (TcpListener, String) {
    let socket = TcpListener::bind(addr).unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    (socket, addr)
}

/// The program with these sockets.
fn start(sockets: Vec<(&str, OwnedFd)>, args: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    command.args(args);
    pass(&mut command, sockets);
    Process::start("spoa-otel", &mut command)
}

#[tokio::test]
async fn sockets_are_taken_by_name_and_left_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let [spop_path, log_path] = ["spop.sock", "log.sock"].map(|name| dir.path().join(name));
    let (spop, spop_addr) = tcp("127.0.0.1:0");
    let spop_unix = UnixListener::bind(&spop_path).unwrap();
    let ((admin, admin_addr), (admin_6, admin_6_addr)) = (tcp("127.0.0.1:0"), tcp("[::1]:0"));
    let (otlp, otlp_addr) = tcp("127.0.0.1:0");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let log_unix = UnixDatagram::bind(&log_path).unwrap();
    let (log_tcp, log_tcp_addr) = tcp("127.0.0.1:0");
    let (spare, _) = tcp("127.0.0.1:0");
    let sockets = vec![
        ("spop", fd(spop.try_clone().unwrap())),
        ("log", fd(udp.try_clone().unwrap())),
        ("admin", fd(admin)),
        ("spop", fd(spop_unix)),
        ("log", fd(log_unix.try_clone().unwrap())),
        ("log", fd(log_tcp)),
        ("admin", fd(admin_6)),
        ("otlp", fd(otlp)),
        ("spare.socket", fd(spare)),
    ];
    let args =
        ["--listen=systemd:spop", "--admin=systemd:admin", "--otlp-listen=systemd:otlp", "--log-listen=systemd:log"];
    let mut process = start(sockets, &args);
    let unused = |line: &str| (line.contains("no option uses") && line.contains("spare.socket")).then_some(());
    process.line("the spare one", unused).await;
    for addr in [&spop_addr, &admin_addr, &admin_6_addr, &otlp_addr, &log_tcp_addr] {
        let listens =
            |line: &str| (line.contains("listening") && line.contains(&format!("{addr} kind="))).then_some(());
        process.line(addr, listens).await;
    }
    let mut peer = Peer::hello(&spop_addr, ClientConfig::DEFAULT).await;
    let frame = peer.encode_notify(1, 1, |notify| notify.message(b"otel:test").unwrap());
    peer.stream.write_all(&frame).await.unwrap();
    peer.ack().await;
    UnixStream::connect(&spop_path).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(line(1).as_bytes(), udp.local_addr().unwrap()).unwrap();
    UnixDatagram::unbound().unwrap().send_to(line(2).as_bytes(), &log_path).unwrap();
    TcpStream::connect(&log_tcp_addr).unwrap().write_all(format!("{}\n", line(3)).as_bytes()).unwrap();
    for addr in [&admin_addr, &admin_6_addr] {
        Metrics::scrape_until(addr, "three lines", |m| m.sum("log_lines_received_total", "") == 3.0).await;
    }
    process.signal("-TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    // Who comes now waits for the next one.
    assert!(spop_path.exists() && log_path.exists());
    TcpStream::connect(&spop_addr).unwrap();
    sender.send_to(line(4).as_bytes(), udp.local_addr().unwrap()).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    let n = udp.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], line(4).as_bytes());
}

/// What the package installs: the configuration takes the sockets of the units, each as what it is.
#[tokio::test]
async fn the_units_and_the_configuration_beside_them_fit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let service = read("spoa-otel.service");
    let units = service.lines().find_map(|line| line.strip_prefix("Sockets=")).unwrap();
    let (udp, (spop, spop_addr), (admin, admin_addr)) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), tcp("127.0.0.1:0"), tcp("127.0.0.1:0"));
    let log_addr = udp.local_addr().unwrap();
    let mut open = vec![("127.0.0.1:5140", fd(udp)), ("127.0.0.1:7000", fd(spop)), ("127.0.0.1:9464", fd(admin))];
    let mut sockets = Vec::new();
    for unit in units.split(' ').map(read) {
        let value = |key| unit.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let listen = value("ListenStream=").or_else(|| value("ListenDatagram=")).unwrap();
        let at = open.iter().position(|(addr, _)| *addr == listen).unwrap();
        sockets.push((value("FileDescriptorName=").unwrap(), open.swap_remove(at).1));
    }
    assert!(open.is_empty(), "{open:?}");
    let sockets = sockets.iter_mut().map(|(name, socket)| (&**name, socket.try_clone().unwrap())).collect();
    let mut process = start(sockets, &["--config", folder.join("config.toml").to_str().unwrap()]);
    let listens = |line: &str| line.contains("kind=spop").then_some(());
    process.line("listens", listens).await;
    Peer::hello(&spop_addr, ClientConfig::DEFAULT).await;
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(line(1).as_bytes(), log_addr).unwrap();
    Metrics::scrape_until(&admin_addr, "the line", |m| m.sum("log_lines_received_total", "") == 1.0).await;
    process.signal("-TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}

/// Each says what to do.
#[tokio::test]
async fn sockets_that_do_not_fit_end_with_2() {
    let listener = || fd(tcp("127.0.0.1:0").0);
    let connection = || {
        let (socket, addr) = tcp("127.0.0.1:0");
        let client = TcpStream::connect(addr).unwrap();
        drop(socket);
        fd(client)
    };
    let udp = |addr: &str| fd(UdpSocket::bind(addr).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let unix = || {
        fd(UnixListener::bind(tempfile::Builder::new().make_in(&dir, |path| Ok(path.to_owned())).unwrap().path())
            .unwrap())
    };
    let (listen, admin, lines) = ("--listen=systemd:a", "--admin=systemd:a", "--log-listen=systemd:a");
    for (sockets, args, said) in [
        (vec![], vec![listen], "systemd passed no sockets to this process"),
        (vec![("spop", listener()), ("log", udp("127.0.0.1:0"))], vec![listen], "but \"log\", \"spop\""),
        (vec![("a", udp("127.0.0.1:0"))], vec![listen], "a UDP socket under the name \"a\", where stream sockets"),
        (vec![("a", connection())], vec![listen], "no listening socket (a connection, as by Accept=yes"),
        (vec![("a", fd(File::open("/dev/null").unwrap()))], vec![listen], "no listening socket"),
        (vec![("a", unix())], vec![admin], "where TCP sockets (ListenStream= with a port) are wanted"),
        (vec![("a", unix())], vec![lines], "where datagram sockets (ListenDatagram=)"),
        (vec![("a", listener())], vec![admin, listen], "taken by another option already"),
        (vec![("a", udp("0.0.0.0:0"))], vec![lines], "--log-allow"),
        (vec![("", listener())], vec![listen], "but \"unknown\""),
    ] {
        let more: &[&str] = if args.contains(&admin) { &[] } else { &["--admin=none"] };
        let mut process = start(sockets, &[&args, more].concat());
        let status = process.ended().await;
        let text = process.line(said, |line| line.contains(said).then(|| line.to_owned()));
        let text = tokio::time::timeout(Duration::from_secs(5), text).await;
        assert_eq!(status.code(), Some(2), "{args:?}: {text:?}");
        assert!(text.unwrap().contains("systemd:a"), "{args:?}");
    }
    for wrong in
        ["--listen=systemd:", "--admin=systemd:a:b", "--log-listen=systemd:a,b", "--otlp-listen=systemd:\u{e9}"]
    {
        let (status, text) = run(&[wrong], &[]);
        assert!(status == Some(2) && text.contains("FileDescriptorName="), "{wrong}: {text}");
    }
}

/// With LISTEN_PID, by systemd's own tool: it starts the program when somebody connects.
#[tokio::test]
async fn the_first_connection_starts_it() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        return skipped("systemd-socket-activate is not installed");
    }
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(tool);
    command.args(["--listen", &addr, "--fdname=spop", env!("CARGO_BIN_EXE_spoa-otel")]);
    command.args(["--listen", "systemd:spop", "--admin", "none"]);
    let mut process = Process::start(tool, &mut command);
    process.line("listens", |line| line.contains("Listening on").then_some(())).await;
    let mut peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
    let frame = peer.encode_notify(1, 1, |notify| notify.message(b"otel:test").unwrap());
    peer.stream.write_all(&frame).await.unwrap();
    peer.ack().await;
    process.signal("-TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}

/// The journal has the time of each line, and wants to know how grave it is.
#[test]
fn the_journal_gets_priorities_and_no_times() {
    let (_taken, addr) = tcp("127.0.0.1:0");
    for in_journal in [true, false] {
        let (stderr, mut journal) = UnixStream::pair().unwrap();
        let stream = File::from(fd(stderr.try_clone().unwrap())).metadata().unwrap();
        let stream = if in_journal { format!("{}:{}", stream.dev(), stream.ino()) } else { "1:1".to_owned() };
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        command.args(["--listen", &addr, "--admin", "none"]).env("JOURNAL_STREAM", stream).stderr(fd(stderr));
        assert_eq!(command.status().unwrap().code(), Some(1));
        drop(command);
        let mut text = String::new();
        journal.read_to_string(&mut text).unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(last.starts_with("<3>ERROR spoa_otel: cannot start: --listen"), in_journal, "{text}");
        assert_eq!(text.lines().all(|line| line.starts_with('<')), in_journal, "{text}");
    }
}
