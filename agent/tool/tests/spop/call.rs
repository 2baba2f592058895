//! `spop check` and `spop notify` against a real agent and against agents that do everything wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Process, RealAgent, Scripted, agent_hello, framed, program, read_frame, repository, spop, unhex, until, vectors,
    wait,
};

/// Sends this after HAProxy's first frame, then waits for the end.
fn answering(bytes: &[u8]) -> Scripted {
    let bytes = bytes.to_vec();
    Scripted::start(1, move |mut stream: TcpStream| {
        let hello = read_frame(&mut stream);
        // The tool may have seen enough already.
        let _unread = stream.write_all(&bytes);
        let _closed = stream.read_to_end(&mut Vec::new());
        hello
    })
}

#[test]
fn the_health_check_is_haproxys_to_the_byte() {
    let agent = answering(&agent_hello(""));
    let report = spop(&["check", &agent.addr]).ok();
    assert!(report.stdout.starts_with("healthy "), "{report:?}");
    let sent = agent.end().remove(0);
    let mut compared = 0;
    for frame in vectors("captured.json").iter().filter(|frame| frame["kind"] == "haproxy-hello-healthcheck") {
        assert_eq!(sent, unhex(frame["hex"].as_str().unwrap()), "{}", frame["id"]);
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn a_healthy_agent() {
    let agent = RealAgent::start();
    let report = spop(&["check", "--json", &agent.addr]).ok().json_lines().remove(0);
    assert_eq!(report["healthy"], true);
    assert_eq!(report["hello"][0]["value"], "2.0");
    let report =
        spop(&["check", "--handshake", "--json", &format!("tcp://{}", agent.addr)]).ok().json_lines().remove(0);
    assert_eq!(report["negotiated"]["max_frame_size"], 16380);
    assert_eq!(report["negotiated"]["capabilities"], serde_json::json!(["pipelining", "fragmentation"]));
    assert_eq!(report["disconnect"], "status 0 (normal), message \"normal\"");
    let report = spop(&["check", "--handshake", "--max-frame-size", "300", &agent.addr]).ok();
    assert!(
        report.stdout.contains("negotiated  max-frame-size 300, capabilities pipelining,fragmentation"),
        "{report:?}"
    );
}

#[test]
fn a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let addr = format!("unix:{}", directory.path().join("spoa.sock").display());
    spop(&["check", &addr]).failed(3, "No such file");
    let agent = RealAgent::start_on(&addr);
    assert_eq!(agent.addr, addr);
    spop(&["check", &addr]).ok();
    let answer = spop(&["notify", &addr, "check-client-ip", "ip=ip:192.0.2.17"]).ok();
    assert!(answer.stdout.contains("set-var  sess.ip_score  int64  42"), "{answer:?}");
}

/// A listener that accepts nothing: its queue is full after one connection.
#[test]
fn a_full_queue_does_not_hang() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let addr = format!("unix:{}", path.display());
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    spop(&["check", &addr]).failed(3, "queue is full");
}

#[test]
fn sick_agents_each_with_its_exit_code() {
    spop(&["check", "127.0.0.1:1"]).failed(3, "cannot connect to 127.0.0.1:1: Connection refused");
    spop(&["check", "no-such-host.invalid:1"]).failed(3, "cannot connect");
    spop(&["check", "localhost"]).failed(2, "has no port");
    spop(&["check"]).failed(2, "ADDR");
    spop(&["check", "--timeout", "0s", "127.0.0.1:1"]).failed(2, "above 0");
    spop(&["check", "--timeout", "500000000000y", "127.0.0.1:1"]).failed(2, "longer than a year");
    let unhealthy = spop(&["check", "--json", "127.0.0.1:1"]).json_lines().remove(0);
    assert_eq!((&unhealthy["healthy"], &unhealthy["exit_code"]), (&false.into(), &3.into()));

    let hello = agent_hello("");
    let refused = b"\x66\0\0\0\x01\0\0\x0bstatus-code\x03\x08\x07message\x08\x02no";
    let cases: [(Vec<u8>, i32, &str); 8] = [
        (framed(refused), 4, "status 8 (unsupported version), message \"no\""),
        (vec![0, 0, 0, 3, 1, 2, 3], 4, "shorter than its header"),
        (framed(b"\x67\0\0\0\x01\0\0"), 4, "unexpected frame of type ACK"),
        (framed(b"\x65\0\0\0\x01\0\0\x07version\x08\x032.1"), 4, "no max-frame-size"),
        ([&hello[..], &hello].concat(), 4, "bytes follow the AGENT-HELLO"),
        ([&hello[..5], &[0x80], &hello[6..]].concat(), 4, "exactly 0x1"),
        (hello[..20].to_vec(), 5, "no AGENT-HELLO within 300ms"),
        (Vec::new(), 5, "no AGENT-HELLO within 300ms: is this the port of an agent"),
    ];
    for (bytes, code, says) in cases {
        let agent = answering(&bytes);
        let output = spop(&["check", "--timeout", "300ms", &agent.addr]).failed(code, says);
        assert_eq!(output.stdout, "");
        agent.end();
    }

    let closing = Scripted::start(1, |mut stream| read_frame(&mut stream));
    spop(&["check", &closing.addr])
        .failed(4, "closed the connection without an AGENT-HELLO: is this the port of an agent");
}

#[test]
fn what_answers_instead_of_an_agent_is_named() {
    let answers: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP answers at this address, not SPOP"),
        (b"\x15\x03\x03\0\x02\x02\x46", "TLS answers at this address, not SPOP"),
        (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2 answers at this address, not SPOP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "text answers at this address, not SPOP"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "the PROXY protocol, version 2 answers at this address"),
    ];
    for (bytes, says) in answers {
        for args in [&["check"][..], &["notify"], &["load", "--duration", "100ms"]] {
            let agent = answering(bytes);
            let message: &[&str] = if args[0] == "notify" { &["m"] } else { &[] };
            let output = spop(&[args, &["--timeout", "2s", &agent.addr], message].concat());
            assert_eq!(output.code, 4, "{args:?}: {output:?}");
            assert!(output.stderr.contains(says), "{args:?} {says}: {output:?}");
            agent.end();
        }
    }
    // For real: the pages of an agent.
    let pages = RealAgent::start_pages();
    let output = spop(&["check", "--json", &pages.addr]).failed(4, "HTTP answers at this address, not SPOP");
    assert!(output.json_lines()[0]["error"].as_str().unwrap().contains("(--admin)"), "{output:?}");
}

#[test]
fn notify_prints_the_actions() {
    let agent = RealAgent::start();
    let table = spop(&["notify", &agent.addr, "check-client-ip", "ip=ipv4:192.0.2.17"]).ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ACK stream=1 frame=1 in "), "{table}");
    assert_eq!(lines[1..], ["  set-var  sess.ip_score  int64  42"]);

    let messages =
        ["first", "=int64:1", "ip=ipv4:1.2.3.4", "ip=ipv4:9.9.9.9", "--", "second", "ip=ipv6:::5", "--", "third"];
    let args = [&["notify", "--json", "--repeat", "2", &agent.addr], &messages[..]].concat();
    let answers = spop(&args).ok().json_lines();
    assert_eq!(answers.len(), 2);
    assert_eq!((&answers[0]["stream_id"], &answers[1]["stream_id"]), (&1.into(), &3.into()));
    let action = |value: i64| serde_json::json!({"action": "set-var", "scope": "session", "name": "ip_score", "type": "int64", "value": value});
    // The first of two arguments of that name counts.
    assert_eq!(answers[1]["actions"], serde_json::json!([action(10), action(5)]));

    let whole = [&["notify", "--json", "--fragment", "7", &agent.addr], &messages[..]].concat();
    assert_eq!(spop(&whole).ok().json_lines()[0]["actions"], answers[0]["actions"]);
}

#[test]
fn notify_fails_as_it_should() {
    let agent = RealAgent::start();
    let notify = |args: &[&str]| spop(&[&["notify", "--timeout", "300ms"], args].concat());
    notify(&["--expect", "sess.ip_score=int64:42", &agent.addr, "m", "ip=ip:192.0.2.17"]).ok();
    notify(&["--expect", "sess.ip_score=int64:41", &agent.addr, "m", "ip=ip:192.0.2.17"])
        .failed(1, "int64:41 was expected");
    notify(&["--expect", "txn.ip_score=int64", &agent.addr, "m", "ip=ip:192.0.2.17"])
        .failed(1, "no action on txn.ip_score");
    notify(&[&agent.addr, "m", "ip=ipv4:1.2.3"]).failed(2, "not an IPv4 address");
    notify(&[&agent.addr]).failed(2, "MESSAGE");
    let big = format!("b=string:{}", "x".repeat(400));
    notify(&["--max-frame-size", "300", &agent.addr, "m", &big]).failed(2, "max-frame-size 300; see --fragment");
    notify(&["--max-frame-size", "300", "--fragment", "200", &agent.addr, "m", &big]).ok();

    let plain = answering(&agent_hello("pipelining"));
    notify(&["--fragment", "10", &plain.addr, "m"]).failed(4, "does not announce fragmentation");

    let mute = answering(&agent_hello(""));
    notify(&[&mute.addr, "m"]).failed(5, "no ACK within 300ms");

    // Wrong ids: ignored while pipelining is agreed on, an error else.
    let wrong = framed(b"\x67\0\0\0\x01\x05\x01");
    let other = answering(&[agent_hello("pipelining"), wrong.clone()].concat());
    notify(&[&other.addr, "m"]).failed(5, "1 frames that answer nothing were ignored");
    let other = answering(&[agent_hello(""), wrong].concat());
    notify(&[&other.addr, "m"]).failed(4, "answers no open NOTIFY");

    // However many of them come.
    let many = framed(b"\x67\0\0\0\x01\x05\x01").repeat(5000);
    let other = Scripted::start(1, move |mut stream| {
        read_frame(&mut stream);
        stream.write_all(&agent_hello("pipelining")).unwrap();
        while stream.write_all(&many).is_ok() {}
        Vec::new()
    });
    let begin = Instant::now();
    notify(&[&other.addr, "m"]).failed(5, "no ACK within 300ms");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    other.end();

    // Actions that are malformed break the protocol, whatever is expected of those before them.
    for expect in [&[][..], &["--expect", "txn.a=unset"], &["--expect", "txn.b=unset"]] {
        let broken = Scripted::start(1, |mut stream| {
            read_frame(&mut stream);
            stream.write_all(&agent_hello("")).unwrap();
            read_frame(&mut stream);
            stream.write_all(&framed(b"\x67\0\0\0\x01\x01\x01\x02\x02\x02\x01a\x07")).unwrap();
            read_frame(&mut stream)
        });
        let output = notify(&[expect, &[&broken.addr, "m"]].concat()).failed(4, "unknown action type 7");
        assert!(output.stderr.contains("the agent broke the protocol"), "{output:?}");
        assert!(output.stdout.contains("unset-var  txn.a"), "{output:?}");
        assert!(output.stdout.contains("then malformed"), "{output:?}");
        assert!(output.stderr.contains("answer to our DISCONNECT: none"), "{output:?}");
    }
}

/// Nobody can read what is said; the exit code is what it is.
#[test]
fn standard_error_may_be_gone() {
    let start = |args: &[&str]| {
        let full = std::fs::File::create("/dev/full").unwrap();
        Process(Command::new(program("spop")).args(args).stdout(Stdio::null()).stderr(full).spawn().unwrap())
    };
    let code = |args: &[&str]| wait(&mut start(args).0, &format!("spop {args:?}"));
    let trace = repository().join("agent/tool/tests/data/trace.pcap");
    let closing = Scripted::start(1, |mut stream| {
        read_frame(&mut stream);
        stream.write_all(&agent_hello("")).unwrap();
        read_frame(&mut stream);
        stream.write_all(&framed(b"\x67\0\0\0\x01\x01\x01")).unwrap();
        read_frame(&mut stream)
    });
    assert_eq!(code(&["check", "127.0.0.1:1"]), 3);
    assert_eq!(code(&["decode", trace.to_str().unwrap()]), 0);
    assert_eq!(code(&["notify", &closing.addr, "m"]), 0);
    assert_eq!(code(&["serve", "127.0.0.1:0,tls"]), 2);
    for command in [&["serve"][..], &["relay"]] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listen = format!("unix:{}", path.display());
        let agent: &[&str] = if command[0] == "relay" { &["127.0.0.1:1"] } else { &[] };
        let mut listening = start(&[command, &[&listen], agent].concat());
        until("it listens", || UnixStream::connect(&path).is_ok());
        // Whoever is served may be told to stop.
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        kill_process(Pid::from_child(&listening.0), Signal::INT).unwrap();
        assert_eq!(wait(&mut listening.0, "spop"), 0, "{command:?}");
    }
}

#[test]
fn documentation_for_packagers() {
    let page = spop(&["--generate", "man"]).ok().stdout;
    for part in [".TH SPOP 1", "\n.SH \"EXIT CODES\"\n", "cannot connect\n"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let directory = tempfile::tempdir().unwrap();
    let into = |what: &str| format!("{what}={}", directory.path().display());
    spop(&["--generate", &into("man")]).ok();
    for page in ["spop.1", "spop-check.1", "spop-notify.1", "spop-decode.1", "spop-load.1"] {
        let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains("\n.SH SYNOPSIS\n") && !text.contains("EXTRA"), "{page}: {text}");
    }
    for (shell, file) in [("bash", "spop.bash"), ("zsh", "_spop"), ("fish", "spop.fish")] {
        let script = spop(&["--generate", shell]).ok().stdout;
        assert!(script.contains("max-reassembly"), "{script}");
        spop(&["--generate", &into(shell)]).ok();
        assert_eq!(std::fs::read_to_string(directory.path().join(file)).unwrap(), script);
    }
    spop(&["--generate", "man=/nonexistent"]).failed(6, "/nonexistent");
    spop(&["--generate", "bash=/nonexistent"]).failed(6, "/nonexistent");
    spop(&["--generate", "html"]).failed(2, "man, bash, zsh or fish");
    spop(&["--generate", "man="]).failed(2, "directory is missing");
    spop(&["--generate", "man", "check", "127.0.0.1:1"]).failed(2, "cannot be used with");
    spop(&[]).failed(2, "Usage: spop");
    for command in ["check", "notify", "decode", "load"] {
        assert!(spop(&[command, "--help"]).ok().stdout.contains("Examples:"), "{command}");
    }
}
