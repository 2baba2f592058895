//! `spop load`: no error against good agents, every fault of bad ones by its name.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Output, RealAgent, Scripted, agent_hello, framed, read_frame, spop, unhex, until, vectors};
use serde_json::{Value, json};

fn load(args: &[&str]) -> Output {
    spop(&[&["load", "--json", "--quiet"], args].concat())
}

/// The report of a run.
fn report(output: &Output) -> Value {
    output.json_lines().remove(0)
}

#[test]
fn closed_loop_presets_and_messages_of_ones_own() {
    let agent = RealAgent::start();
    let run = |args: &[&str]| report(&load(&[&[agent.addr.as_str(), "-n", "5000"], args].concat()).ok());
    for args in [
        &["--expect", "sess.ip_score=int64:42"][..],
        &["--preset", "trace", "-c", "7", "-i", "128", "--threads", "3"],
        &["-c", "1", "-i", "1"],
        &["--expect", "sess.ip_score=int64:10", "m", "id=string:{seq}", "ip=ip:1.2.3.4", "--", "n", "=null"],
        &["m", "a=bool:true"],
    ] {
        let report = run(args);
        assert_eq!((&report["sent"], &report["acks"]), (&json!(5000), &json!(5000)), "{args:?}: {report}");
        assert_eq!(report["errors"], json!({}), "{args:?}");
        assert!(report["latency_us"]["p50"].as_f64() > Some(0.0), "{report}");
    }
    let report = run(&["--pid", &agent.pid()]);
    assert!(report["agent_cpu_seconds"].as_f64().is_some(), "{report}");
    assert!(report["agent_peak_memory_bytes"].as_u64() > Some(1 << 20), "{report}");
    assert_eq!(report["agent_gone"], false, "{report}");
    let text = spop(&["load", &agent.addr, "-n", "10", "-c", "2"]).ok().stdout;
    assert!(text.contains("2 connections, 20 in flight on each, closed loop\nACKs       10 in "), "{text}");
    assert!(text.contains("errors     none"), "{text}");
}

#[test]
fn open_loop() {
    let agent = RealAgent::start();
    let report = report(&load(&[&agent.addr, "--rate", "500", "-d", "1s", "-c", "3"]).ok());
    assert_eq!((&report["sent"], &report["acks"]), (&json!(500), &json!(500)), "{report}");
}

/// What is overdue and cannot be sent costs no time of the processor: without an ACK, a HELLO or a connection.
#[test]
fn an_open_loop_waits_for_what_it_needs() {
    // The time that was used is told per ACK.
    let one_ack = |stream: &mut TcpStream, capabilities: &str| {
        read_frame(stream);
        stream.write_all(&agent_hello(capabilities)).unwrap();
        let (notify, mut body) = (read_frame(stream), good_answer());
        body[5..7].copy_from_slice(&notify[9..11]);
        stream.write_all(&framed(&body)).unwrap();
        Vec::new()
    };
    let to_the_end = |mut stream: TcpStream| {
        let _closed = stream.read_to_end(&mut Vec::new());
        Vec::new()
    };
    let no_ack = Scripted::start(1, move |mut stream: TcpStream| {
        one_ack(&mut stream, "");
        to_the_end(stream)
    });
    let first = std::cell::Cell::new(true);
    let no_hello =
        Scripted::start(
            2,
            move |mut stream: TcpStream| {
                if first.replace(false) { one_ack(&mut stream, "pipelining") } else { to_the_end(stream) }
            },
        );
    let gone = Scripted::start(1, move |mut stream: TcpStream| one_ack(&mut stream, "pipelining"));
    for (what, agent) in [("ACK", no_ack), ("HELLO", no_hello), ("connection", gone)] {
        let output = load(&[&agent.addr, "--rate", "1000", "-d", "2s", "-c", "1", "-i", "4", "--timeout", "3s"]);
        let report = report(&output);
        assert_eq!((output.code, &report["acks"]), (1, &json!(1)), "{what}: {output:?}");
        let seconds = report["tool_cpu_seconds_per_million_acks"].as_f64().unwrap() / 1e6;
        assert!(seconds < 0.5, "{what}: {output:?}");
        agent.end();
    }
}

/// Answers every NOTIFY by `answer`, whose ids are replaced, but the first one after `pause`.
fn answering(connections: usize, answer: Vec<u8>, pause: std::time::Duration) -> Scripted {
    Scripted::start(connections, move |mut stream: TcpStream| {
        read_frame(&mut stream);
        stream.write_all(&agent_hello("pipelining")).unwrap();
        let mut first = true;
        loop {
            let notify = read_frame(&mut stream);
            if notify.get(4) != Some(&3) {
                return Vec::new();
            }
            if std::mem::take(&mut first) {
                std::thread::sleep(pause);
            }
            // The ids of few NOTIFYs in flight have a byte each.
            let mut body = answer.clone();
            body[5..7].copy_from_slice(&notify[9..11]);
            if stream.write_all(&framed(&body)).is_err() {
                return Vec::new();
            }
        }
    })
}

const PROMPT: std::time::Duration = std::time::Duration::ZERO;

/// The ACK of the vectors without its prefix.
fn good_answer() -> Vec<u8> {
    let reference = vectors("reference.json");
    unhex(reference[0]["ack"]["hex"].as_str().unwrap())[4..].to_vec()
}

/// A pause of the agent counts for all NOTIFYs that were due in it, and not for one alone.
#[test]
fn no_coordinated_omission() {
    let agent = answering(1, good_answer(), std::time::Duration::from_millis(500));
    let args = ["--rate", "50", "-d", "2s", "-c", "1", "-i", "1"];
    let report = report(&load(&[&[agent.addr.as_str()], &args[..]].concat()).ok());
    assert_eq!(report["acks"], 100, "{report}");
    // A quarter of them was due during the pause: waits from nothing to half a second.
    assert!(report["latency_us"]["p90"].as_f64() > Some(200_000.0), "{report}");
}

#[test]
fn the_presets_are_the_frames_of_the_vectors() {
    for reference in vectors("reference.json") {
        let agent = Scripted::start(1, |mut stream| {
            read_frame(&mut stream);
            stream.write_all(&agent_hello("")).unwrap();
            read_frame(&mut stream)
        });
        let preset = reference["id"].as_str().unwrap();
        assert_eq!(
            load(&[&agent.addr, "--preset", preset, "-n", "1", "-c", "1", "-i", "1", "--timeout", "200ms"]).code,
            1
        );
        let (sent, wanted) = (agent.end().remove(0), unhex(reference["hex"].as_str().unwrap()));
        assert_eq!(sent.len(), wanted.len());
        // The ids are the run's own.
        assert_eq!((&sent[..9], &sent[11..]), (&wanted[..9], &wanted[11..]), "{preset}");
    }
}

#[test]
fn every_fault_by_its_name() {
    let good = good_answer();
    let action = |bytes: &[u8]| [&b"\x67\0\0\0\x01\0\0"[..], bytes].concat();
    let cases = [
        ("missing", action(b"")),
        ("missing", action(b"\x01\x03\x02\x08ip_score\x04\x2a")),
        ("wrong-type", action(b"\x01\x03\x01\x08ip_score\x05\x2a")),
        ("wrong-value", action(b"\x01\x03\x01\x08ip_score\x04\x2b")),
        ("malformed", action(b"\x01\x03\x01\x08ip_score")),
        ("aborted", [&b"\x67\0\0\0\x03"[..], &good[5..]].concat()),
    ];
    for (kind, answer) in cases {
        let agent = answering(1, answer, PROMPT);
        let args = ["-n", "50", "-c", "1", "-i", "4", "--expect", "sess.ip_score=int64:42"];
        let output = load(&[&[agent.addr.as_str()], &args[..]].concat()).failed(1, "50 errors in 50 NOTIFYs");
        assert_eq!(report(&output)["errors"], json!({kind: 50}), "{output:?}");
    }
    let agent = answering(1, action(b""), PROMPT);
    load(&[&agent.addr, "-n", "50", "-c", "1", "-i", "4", "--expect-nothing"]).ok();
}

#[test]
fn faults_of_a_connection() {
    let one = |bytes: Vec<u8>| {
        // Twice: the tool connects again.
        Scripted::start(2, move |mut stream: TcpStream| {
            read_frame(&mut stream);
            stream.write_all(&agent_hello("pipelining")).unwrap();
            read_frame(&mut stream);
            let _unread = stream.write_all(&bytes);
            if bytes.is_empty() {
                return Vec::new();
            }
            let _closed = stream.read_to_end(&mut Vec::new());
            Vec::new()
        })
    };
    let args = ["-n", "2", "-c", "1", "-i", "1", "--timeout", "400ms"];
    for (bytes, kind) in [
        (Vec::new(), "closed"),
        (framed(b"\x66\0\0\0\x01\0\0\x0bstatus-code\x03\x0d\x07message\x08\x02no"), "disconnected"),
        (framed(b"\x65\0\0\0\x01\0\0"), "protocol"),
        (vec![0xFF; 8], "protocol"),
    ] {
        let agent = one(bytes);
        let output = load(&[&[agent.addr.as_str()], &args[..]].concat());
        assert_eq!(output.code, 1, "{output:?}");
        let report = report(&output);
        assert_eq!(report["errors"], json!({kind: 2, "lost": 2}), "{output:?}");
        assert_eq!(report["reconnects"], 1, "{output:?}");
        agent.end();
    }
    for (bytes, errors) in
        [(framed(b"\x67\0\0\0\x01\x63\x01"), json!({"timeout": 2, "unknown-ack": 1})), (vec![0], json!({"timeout": 2}))]
    {
        let agent = one(bytes);
        let output = load(&[&[agent.addr.as_str()], &args[..]].concat());
        assert_eq!((output.code, &report(&output)["errors"]), (1, &errors), "{output:?}");
    }
}

#[test]
fn what_cannot_begin() {
    load(&["127.0.0.1:1"]).failed(3, "cannot connect");
    let agent = RealAgent::start();
    load(&[&agent.addr, "--pid", "4194305"]).failed(6, "/proc/4194305/stat");
    load(&[&agent.addr, "--preset", "trace", "--max-frame-size", "300"]).failed(2, "does not fit");
    load(&[&agent.addr, "--preset", "ip", "m"]).failed(2, "cannot be used with");
    load(&[&agent.addr, "--rate", "0"]).failed(2, "above 0");
    load(&[&agent.addr, "-i", "129"]).failed(2, "129");
    let mute = Scripted::start(1, |mut stream| read_frame(&mut stream));
    load(&[&mute.addr, "--timeout", "200ms"]).failed(4, "closed the connection");
}

/// An agent that goes away during the run: errors, no hang, and the run ends.
#[test]
fn an_agent_that_dies() {
    let agent = RealAgent::start();
    let addr = agent.addr.clone();
    let run = std::thread::spawn(move || load(&[&addr, "-d", "2s", "-c", "2", "--timeout", "300ms"]));
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(agent);
    let output = run.join().unwrap();
    let errors = report(&output)["errors"].clone();
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(errors["closed"], 2, "{output:?}");
    assert!(errors["connect"].as_u64() > Some(0), "{output:?}");
}

/// A number of NOTIFYs may take any time, an agent that does not come back may not.
#[test]
fn an_agent_that_is_not_back_in_time_ends_the_run() {
    let disconnect = framed(b"\x66\0\0\0\x01\0\0\x0bstatus-code\x03\x0d\x07message\x08\x02no");
    // What it does with each connection but the first: closes it, says nothing, or takes its leave with its HELLO.
    let later: [(&str, Option<Vec<u8>>); 3] = [
        ("closed", None),
        ("timeout", Some(Vec::new())),
        ("disconnected", Some([agent_hello("pipelining"), disconnect].concat())),
    ];
    for (kind, says) in later {
        let first = std::cell::Cell::new(true);
        // More of them than the tool ever makes.
        let agent = Scripted::start(10_000, move |mut stream: TcpStream| {
            if first.replace(false) {
                read_frame(&mut stream);
                stream.write_all(&agent_hello("pipelining")).unwrap();
                return read_frame(&mut stream);
            }
            if let Some(bytes) = &says {
                let _unread = stream.write_all(bytes);
                let _closed = stream.read_to_end(&mut Vec::new());
            }
            Vec::new()
        });
        let args = ["-n", "50", "-c", "1", "-i", "1", "--timeout", "400ms"];
        let output = load(&[&[agent.addr.as_str()], &args[..]].concat());
        assert_eq!(output.code, 1, "{kind}: {output:?}");
        let errors = report(&output)["errors"].clone();
        assert_eq!((&errors["lost"], &errors["unsent"]), (&json!(1), &json!(49)), "{kind}: {output:?}");
        assert!(errors[kind].as_u64() > Some(0), "{kind}: {output:?}");
    }
}

/// The CPU time of a process.
fn cpu_ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    fields.take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// What it used is not known any more; all else is.
#[test]
fn the_report_survives_the_agent() {
    for json in [true, false] {
        let agent = RealAgent::start();
        let (addr, pid) = (agent.addr.clone(), agent.pid());
        let args = ["-d", "2s", "-c", "2", "--timeout", "300ms", "--pid"];
        let mut args: Vec<_> = ["load", &addr, "--quiet"].into_iter().chain(args).map(str::to_owned).collect();
        args.push(pid.clone());
        args.extend(json.then(|| "--json".to_owned()));
        let run = std::thread::spawn(move || spop(&args.iter().map(String::as_str).collect::<Vec<_>>()));
        let idle = cpu_ticks(&pid);
        until("the agent has work", || cpu_ticks(&pid) > idle + 10);
        drop(agent);
        let output = run.join().unwrap().failed(1, " errors in ");
        if json {
            let report = report(&output);
            assert_eq!(report["errors"]["closed"], 2, "{output:?}");
            assert_eq!(report["agent_gone"], true, "{output:?}");
            assert_eq!(report.get("agent_cpu_seconds"), None, "{output:?}");
        } else {
            assert!(output.stdout.contains(&format!("agent      gone before the end (pid {pid})\n")), "{output:?}");
            assert!(output.stdout.contains("errors     2 closed"), "{output:?}");
        }
    }
}
