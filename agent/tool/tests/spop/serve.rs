//! `spop serve`: an agent that does what its rules say.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use spop_core::FrameType;
use tempfile::tempdir;

use crate::proxy::{Proxy, is_old, with_each};
use crate::support::{
    Output, Process, framed, haproxy_hello, ids_of, notify_frame, read_frame, shaken, spop, unhex, until, vectors, wait,
};

/// A `spop` that listens until it is told to stop.
pub struct Listening {
    process: Process,
    pub addr: String,
    directory: tempfile::TempDir,
}

impl Listening {
    pub fn start(args: &[&str]) -> Self {
        Self::start_to(args, Stdio::from)
    }

    /// With another end of its lines.
    pub fn start_to(args: &[&str], to: impl Fn(std::fs::File) -> Stdio) -> Self {
        let directory = tempdir().unwrap();
        let file = |name: &str| std::fs::File::create(directory.path().join(name)).unwrap();
        let (out, err) = (to(file("out")), file("err"));
        let child = Command::new(env!("CARGO_BIN_EXE_spop")).args(args).stdout(out).stderr(err).spawn().unwrap();
        let mut listening = Listening { process: Process(child), addr: String::new(), directory };
        until("spop listens", || {
            let said = listening.read("err");
            // The line comes in pieces.
            let rest = said.split("listening addr=").nth(1).and_then(|rest| rest.split_once('\n'));
            let addr = rest.and_then(|(rest, _)| rest.split(',').next());
            listening.addr = addr.unwrap_or_default().to_owned();
            let ended = listening.child().try_wait().unwrap();
            assert!(ended.is_none(), "{said}");
            addr.is_some()
        });
        listening
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.process.0
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// As Ctrl-C does.
    pub fn stop(mut self) -> Output {
        kill_process(Pid::from_child(self.child()), Signal::INT).unwrap();
        let code = wait(self.child(), "spop");
        Output { code, stdout: self.read("out"), stderr: self.read("err") }
    }
}

const SPOE: &str = "\
[all]
spoe-agent all
    messages check-client-ip
    groups late
    option var-prefix rep
    option continue-on-error
    option set-on-error error
    timeout hello 5s
    timeout idle 30s
    timeout processing 500ms
    use-backend agents
spoe-message check-client-ip
    args ip=req.hdr(x-ip),ipmask(32) path=path
    event on-frontend-http-request
spoe-group late
    messages check-client-ip
";

const ANSWER: &str = "score=%[var(sess.rep.ip_score)],error=%[var(txn.rep.error)];";

/// A configuration is tried without the agent that it is for.
#[test]
fn haproxy_gets_what_the_rules_say() {
    with_each(|program, version| {
        let agent = Listening::start(&[
            "serve",
            "127.0.0.1:0",
            "--on",
            "check-client-ip ip=net:192.0.2.0/24",
            "set-var sess.ip_score=int64:42",
            "--on",
            "check-client-ip path=prefix:/slow",
            "delay 200ms",
            "set-var sess.ip_score=int64:7",
            "--on",
            "check-client-ip path=string:/late",
            "delay 5s",
            "--on",
            "check-client-ip path=string:/never",
            "no-ack",
            "--on",
            "check-client-ip path=string:/close",
            "close",
            "--on",
            "check-client-ip path=string:/io",
            "disconnect 1",
            "--on",
            "check-client-ip path=string:/garbage",
            "garbage",
            "--on",
            "check-client-ip path=string:/pieces",
            "set-var sess.ip_score=int64:1",
            "fragment 2",
        ]);
        let haproxy = Proxy::start(program, &agent.addr, SPOE, ANSWER);
        let score = |path: &str, ip: &str| {
            let answer = haproxy.get(path, &format!("X-IP: {ip}\r\n"));
            let scored = answer.split("score=").nth(1).and_then(|rest| rest.split(';').next());
            scored.unwrap_or_else(|| panic!("{version}: {answer}")).to_owned()
        };
        until("the agent is up", || score("/", "192.0.2.9") == "42,error=");
        assert_eq!(score("/", "10.0.0.1"), ",error=", "{version}: no rule, an empty ACK");
        let begin = Instant::now();
        assert_eq!(score("/slow", "10.0.0.1"), "7,error=", "{version}");
        assert!(begin.elapsed() >= Duration::from_millis(200), "{version}");
        // 3 is I/O, 2 a timeout; what exactly HAProxy makes of each is its own, but it is an error, and the request goes on.
        for path in ["/late", "/never", "/close", "/io", "/garbage", "/pieces"] {
            let score = score(path, "10.0.0.1");
            assert!(score.starts_with(",error=") && score.len() > ",error=".len(), "{version} {path}: {score}");
            until("the agent is up again", || self::up(&haproxy));
        }
        haproxy.stop();
        let output = agent.stop().ok();
        for (shown, times) in
            [("path=string:\"/slow\"", 1), ("set-var sess.ip_score=int64:7", 1), ("AGENT-DISCONNECT", 1)]
        {
            assert_eq!(output.stdout.matches(shown).count(), times, "{version} {shown}: {}", output.stdout);
        }
        let hidden = ["HELLO", "healthcheck"];
        assert!(hidden.iter().all(|text| !output.stdout.contains(text)), "{version}: {}", output.stdout);
        assert!(output.stderr.contains("rule on check-client-ip path=prefix:/slow: 1 messages"), "{}", output.stderr);
        if is_old(version) {
            assert!(output.stderr.contains("health checks)"), "{version}: {}", output.stderr);
        }
    });
}

fn up(haproxy: &Proxy) -> bool {
    haproxy.get("/", "X-IP: 192.0.2.9\r\n").contains("score=42,error=;")
}

/// What came is in the record, byte for byte, however it was cut.
#[test]
fn a_record_has_every_byte() {
    let directory = tempdir().unwrap();
    let record = directory.path().join("record.pcapng");
    let record = record.to_str().unwrap();
    let agent = Listening::start(&[
        "serve",
        "127.0.0.1:0",
        "--all",
        "--record",
        record,
        "--on",
        "*",
        "set-var txn.a=bool:true",
    ]);
    let hello = vectors("frames_valid.json").into_iter().find(|vector| vector["id"] == "haproxy-hello-min").unwrap();
    let mut sent = unhex(hello["hex"].as_str().unwrap());
    for n in 0..200u8 {
        sent.extend(framed(
            &[&[3, 0, 0, 0, 1, n % 200, 1][..], b"\x01m\x01\x01n\x08", &[n % 100], &vec![b'x'; usize::from(n % 100)]]
                .concat(),
        ));
    }
    let mut stream = TcpStream::connect(&agent.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let received = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    for (n, part) in sent.chunks(37).enumerate() {
        stream.write_all(part).unwrap();
        if n % 16 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let received = received.join().unwrap();
    let output = agent.stop().ok();
    assert_eq!(output.stdout.matches(" NOTIFY ").count(), 200, "{}", output.stdout);
    let decoded = spop(&["decode", "--json", "--reencode", record]).ok();
    let by_direction = |to_agent: bool| {
        let frames = decoded.json_lines();
        frames
            .iter()
            .filter(|frame| frame["stream"].as_str().unwrap().ends_with(&agent_port(&output)) == to_agent)
            .count()
    };
    assert_eq!((by_direction(true), by_direction(false)), (201, 201), "{}", decoded.stderr);
    let payload: usize = decoded.json_lines().iter().map(|frame| 4 + frame["length"].as_u64().unwrap() as usize).sum();
    assert_eq!(payload, sent.len() + received.len());
}

fn agent_port(output: &Output) -> String {
    output.stderr.split("listening addr=").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned()
}

#[test]
fn what_is_wrong_is_said() {
    let directory = tempdir().unwrap();
    let rules = directory.path().join("rules");
    let rules = rules.to_str().unwrap();
    std::fs::write(rules, "on m\n  jump\non m ip=net:x\n").unwrap();
    spop(&["serve", "127.0.0.1:0", "--rules", rules]).failed(2, "rules:2: there is no \"jump\"").failed(2, "rules:3: ");
    spop(&["serve", "127.0.0.1:0", "--on", "m", "delay"]).failed(2, "--on m delay");
    spop(&["serve", "127.0.0.1:0", "--on", "m"]).failed(2, "--on");
    spop(&["serve", "127.0.0.1:0,tls"]).failed(2, "there is no TLS here");
    spop(&["serve", "127.0.0.1:0", "--rules", "/nonexistent"]).failed(6, "/nonexistent");
    spop(&["serve", "127.0.0.1:0", "--record", "/nonexistent/x"]).failed(6, "/nonexistent/x");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    // What an earlier run recorded stays.
    let record = directory.path().join("record.pcapng");
    std::fs::write(&record, "earlier").unwrap();
    for command in [&["serve", &taken][..], &["relay", &taken, "127.0.0.1:1"]] {
        spop(&[command, &["--record", record.to_str().unwrap()]].concat()).failed(2, "cannot listen");
        assert_eq!(std::fs::read_to_string(&record).unwrap(), "earlier", "{command:?}");
    }
}

/// Whoever does not read the lines holds up nobody, and is told what was left out.
#[test]
fn nobody_waits_for_who_reads_the_lines() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let agent = Listening::start_to(&["serve", "127.0.0.1:0", "--max-connections", "5"], |_| {
        writer.try_clone().unwrap().into()
    });
    drop(writer);
    spop(&["load", &agent.addr, "--duration", "500ms", "--expect-nothing"]).ok();
    let mut agent = agent;
    kill_process(Pid::from_child(agent.child()), Signal::INT).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(wait(agent.child(), "spop"), 0);
    let left_out = agent.read("err");
    let left_out = left_out.lines().find(|line| line.contains("lines were left out")).unwrap();
    let count: usize = left_out.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(count > 0 && text.lines().count() > 1000);
}

/// Nor does the end, if nobody reads any more but the pipe is open.
#[test]
fn the_end_waits_for_no_reader() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let agent = Listening::start_to(&["serve", "127.0.0.1:0"], |_| writer.try_clone().unwrap().into());
    drop(writer);
    spop(&["load", &agent.addr, "-n", "3000", "--expect-nothing"]).ok();
    let told = agent.stop().ok().stderr;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let left_out = told.lines().find(|line| line.contains("lines were left out")).unwrap();
    let left_out: usize = left_out.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(text.lines().count() + left_out, 6000, "{told}");
}

/// What becomes of the record does not depend on whoever reads the lines.
#[test]
fn the_record_is_told_of_without_a_reader() {
    let directory = tempdir().unwrap();
    let record = directory.path().join("record.pcapng");
    for (args, code, says) in [
        (&["--record", "/dev/full"][..], 6, "/dev/full: "),
        (
            &["--record", record.to_str().unwrap(), "--record-limit", "100"],
            0,
            "record.pcapng is full (--record-limit 100)",
        ),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut agent =
            Listening::start_to(&[&["serve", "127.0.0.1:0"], args].concat(), |_| writer.try_clone().unwrap().into());
        drop((reader, writer));
        spop(&["notify", &agent.addr, "m"]).ok();
        let code_then = wait(agent.child(), "spop");
        let told = agent.read("err");
        assert!(code_then == code && told.contains(says), "{code_then}: {told}");
    }
}

/// What is delayed is answered at the end, what has no answer is ended by a DISCONNECT; further connections are closed.
#[test]
fn the_end_is_in_good_order() {
    let agent = Listening::start(&["serve", "127.0.0.1:0", "--max-connections", "1", "--on", "slow", "delay 1h"]);
    let addr = agent.addr.clone();
    let asking = std::thread::spawn(move || spop(&["notify", &addr, "--timeout", "20s", "slow"]));
    until("it came", || agent.read("out").contains("slow()"));
    let mut second = TcpStream::connect(&agent.addr).unwrap();
    assert_eq!(read_frame(&mut second), b"");
    let output = agent.stop().ok();
    asking.join().unwrap().ok();
    assert!(output.stderr.contains("1 connections refused"), "{}", output.stderr);
}

/// They stay without an answer, and are in nobody's way.
#[test]
fn after_many_without_an_answer_it_still_listens() {
    for instead in ["no-ack", "garbage"] {
        let agent = Listening::start(&["serve", "127.0.0.1:0", "--quiet", "--on", "lost", instead]);
        let mut stream = shaken(&agent.addr);
        let sent: Vec<u8> = (1..=3000).flat_map(|id| notify_frame(id, "lost")).collect();
        stream.write_all(&sent).unwrap();
        stream.write_all(&notify_frame(4000, "other")).unwrap();
        let mut garbage = vec![0; if instead == "garbage" { 3000 * b"\xff\xff\xff\xffno frame".len() } else { 0 }];
        stream.read_exact(&mut garbage).unwrap_or_else(|error| panic!("{instead}: {error}"));
        let ack = read_frame(&mut stream);
        assert!(!ack.is_empty(), "{instead}: no ACK");
        assert_eq!(ids_of(&ack), (FrameType::ACK, 4000), "{instead}");
        drop(stream);
        let told = agent.stop().ok().stderr;
        assert!(told.contains("3001 NOTIFYs, 1 ACKs"), "{instead}: {told}");
    }
}

/// What is delayed beyond the limit comes without a delay; a limit that the connection cannot keep is refused.
#[test]
fn so_many_acks_are_delayed_and_no_more() {
    let agent = Listening::start(&[
        "serve",
        "127.0.0.1:0",
        "--quiet",
        "--max-delayed",
        "1023",
        "--on",
        "slow",
        "delay 1h",
        "set-var txn.late=bool:true",
    ]);
    let mut stream = shaken(&agent.addr);
    let sent: Vec<u8> = (1..=1100).flat_map(|id| notify_frame(id, "slow")).collect();
    stream.write_all(&sent).unwrap();
    for id in 1024..=1100 {
        assert_eq!(ids_of(&read_frame(&mut stream)), (FrameType::ACK, id));
    }
    // Those that wait are answered at the end, in their order.
    let reading = std::thread::spawn(move || {
        let frames = std::iter::repeat_with(|| read_frame(&mut stream)).take_while(|frame| !frame.is_empty());
        frames.map(|frame| ids_of(&frame)).collect::<Vec<_>>()
    });
    let told = agent.stop().ok().stderr;
    let late = reading.join().unwrap();
    assert!(late.iter().take(1023).copied().eq((1..=1023).map(|id| (FrameType::ACK, id))), "{late:?}");
    assert_eq!(late.get(1023..), Some(&[(FrameType::AGENT_DISCONNECT, 0)][..]), "{late:?}");
    assert!(told.contains("77 ACKs without their delay"), "{told}");
    spop(&["serve", "127.0.0.1:0", "--max-delayed", "1024"]).failed(2, "1024 is not in 0..=1023");
}

/// HAProxy need not send more for the agent to look at what it sent already.
#[test]
fn what_came_behind_a_frame_that_has_an_answer_is_taken() {
    let agent = Listening::start(&["serve", "127.0.0.1:0", "--quiet"]);
    let mut stream = TcpStream::connect(&agent.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[haproxy_hello(), notify_frame(1, "m")].concat()).unwrap();
    assert_eq!(ids_of(&read_frame(&mut stream)).0, FrameType::AGENT_HELLO);
    let ack = read_frame(&mut stream);
    assert!(!ack.is_empty(), "no ACK");
    assert_eq!(ids_of(&ack), (FrameType::ACK, 1));
    drop(stream);
    agent.stop().ok();
}

/// Whoever waits in vain when the agent stops is told that it is no normal end.
#[test]
fn the_last_word_tells_of_answers_that_are_missing() {
    for (message, status) in [("lost", "status-code=uint32:2"), ("other", "status-code=uint32:0")] {
        let agent = Listening::start(&["serve", "127.0.0.1:0", "--all", "--on", "lost", "no-ack"]);
        let mut stream = shaken(&agent.addr);
        stream.write_all(&[notify_frame(1, message), notify_frame(2, "other")].concat()).unwrap();
        until("both came", || agent.read("out").matches(" NOTIFY ").count() == 2);
        let reading = std::thread::spawn(move || while !read_frame(&mut stream).is_empty() {});
        let output = agent.stop().ok();
        reading.join().unwrap();
        let last = output.stdout.lines().last().unwrap();
        assert!(last.contains("AGENT-DISCONNECT") && last.contains(status), "{message}: {}", output.stdout);
    }
}
