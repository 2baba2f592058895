//! `spop relay`: what passes is not changed unless that is asked for.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spop_core::{Flags, FrameType};
use tempfile::tempdir;

use crate::proxy::{Proxy, with_each};
use crate::serve::Listening;
use crate::support::{
    RealAgent, Scripted, agent_hello, frame_of, framed, ids_of, notify_frame, read_frame, shaken, spop, unhex, until,
    vectors,
};

fn relay(agent: &str, args: &[&str]) -> Listening {
    Listening::start(&[&["relay", "127.0.0.1:0", agent][..], args].concat())
}

/// Every valid frame of the vectors, and bytes that are none behind them.
fn everything() -> Vec<u8> {
    let mut bytes: Vec<u8> =
        vectors("frames_valid.json").iter().flat_map(|vector| unhex(vector["hex"].as_str().unwrap())).collect();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    bytes.extend((0..200_000_u32).map(|n| (n.wrapping_mul(n) >> 3) as u8));
    bytes
}

/// Sends bytes in parts of these lengths, and reads to the end.
fn exchange(stream: &mut TcpStream, bytes: &[u8], parts: &[usize]) -> Vec<u8> {
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let (mut rest, mut lens) = (bytes, parts.iter().cycle());
    while !rest.is_empty() {
        let (part, more) = rest.split_at((*lens.next().unwrap()).min(rest.len()));
        stream.write_all(part).unwrap();
        rest = more;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    reading.join().unwrap()
}

/// In both directions at once, however it is cut, also what is no SPOP; a half-close goes through.
#[test]
fn bytes_pass_unchanged_and_are_recorded() {
    let sent = everything();
    for parts in [&[1, 2, 3, 5, 8, 4000][..], &[65_536], &[7]] {
        let parts_of_agent = parts.to_vec();
        let answer = sent.clone();
        let agent = Scripted::start(1, move |mut stream| exchange(&mut stream, &answer, &parts_of_agent));
        let directory = tempdir().unwrap();
        let record = directory.path().join("record.pcapng");
        let relay = relay(&agent.addr, &["--record", record.to_str().unwrap()]);
        let mut stream = TcpStream::connect(&relay.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let received = exchange(&mut stream, &sent, parts);
        assert!(received == sent, "{} of {} bytes, {parts:?}", received.len(), sent.len());
        assert!(agent.end() == std::slice::from_ref(&sent), "{parts:?}");
        let output = relay.stop().ok();
        assert!(output.stderr.contains("2 directions of connections passed on without decoding"), "{}", output.stderr);
        // The packets' payloads, put together, are what was sent.
        let recorded = payloads(&std::fs::read(&record).unwrap());
        assert!(recorded == [sent.clone(), sent.clone()], "{parts:?}");
    }
}

/// The payloads of a record with IPv4, by direction: that of the first packet first.
fn payloads(mut blocks: &[u8]) -> [Vec<u8>; 2] {
    let (mut payloads, mut first) = ([Vec::new(), Vec::new()], None);
    while let Some((head, _)) = blocks.split_first_chunk::<8>() {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
        let (kind, len) = (word(&head[..4]), word(&head[4..]));
        if kind == 6 {
            let packet = &blocks[28..28 + word(&blocks[20..24])];
            let (ip, tcp) = packet.split_at(usize::from(packet[0] & 15) * 4);
            let from = (ip[12..16].to_vec(), tcp[..2].to_vec());
            let of_first = *first.get_or_insert_with(|| from.clone()) == from;
            payloads[usize::from(!of_first)].extend_from_slice(&tcp[usize::from(tcp[12] >> 4) * 4..]);
        }
        blocks = &blocks[len..];
    }
    payloads
}

const SPOE: &str = "\
[all]
spoe-agent all
    messages check-client-ip
    option var-prefix rep
    option continue-on-error
    option set-on-error error
    timeout hello 5s
    timeout idle 30s
    timeout processing 1s
    use-backend agents
spoe-message check-client-ip
    args ip=req.hdr(x-ip),ipmask(32)
    event on-frontend-http-request
";

#[test]
fn haproxy_and_its_agent_through_a_relay() {
    with_each(|program, version| {
        let agent = RealAgent::start();
        let relay = relay(&agent.addr, &["--json"]);
        let haproxy = Proxy::start(program, &relay.addr, SPOE, "score=%[var(sess.rep.ip_score)];");
        until("the agent is up", || haproxy.get("/", "X-IP: 192.0.2.17\r\n").contains("score=42;"));
        haproxy.stop();
        let output = relay.stop().ok();
        let acks: Vec<_> = output.json_lines().into_iter().filter(|frame| frame["type"] == "ACK").collect();
        assert!(
            !acks.is_empty() && acks.iter().all(|ack| ack["latency_ms"].as_f64().unwrap() > 0.0),
            "{version}: {acks:?}"
        );
        assert!(output.stderr.contains("latency of the agent: p50 "), "{version}: {}", output.stderr);
        assert!(!output.stdout.contains("HELLO"), "{version}: {}", output.stdout);
    });
}

#[test]
fn acks_come_late_or_not_at_all() {
    let agent = RealAgent::start();
    let ask = |relay: &Listening, n: &str, timeout: &str| {
        spop(&["notify", &relay.addr, "-n", n, "--timeout", timeout, "check-client-ip", "ip=ipv4:192.0.2.17"])
    };
    let slow = relay(&agent.addr, &["--delay", "300ms@1/2"]);
    let begin = Instant::now();
    ask(&slow, "4", "5s").ok();
    assert!(begin.elapsed() >= Duration::from_millis(600));
    let slow = slow.stop().ok();
    assert!(slow.stderr.contains("2 ACKs delayed"));
    assert_eq!(slow.stdout.matches(" fault=delayed ").count(), 2, "{}", slow.stdout);

    let lossy = relay(&agent.addr, &["--drop-ack", "1/3"]);
    ask(&lossy, "2", "5s").ok();
    ask(&lossy, "3", "300ms").failed(5, "no ACK");
    let lossy = lossy.stop().ok();
    assert_eq!(lossy.stdout.matches(" fault=dropped ").count(), 1, "{}", lossy.stdout);
    let told = lossy.stderr;
    assert!(told.contains("1 ACKs dropped") && told.contains("5 NOTIFYs, 5 ACKs"), "{told}");

    let deaf = relay(&agent.addr, &["--drop-notify", "100%", "--json"]);
    ask(&deaf, "1", "300ms").failed(5, "no ACK");
    let deaf = deaf.stop().ok();
    let lines = deaf.json_lines();
    assert!(lines.len() == 1 && lines[0]["type"] == "NOTIFY" && lines[0]["fault"] == "dropped", "{lines:?}");
    let told = deaf.stderr;
    assert!(told.contains("1 NOTIFYs dropped") && told.contains("1 NOTIFYs, 0 ACKs"), "{told}");

    let cutting = relay(&agent.addr, &["--cut", "1/2"]);
    ask(&cutting, "2", "5s").failed(4, "");
    let cutting = cutting.stop().ok();
    assert!(cutting.stderr.contains("1 connections cut"));
    assert_eq!(cutting.stdout.matches(" fault=cut ").count(), 1, "{}", cutting.stdout);
}

/// A NOTIFY without an end, or an end without a beginning, would be an error of the protocol to the agent.
#[test]
fn a_notify_is_dropped_with_all_its_fragments() {
    let agent = RealAgent::start();
    let relay = relay(&agent.addr, &["--drop-notify", "1/2"]);
    let mut stream = shaken(&relay.addr);
    let fragments = |id, flags| {
        [
            frame_of(FrameType::NOTIFY, Flags(0), id, b"\x01"),
            frame_of(FrameType::UNSET, Flags(0), id, b"m"),
            frame_of(FrameType::UNSET, flags, id, if flags.abort() { b"" } else { b"\0" }),
        ]
        .concat()
    };
    let given_up = Flags::FIN.union(Flags::ABORT);
    let sent = [
        notify_frame(1, "m"),
        fragments(2, Flags::FIN),
        fragments(3, Flags::FIN),
        fragments(4, given_up),
        notify_frame(5, "m"),
        notify_frame(6, "m"),
        // The ids of one that was dropped are not those of one that passes.
        fragments(2, Flags::FIN),
    ];
    for frames in sent {
        // In single bytes: what is dropped is a frame, however it comes.
        for byte in frames {
            stream.write_all(&[byte]).unwrap();
        }
    }
    let acks: Vec<_> = (0..4).map(|_| ids_of(&read_frame(&mut stream))).collect();
    assert_eq!(acks, [1, 3, 5, 2].map(|id| (FrameType::ACK, id)));
    drop(stream);
    let told = relay.stop().ok().stderr;
    assert!(told.contains("3 NOTIFYs dropped") && told.contains("7 NOTIFYs, 4 ACKs"), "{told}");
}

/// Those that never get an ACK, by a fault or by their agent, cost later ones nothing.
#[test]
fn latencies_go_on_behind_notifys_without_an_ack() {
    const MANY: u64 = 5000;
    let latencies = |relay: Listening, acks: usize| {
        let output = relay.stop().ok();
        let lines = output.json_lines();
        let of_acks: Vec<_> = lines.iter().filter(|frame| frame["type"] == "ACK").collect();
        assert_eq!(of_acks.len(), acks, "{}", output.stderr);
        assert!(of_acks.iter().all(|ack| ack["latency_ms"].as_f64() > Some(0.0)), "{of_acks:?}");
        assert!(output.stderr.contains("latency of the agent: p50 "), "{}", output.stderr);
        output.stderr
    };
    let agent = RealAgent::start();
    let dropping = relay(&agent.addr, &["--json", "--drop-notify", "99%"]);
    let mut stream = shaken(&dropping.addr);
    let sent: Vec<u8> = (1..=MANY).flat_map(|id| notify_frame(id, "m")).collect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut acks = 0;
    while read_frame(&mut stream).get(4) == Some(&103) {
        acks += 1;
    }
    assert!((20..100).contains(&acks), "{acks}");
    let told = latencies(dropping, acks);
    assert!(!told.contains("forgotten"), "{told}");

    let lazy = Scripted::start(1, |mut stream| {
        read_frame(&mut stream);
        stream.write_all(&agent_hello("pipelining")).unwrap();
        loop {
            let notify = read_frame(&mut stream);
            if notify.is_empty() {
                return notify;
            }
            let (_, id) = ids_of(&notify);
            if id > MANY {
                stream.write_all(&frame_of(FrameType::ACK, Flags::FIN, id, b"")).unwrap();
            }
        }
    });
    let relay = relay(&lazy.addr, &["--json"]);
    let mut stream = shaken(&relay.addr);
    stream.write_all(&sent).unwrap();
    for id in MANY + 1..=MANY + 10 {
        stream.write_all(&notify_frame(id, "m")).unwrap();
        assert_eq!(ids_of(&read_frame(&mut stream)), (FrameType::ACK, id));
    }
    drop(stream);
    lazy.end();
    let told = latencies(relay, 10);
    assert!(told.contains("905 NOTIFYs forgotten"), "{told}");
}

/// NOTIFYs that are open at the same time get their ACKs in another order.
#[test]
fn acks_come_in_another_order() {
    let agent = RealAgent::start();
    let relay = relay(&agent.addr, &["--reorder", "3", "--all"]);
    let mut stream = shaken(&relay.addr);
    let asked: Vec<u8> = (1..=4_u8).flat_map(|n| framed(&[3, 0, 0, 0, 1, n, 1, 1, b'm', 0])).collect();
    stream.write_all(&asked).unwrap();
    let order: Vec<_> = (0..4).map(|_| read_frame(&mut stream)[9]).collect();
    // The last one waits for others in vain.
    assert_eq!(order, [3, 2, 1, 4]);
    drop(stream);
    assert!(relay.stop().ok().stderr.contains("3 ACKs passed on in another order"));
}

/// An agent that does not read holds its HAProxy up, not the relay's memory.
#[test]
fn who_does_not_read_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut relay = relay(&listener.local_addr().unwrap().to_string(), &["--quiet"]);
    let mut stream = TcpStream::connect(&relay.addr).unwrap();
    let (_agent, _) = listener.accept().unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let part = vec![1; 1 << 20];
    let mut sent = 0;
    while let Ok(n) = stream.write(&part) {
        sent += n;
        assert!(sent < 256 << 20, "it takes anything");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.child().id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(resident < 64 << 10, "{resident} KiB after {sent} bytes");
    drop(stream);
    relay.stop().ok();
}

/// One whose queue is full, as an abstract name: the other connections go on, and so does the end.
#[test]
fn an_agent_that_accepts_nobody_holds_up_nobody() {
    let name = format!("spop-relay-{}", std::process::id());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let socket =
        || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    let listener = socket();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut filling = vec![socket()];
    while rustix::net::connect(filling.last().unwrap(), &address).is_ok() {
        filling.push(socket());
        assert!(filling.len() < 16, "the queue takes anybody");
    }
    let relay = relay(&format!("abnsz@{name}"), &[]);
    let mut streams = [(); 2].map(|()| TcpStream::connect(&relay.addr).unwrap());
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0]).expect("no answer"), 0);
    }
    let told = relay.stop().ok().stderr;
    assert!(told.contains("the agent does not accept connections") && told.contains("2 connections closed"), "{told}");
}

#[test]
fn what_is_wrong_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let relay = relay(&closed, &[]);
    let mut stream = TcpStream::connect(&relay.addr).unwrap();
    assert_eq!(read_frame(&mut stream), b"");
    let told = relay.stop().ok().stderr;
    assert!(told.contains(&format!("cannot connect to {closed}")), "{told}");
    for (option, value) in
        [("--drop-ack", "2"), ("--delay", "x"), ("--delay", "1s@0%x"), ("--cut", "1/0"), ("--reorder", "1")]
    {
        spop(&["relay", "127.0.0.1:0", &closed, option, value]).failed(2, option);
    }
}
