//! Frames that real HAProxy processes sent.

use serde::Deserialize;
use spop_core::{AgentConfig, Capabilities, Disconnect, FrameType, HaproxyHello, Status, Value};

use super::{MAX_FRAME_SIZE, assert_all, load, running_agent};
use crate::common::{AgentLog, AgentSide, decode, hex, unhex, walk};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured {
    id: String,
    haproxy: String,
    kind: String,
    hex: String,
}

#[test]
fn captured_frames() {
    let frames: Vec<Captured> = load("captured.json");
    for v in &frames {
        let id = &v.id;
        assert_eq!(id, &format!("{}/{}", v.haproxy, v.kind));
        let bytes = unhex(&v.hex);
        assert_eq!(hex(&walk::reencode(&decode(&bytes)).unwrap()), v.hex, "{id}");
        if let Some(code) = v.kind.strip_prefix("haproxy-disconnect-") {
            disconnect(id, &bytes, Status(code.parse().unwrap()));
        } else if v.kind.starts_with("haproxy-hello") {
            hello(id, &bytes, v.kind.ends_with("healthcheck"), &v.haproxy);
        } else {
            notify(id, &bytes, &v.kind);
        }
    }
    assert_all(frames.iter().map(|v| &v.id), 39);
    println!("vectors: captured {} frames of 4 HAProxy versions", frames.len());
}

/// The text is the one that [`Status::reason`] promises.
fn disconnect(id: &str, bytes: &[u8], status: Status) {
    let frame = decode(bytes);
    assert_eq!(frame.header.frame_type, FrameType::HAPROXY_DISCONNECT, "{id}");
    let parsed = Disconnect::parse(&frame).unwrap();
    assert_eq!((parsed.status, parsed.message_str()), (Some(status), Some(status.reason())), "{id}");
    let mut side = running_agent(MAX_FRAME_SIZE, Capabilities::PIPELINING);
    side.feed(bytes);
    assert_eq!(side.log, [AgentLog::Disconnect { status: Some(status), message: status.reason().into() }], "{id}");
}

fn hello(id: &str, bytes: &[u8], healthcheck: bool, version: &str) {
    let hello = HaproxyHello::parse(&decode(bytes)).unwrap();
    let offered = match (healthcheck, version) {
        (true, _) => Capabilities::NONE,
        (false, "2.6.12" | "3.0.11") => Capabilities::PIPELINING | Capabilities::ASYNC,
        (false, _) => Capabilities::PIPELINING,
    };
    assert_eq!((hello.capabilities, hello.healthcheck, hello.max_frame_size), (offered, healthcheck, 16380), "{id}");
    assert_eq!(hello.engine_id.map(<[u8]>::len), (!healthcheck).then_some(36), "{id}");
    let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    side.feed(bytes);
    let [AgentLog::Hello { negotiated, .. }] = &side.log[..] else { panic!("{id}: {:?}", side.log) };
    assert_eq!((negotiated.max_frame_size, negotiated.healthcheck), (16380, healthcheck), "{id}");
    assert_eq!(side.agent.is_closed(), healthcheck, "{id}");
}

fn notify(id: &str, bytes: &[u8], kind: &str) {
    let frame = decode(bytes);
    let message = frame.messages().next().unwrap().unwrap();
    match kind {
        "notify-all-types" => {
            let kinds: Vec<u8> = message.args().map(|arg| arg.unwrap().value.data_type()).collect();
            assert_eq!(kinds, [0, 1, 1, 4, 6, 7, 8, 9], "{id}");
        }
        "notify-stream-0" => assert_eq!((frame.header.stream_id.0, frame.header.frame_id.0), (0, 1), "{id}"),
        "notify-frame-8" => {
            assert_eq!(frame.header.frame_id.0, 8, "{id}");
            assert_eq!(message.arg("a"), Ok(Some(Value::Int64(1))), "{id}");
        }
        other => panic!("{id}: kind {other}"),
    }
    let mut side = running_agent(MAX_FRAME_SIZE, Capabilities::PIPELINING);
    side.feed(bytes);
    let [AgentLog::Notify { ids, payload, .. }] = &side.log[..] else { panic!("{id}: {:?}", side.log) };
    assert_eq!(*ids, (frame.header.stream_id.0, frame.header.frame_id.0), "{id}");
    assert_eq!(payload, frame.payload, "{id}");
}
