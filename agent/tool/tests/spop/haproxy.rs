//! Frames of real HAProxys, recorded between them and a real agent, decode and encode again to the same bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::proxy::{Proxy, is_old, with_each};
use crate::support::{RealAgent, say, spop_with, until};
use serde_json::Value;

/// The bytes of one direction of a connection.
type Recorded = Arc<Mutex<Vec<u8>>>;

/// Passes connections on to an agent and keeps what goes each way.
struct Recorder {
    addr: String,
    streams: Arc<Mutex<Vec<(Recorded, Recorded)>>>,
}

impl Recorder {
    fn start(agent: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let streams: Arc<Mutex<Vec<(Recorded, Recorded)>>> = Arc::default();
        let (all, agent) = (streams.clone(), agent.to_owned());
        std::thread::spawn(move || {
            for haproxy in listener.incoming() {
                let (haproxy, agent) = (haproxy.unwrap(), TcpStream::connect(&agent).unwrap());
                // A frame that is cut in two could be a fault of the recorder.
                agent.set_nodelay(true).unwrap();
                haproxy.set_nodelay(true).unwrap();
                let there = pump(haproxy.try_clone().unwrap(), agent.try_clone().unwrap());
                let back = pump(agent, haproxy);
                all.lock().unwrap().push((there, back));
            }
        });
        Recorder { addr, streams }
    }

    /// What came so far: from HAProxy and from the agent, of each connection.
    fn recorded(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let copy = |recorded: &Recorded| recorded.lock().unwrap().clone();
        self.streams.lock().unwrap().iter().map(|(there, back)| (copy(there), copy(back))).collect()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) -> Recorded {
    let recorded = Recorded::default();
    let bytes = recorded.clone();
    std::thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            bytes.lock().unwrap().extend_from_slice(&chunk[..n]);
            if to.write_all(&chunk[..n]).is_err() {
                break;
            }
        }
        // The other side may be gone.
        let _gone = to.shutdown(Shutdown::Write);
    });
    recorded
}

/// All types of samples, two messages in one NOTIFY, an unnamed argument, and headers larger than a frame.
const SPOE: &str = "\
[all]
spoe-agent all
    messages types check-client-ip headers
    option var-prefix rep
    option continue-on-error
    max-frame-size 512
    timeout hello 5s
    timeout idle 30s
    timeout processing 5s
    use-backend agents
spoe-message types
    args n=req.hdr(nothing) t=bool(true) f=bool(false) i=int(-5) v4=src v6=ipv6(2001:db8::1) s=method b=bin(0001ff) str(unnamed)
    event on-frontend-http-request
spoe-message check-client-ip
    args ip=src
    event on-frontend-http-request
spoe-message headers
    args hdrs=req.hdrs_bin
    event on-backend-http-request
";

/// The frames of recorded bytes; every one was encoded again to the same bytes.
fn decode(bytes: &[u8]) -> Vec<Value> {
    let output = spop_with(&["decode", "--format", "binary", "--json", "--reencode", "--reassemble"], bytes).ok();
    let frames = output.json_lines();
    let plain = spop_with(&["decode", "--reencode"], bytes).ok();
    let n = plain.stdout.lines().count();
    assert!(plain.stderr.contains(&format!("{n} encoded again to the same bytes, 0 errors")), "{plain:?}");
    assert!(frames.len() <= n);
    frames
}

fn is(frame: &Value, kind: &str) -> bool {
    frame["type"] == kind
}

#[test]
fn recorded_traffic_of_every_haproxy() {
    with_each(record_and_decode);
}

fn record_and_decode(program: &str, version: &str) {
    let agent = RealAgent::start();
    let recorder = Recorder::start(&agent.addr);
    let haproxy = Proxy::start(program, &recorder.addr, SPOE, "score=%[var(sess.rep.ip_score)]");
    let frames = |kind: &str| {
        let recorded = recorder.recorded();
        let all = recorded
            .iter()
            .map(|(there, _)| spop_with(&["decode", "--format", "binary", "--json", "--reassemble"], there));
        all.flat_map(|output| output.json_lines()).filter(|frame| is(frame, kind)).collect::<Vec<_>>()
    };
    let is_check = |frame: &Value| frame["keys"].as_array().unwrap().iter().any(|kv| kv["key"] == "healthcheck");
    until("health checks", || frames("HAPROXY-HELLO").iter().filter(|hello| is_check(hello)).count() >= 2);
    for headers in [10, 100, 1500] {
        let answer = haproxy.get("/a?b=c", &format!("X-Long: {}\r\n", "x".repeat(headers)));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("score="), "{version}: {answer}");
    }
    haproxy.stop();

    let mut sent = Vec::new();
    let mut answers = Vec::new();
    for (there, back) in recorder.recorded() {
        sent.extend(decode(&there));
        answers.extend(decode(&back));
    }
    let notifies: Vec<_> = sent.iter().filter(|frame| is(frame, "NOTIFY")).collect();
    let named = |name: &str| {
        notifies.iter().filter(|n| n["messages"].as_array().unwrap().iter().any(|m| m["name"] == name)).count()
    };
    assert_eq!(named("types"), 3, "{version}: {sent:?}");
    let first = notifies.iter().find(|n| n["messages"].as_array().unwrap().len() == 2).unwrap();
    let args = first["messages"][0]["args"].as_array().unwrap();
    let shown: Vec<String> = args.iter().map(|kv| format!("{}={}:{}", kv["key"], kv["type"], kv["value"])).collect();
    let expected = [
        r#""n"="null":null"#,
        r#""t"="bool":true"#,
        r#""f"="bool":false"#,
        r#""i"="int64":-5"#,
        // The client is on a unix socket and has no address.
        r#""v4"="null":null"#,
        r#""v6"="ipv6":"2001:db8::1""#,
        r#""s"="string":"GET""#,
        r#""b"="binary":"0001ff""#,
        r#"""="string":"unnamed""#,
    ];
    assert_eq!(shown, expected, "{version}");
    // The large one comes in fragments up to 3.0, and not at all later.
    let fragmented = notifies.iter().filter(|n| n["fragments"].as_u64() > Some(1)).count();
    let old = is_old(version);
    assert_eq!((named("headers"), fragmented), if old { (3, 1) } else { (2, 0) }, "{version}: {notifies:?}");
    assert_eq!(answers.iter().filter(|frame| is(frame, "ACK")).count(), notifies.len(), "{version}");
    assert!(answers.iter().any(|frame| is(frame, "AGENT-HELLO")), "{version}");
    if old {
        assert!(sent.iter().any(|frame| is(frame, "HAPROXY-DISCONNECT")), "{version}: {sent:?}");
    }
    say(&format!("HAProxy {version}: {} frames recorded and encoded again", sent.len() + answers.len()));
}
