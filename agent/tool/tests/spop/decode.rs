//! `spop decode`: the golden vectors, broken input of every kind, packet captures.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Output, Process, RealAgent, framed, skipped, spop, spop_with, unhex, until, vectors, wait};
use serde_json::{Value, json};

fn hex_of(vector: &Value) -> &str {
    vector["hex"].as_str().unwrap()
}

/// Vectors as lines of hex.
fn lines(vectors: &[Value]) -> String {
    vectors.iter().map(|vector| format!("{}\n", hex_of(vector))).collect()
}

fn decode(args: &[&str], input: &[u8]) -> Output {
    spop_with(&[&["decode"], args].concat(), input)
}

const ACK: &[u8] = b"\0\0\0\x07\x67\0\0\0\x01\x01\x01";

#[test]
fn captured_frames_encode_again_to_the_same_bytes() {
    let captured = vectors("captured.json");
    let output = decode(&["--reencode"], lines(&captured).as_bytes()).ok();
    assert_eq!(output.stdout.lines().count(), captured.len());
    let n = captured.len();
    assert!(
        output.stderr.contains(&format!("{n} frames, {n} encoded again to the same bytes, 0 errors")),
        "{output:?}"
    );
    // The same as one stream.
    let stream: Vec<u8> = captured.iter().flat_map(|vector| unhex(hex_of(vector))).collect();
    let output = decode(&["--reencode"], &stream).ok();
    assert_eq!(output.stdout.lines().count(), n);
}

/// A value of a vector in the form of this tool.
fn value(kind: &Value, value: &Value) -> Value {
    match (kind.as_str().unwrap(), value) {
        ("int32" | "int64", Value::String(n)) => json!(n.parse::<i64>().unwrap()),
        ("uint32" | "uint64", Value::String(n)) => json!(n.parse::<u64>().unwrap()),
        (_, value) => value.clone(),
    }
}

fn pairs(items: &Value) -> Value {
    let pair = |kv: &Value| json!({"key": kv[0], "type": kv[1], "value": value(&kv[1], &kv[2])});
    items.as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn every_field_of_the_valid_vectors() {
    let vectors = vectors("frames_valid.json");
    let decoded = decode(&["--json", "--reencode"], lines(&vectors).as_bytes()).ok().json_lines();
    assert_eq!(decoded.len(), vectors.len());
    for (vector, line) in vectors.iter().zip(&decoded) {
        let id = &vector["id"];
        assert_eq!(line["type_code"], vector["type"], "{id}");
        assert_eq!(line["flags"], vector["flags"], "{id}");
        assert_eq!(line["stream_id"].to_string(), vector["stream_id"].as_str().unwrap(), "{id}");
        assert_eq!(line["frame_id"].to_string(), vector["frame_id"].as_str().unwrap(), "{id}");
        assert_eq!(line["length"], hex_of(vector).len() / 2 - 4, "{id}");
        let payload = &vector["payload"];
        let items = payload["items"].as_array();
        match payload["kind"].as_str().unwrap() {
            "kv" => assert_eq!(line["keys"], pairs(&payload["items"]), "{id}"),
            "fragment" => assert_eq!(line["fragment"], payload["hex"], "{id}"),
            "messages" => {
                let message = |m: &Value| json!({"name": m["name"], "args": pairs(&m["args"])});
                let expected: Value = items.unwrap().iter().map(message).collect();
                assert_eq!(line["messages"], expected, "{id}");
            }
            "actions" => {
                let action = |a: &Value| match a.get("value") {
                    Some(v) => {
                        json!({"action": a["action"], "scope": a["scope"], "name": a["name"], "type": v[0], "value": value(&v[0], &v[1])})
                    }
                    None => json!({"action": a["action"], "scope": a["scope"], "name": a["name"]}),
                };
                let expected: Value = items.unwrap().iter().map(action).collect();
                assert_eq!(line["actions"], expected, "{id}");
            }
            other => panic!("unknown kind {other}"),
        }
    }
}

/// Where the bytes themselves are wrong, and not just the moment at which they come, a line has the status of the vector.
#[test]
fn every_broken_frame_of_the_vectors_is_named() {
    let mut checked = 0;
    for vector in vectors("frames_invalid.json") {
        let reason = vector["reason"].as_str().unwrap();
        let output = decode(&["--json", "--max-frame-size", "16380"], hex_of(&vector).as_bytes());
        let lines = output.json_lines();
        let status = lines.iter().find_map(|line| line["error"]["status"].as_u64());
        match vector["outcome"].as_str().unwrap() {
            "incomplete" if hex_of(&vector).is_empty() => assert_eq!((output.code, lines.len()), (0, 0)),
            "incomplete" => {
                assert_eq!(output.code, 1, "{vector}");
                assert!(lines.last().unwrap()["error"]["reason"].as_str().unwrap().contains("ends inside"), "{vector}");
                checked += 1;
            }
            // The length prefix or the payload; HAProxy passes over a bad action without a status of its own.
            _ if status.is_some() => {
                let wanted = vector["status"].as_u64().unwrap_or(4);
                assert_eq!((output.code, status), (1, Some(wanted)), "{reason}: {output:?}");
                checked += 1;
            }
            _ => assert!(lines.iter().any(|line| line["type_code"].is_u64()), "{vector} {output:?}"),
        }
    }
    assert!(checked >= 30, "{checked}");
}

#[test]
fn errors_do_not_stop_a_stream() {
    let notify = framed(b"\x03\0\0\0\x01\x05\x07\x01m\x02\x01a\x04\x01\x01b\x0c");
    let probe = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let stream = [ACK, &notify, ACK, probe, ACK, &[0, 0, 0, 6], &ACK[..10]].concat();
    let output = decode(&[], &stream).failed(1, "4 frames, 41 bytes passed over, 3 errors");
    let expected = "\
        0 ACK stream=1 frame=1 flags=FIN len=7\n\
        11 NOTIFY stream=5 frame=7 flags=FIN len=17 m(a=int64:1) ERROR at offset 31: reserved data type 12 at byte 16 of the frame\n\
        32 ACK stream=1 frame=1 flags=FIN len=7\n\
        43 ERROR no frame has the length 1195725856: 7 to 1048576 (--max-frame-size) are possible\n\
        43 SKIPPED 27 bytes\n\
        70 ACK stream=1 frame=1 flags=FIN len=7\n\
        81 ERROR no frame has the length 6: 7 to 1048576 (--max-frame-size) are possible\n";
    assert!(output.stdout.starts_with(expected), "{}", output.stdout);
    // What is there of the last one could be a frame, until the input ends.
    assert!(output.stdout.ends_with("81 SKIPPED 14 bytes\n"), "{}", output.stdout);
    assert_eq!(
        decode(&[], &ACK[..10]).failed(1, "1 errors").stdout,
        "0 ERROR the input ends inside a frame: 10 of 11 bytes are there\n"
    );
}

#[test]
fn hex_lines_with_all_decorations() {
    let text = "# recorded by hand\n\n0x00 00 00 07 67000000010101 # an ACK\n 00:00:00:07:67:00:00:00:01:02:01\r\n00000\nzz\n\
                0000000767000000010301 0000000767000000010401";
    let output = decode(&["--json"], text.as_bytes()).failed(1, "4 frames, 2 errors");
    let lines = output.json_lines();
    let at = |n: usize| (lines[n]["line"].as_u64().unwrap(), lines[n]["stream_id"].as_u64());
    assert_eq!((at(0), at(1)), ((3, Some(1)), (4, Some(2))));
    assert_eq!(lines[2]["error"]["reason"], "an odd number of hex digits at column 5");
    assert_eq!(lines[3]["error"]["reason"], "not a hex digit at column 1");
    assert_eq!((at(4), at(5)), ((7, Some(3)), (7, Some(4))));
    let long = format!("{}\n0000000767000000010101\n", "0".repeat(300 * 8));
    let output =
        decode(&["--max-frame-size", "256", "--format", "hex"], long.as_bytes()).failed(1, "1 frames, 1 errors");
    assert!(output.stdout.starts_with("1:0 ERROR a line longer than 2048 bytes"), "{output:?}");
    assert!(output.stdout.contains("2:0 ACK"), "{output:?}");
}

#[test]
fn what_encodes_otherwise_is_found() {
    // A STRING with a reserved flag, and a BOOL with one.
    for (typed, at) in [(&b"\x18\x01x"[..], 15), (b"\x31", 15)] {
        let frame = framed(&[&b"\x03\0\0\0\x01\x01\x01\x01m\x01\0"[..], typed].concat());
        decode(&[], &frame).ok();
        let output = decode(&["--reencode"], &frame).failed(1, "1 errors");
        assert!(output.stdout.contains(&format!("from byte {at} on")), "{output:?}");
    }
    let reserved_flag = b"\0\0\0\x07\x67\x80\0\0\x01\x01\x01";
    assert!(decode(&["--reencode"], reserved_flag).ok().stdout.contains("flags=FIN|0x80000000"));
    let bytes = framed(b"\x03\0\0\0\x01\x01\x01\x02\xff\"\x01\0\x08\x02\xc3(");
    let output = decode(&["--json", "--reencode"], &bytes).ok().json_lines();
    assert_eq!(output[0]["messages"][0]["name"], json!({"hex": "ff22"}));
    assert_eq!(output[0]["messages"][0]["args"][0]["value"], json!({"hex": "c328"}));
}

#[test]
fn fragments_are_put_together() {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        framed(&[&[kind, 0, 0, 0, flags, stream, 1], payload].concat())
    };
    let (first, middle, last) =
        (frame(3, 0, 1, b"\x01m\x01\x01a\x08"), frame(0, 0, 1, b"\x04on"), frame(0, 1, 1, b"ce"));
    let whole = [&first[..], &middle, ACK, &last].concat();
    let args = ["--reassemble", "--reencode"];
    let output = decode(&args, &whole).ok();
    assert!(
        output.stderr.contains("4 frames, 3 fragments among them, 1 NOTIFYs put together, 5 encoded again"),
        "{output:?}"
    );
    assert!(
        output.stdout.ends_with("0 NOTIFY stream=1 frame=1 flags=none len=11 fragments=3 m(a=string:\"once\")\n"),
        "{output:?}"
    );
    assert_eq!(decode(&[], &whole).ok().stdout.lines().filter(|line| line.contains("fragment=")).count(), 3);

    let abort = frame(0, 3, 1, b"");
    assert!(decode(&args, &[&first[..], &abort].concat()).ok().stdout.contains("flags=FIN|ABORT"));
    for (bytes, says) in [
        (first.clone(), "not completed; 1 fragments"),
        ([&first[..], &first, &middle, &last].concat(), "not completed; 1 fragments"),
        (middle.clone(), "continues no NOTIFY"),
        ([&first[..], &frame(0, 1, 3, b"")].concat(), "continues no NOTIFY"),
        ([&first[..], &frame(0, 1, 1, b"\x09x")].concat(), "the data ends inside a field"),
    ] {
        let output = decode(&args, &bytes);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stdout.contains(says), "{says}: {output:?}");
    }
    let bound = decode(&["--reassemble", "--max-reassembly", "10"], &whole).failed(1, "1 errors");
    assert!(bound.stdout.contains("larger than --max-reassembly (10 bytes)"), "{bound:?}");
}

#[test]
fn unreadable_input() {
    spop(&["decode", "/nonexistent"]).failed(6, "/nonexistent: No such file");
    decode(&["--format", "pcap"], b"").failed(6, "standard input: the input is empty");
    decode(&["--format", "pcap"], &[7; 100]).failed(6, "no pcap or pcapng file");
    assert_eq!(decode(&[], b"").ok().stdout, "");
    let random: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(decode(&["--format", "binary"], &random).code, 1);
    for cut in [2, 20, 30, 50, 77] {
        let mut capture = std::fs::read(data("trace.pcap")).unwrap();
        capture.truncate(cut);
        assert_ne!(decode(&["--format", "pcap"], &capture).code, 0, "{cut}");
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The frames of a capture, without what differs between captures of the same traffic.
fn frames(output: &Output) -> Vec<Value> {
    output.json_lines().into_iter().filter(|line| line["type"].is_string()).collect()
}

/// `trace.pcap` was recorded on loopback by tcpdump: `spop check`, `spop notify` of a fragmented and of a whole NOTIFY,
/// against `ip_reputation`. `trace.pcapng` holds the same packets in disorder, some twice, beside other traffic.
#[test]
fn recorded_captures() {
    let args = |file: &str, more: &[&str]| {
        let path = data(file);
        spop(&[&["decode", "--json", "--reencode", "--reassemble"], more, &[path.to_str().unwrap()]].concat())
    };
    let recorded = args("trace.pcap", &[]).ok();
    let types: Vec<String> = frames(&recorded).iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect();
    let session = ["HAPROXY-HELLO", "AGENT-HELLO", "NOTIFY", "ACK", "HAPROXY-DISCONNECT", "AGENT-DISCONNECT"];
    assert_eq!(types, [&session[..2], &session, &session].concat());
    assert!(recorded.stderr.contains("6 streams with SPOP"), "{recorded:?}");
    let whole = &frames(&recorded)[4];
    assert_eq!(whole["fragments"], 3);
    assert_eq!(whole["messages"][0]["args"][0]["value"], "192.0.2.17");
    assert!(whole["time"].as_str().unwrap().starts_with("20"), "{whole}");

    let disordered = args("trace.pcapng", &[]).ok();
    let key = |frame: &Value| (frame["stream"].to_string(), frame["offset"].as_u64(), frame["type"].to_string());
    let sorted = |output: &Output| {
        let mut keys: Vec<_> = frames(output).iter().map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(sorted(&disordered), sorted(&recorded));
    assert!(disordered.stderr.contains("streams without SPOP passed over"), "{disordered:?}");
    assert!(disordered.stderr.contains("bytes sent again"), "{disordered:?}");

    let port = whole["stream"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(frames(&args("trace.pcap", &["--port", &port]).ok()).len(), types.len());
    assert_eq!(frames(&args("trace.pcap", &["--port", "1"]).ok()).len(), 0);
    args("trace.pcap", &["--max-streams", "1"]).failed(1, "of streams beyond --max-streams passed over");
}

/// The capture is cut behind every packet and inside of some: no panic, no frame that is not in the whole one.
#[test]
fn cut_captures() {
    for file in ["trace.pcap", "trace.pcapng"] {
        let whole = std::fs::read(data(file)).unwrap();
        let all = frames(&decode(&["--json"], &whole)).len();
        for cut in (0..whole.len()).step_by(whole.len() / 40) {
            let output = decode(&["--json", "--format", "pcap"], &whole[..cut]);
            assert!(frames(&output).len() <= all && output.code >= 0, "{file} at {cut}: {output:?}");
        }
    }
}

/// tcpdump on loopback, here and now.
#[test]
fn a_live_capture() {
    let agent = RealAgent::start();
    let port = agent.addr.rsplit_once(':').unwrap().1;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("live.pcap");
    let log = directory.path().join("log");
    let started = Command::new("tcpdump")
        .args(["-i", "lo", "-U", "-w", file.to_str().unwrap(), "tcp", "and", "port", port])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn();
    let mut tcpdump = match started {
        Ok(child) => Process(child),
        Err(error) => return skipped(&format!("tcpdump does not run: {error}")),
    };
    let read_log = || std::fs::read_to_string(&log).unwrap();
    until("tcpdump listens", || read_log().contains("listening on") || tcpdump.0.try_wait().unwrap().is_some());
    if tcpdump.0.try_wait().unwrap().is_some() {
        return skipped(&format!("capturing is not permitted: {}", read_log()));
    }
    spop(&["notify", "--fragment", "9", "--repeat", "20", &agent.addr, "m", "ip=ip:192.0.2.17"]).ok();
    let path = file.to_str().unwrap();
    let decoded = || spop(&["decode", "--json", "--reencode", "--reassemble", "--port", port, path]);
    until("all packets are in the file", || frames(&decoded()).len() >= 44);
    let pid = rustix::process::Pid::from_child(&tcpdump.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait(&mut tcpdump.0, "tcpdump");
    let output = decoded().ok();
    assert_eq!(frames(&output).len(), 44, "{output:?}");
    let notifies: Vec<_> = frames(&output).into_iter().filter(|frame| frame["type"] == "NOTIFY").collect();
    assert_eq!(notifies.len(), 20);
    assert!(notifies.iter().all(|frame| frame["messages"][0]["args"][0]["value"] == "192.0.2.17"), "{output:?}");
}
