//! What each side does with a frame that is wrong, unfinished or merely unusual, in the state of the vector.

use serde::Deserialize;
use serde_json::Value as Json;
use spop_core::{AgentConfig, Capabilities, ClientConfig, Disconnect, FrameType, Status, Want};

use super::{MAX_FRAME_SIZE, assert_all, capabilities, load, running_agent, waiting_client};
use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide, decode, hex, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    id: String,
    receiver: String,
    state: String,
    hex: String,
    outcome: String,
    status: Option<u32>,
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(rename = "basis")]
    _basis: String,
    max_frame_size: Option<u32>,
    #[serde(rename = "observed")]
    _observed: Option<Json>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[test]
fn frames() {
    let vectors: Vec<Vector> = load("frames_invalid.json");
    let (mut agent, mut client) = (0, 0);
    for v in &vectors {
        match v.receiver.as_str() {
            "agent" => {
                at_agent(v);
                agent += 1;
            }
            "haproxy" => {
                at_client(v);
                client += 1;
            }
            other => panic!("{}: receiver {other}", v.id),
        }
    }
    assert_all(vectors.iter().map(|v| &v.id), 91);
    println!("vectors: frames {} invalid ({agent} at an agent, {client} at a client)", vectors.len());
}

fn at_agent(v: &Vector) {
    let id = &v.id;
    let max_frame_size = v.max_frame_size.unwrap_or(MAX_FRAME_SIZE);
    let mut side = match v.state.as_str() {
        "await-hello" => AgentSide::new(
            AgentConfig::DEFAULT.with_max_frame_size(max_frame_size).with_capabilities(Capabilities::PIPELINING),
        ),
        "running" => running_agent(max_frame_size, Capabilities::PIPELINING),
        "running+fragmentation" => running_agent(max_frame_size, capabilities(&["pipelining", "fragmentation"])),
        other => panic!("{id}: state {other}"),
    };
    let awaits_hello = side.agent.negotiated().is_none();
    side.feed(&unhex(&v.hex));
    let sent = side.take_sent();
    match v.outcome.as_str() {
        "incomplete" => {
            assert!(v.status.is_none() && side.log.is_empty() && sent.is_empty(), "{id}: {:?}", side.log);
            assert!(matches!(side.want(), Want::Read(1..)), "{id}");
            assert_eq!(side.agent.negotiated().is_none(), awaits_hello, "{id}");
            assert_eq!(hex(&side.input), v.hex, "{id}: nothing is used up");
        }
        "disconnect" => {
            assert_disconnect(id, &sent, FrameType::AGENT_DISCONNECT, v.status.unwrap());
            let normal = matches!(side.log[..], [AgentLog::Disconnect { .. }]);
            assert_eq!(v.status == Some(0), normal, "{id}: {:?}", side.log);
            assert_eq!(side.log.len(), 1, "{id}: {:?}", side.log);
            assert!(side.agent.is_closed() && side.want() == Want::Close, "{id}");
        }
        "ignore" => {
            assert!(v.status.is_none() && side.log.is_empty() && sent.is_empty(), "{id}: {:?}", side.log);
            assert_eq!(side.agent.stats().ignored, 1, "{id}");
            side.feed(&unhex("0000000a03000000010101016d00"));
            assert!(matches!(side.log[..], [AgentLog::Notify { ids: (1, 1), .. }]), "{id}: goes on");
        }
        other => panic!("{id}: outcome {other}"),
    }
}

fn at_client(v: &Vector) {
    let id = &v.id;
    assert_eq!(v.max_frame_size, None, "{id}");
    let waits = match v.state.as_str() {
        "await-agent-hello" => false,
        "running, waiting for ACK stream 1 frame 1" => true,
        other => panic!("{id}: state {other}"),
    };
    let mut side = if waits {
        waiting_client(Capabilities::PIPELINING)
    } else {
        let mut side = ClientSide::new(ClientConfig::DEFAULT);
        side.flush();
        side.sent.clear();
        side
    };
    side.feed(&unhex(&v.hex));
    match v.outcome.as_str() {
        "disconnect" => {
            assert_disconnect(id, &side.sent, FrameType::HAPROXY_DISCONNECT, v.status.unwrap());
            assert!(matches!(side.log[..], [ClientLog::Error(_)]), "{id}: {:?}", side.log);
            assert!(side.client.is_closed() && side.want() == Want::Close, "{id}");
        }
        "ignore" => {
            assert!(side.log.is_empty() && side.sent.is_empty(), "{id}: {:?}", side.log);
            assert_eq!((side.client.in_flight(), side.client.stats().ignored), (1, 1), "{id}");
            if let Some(status) = v.status {
                // Without pipelining the same frame is an error with the code that is only logged here.
                let mut sync = waiting_client(Capabilities::NONE);
                sync.feed(&unhex(&v.hex));
                assert_disconnect(id, &sync.sent, FrameType::HAPROXY_DISCONNECT, status);
            }
            side.feed(&unhex("0000000767000000010101"));
            assert!(matches!(side.log[..], [ClientLog::Ack { ids: (1, 1), .. }]), "{id}: goes on");
        }
        "accept" if waits => {
            let [ClientLog::Ack { ids: (1, 1), aborted: false, actions, error: Some(_) }] = &side.log[..] else {
                panic!("{id}: {:?}", side.log);
            };
            // The set-var before the bad action, if there is one.
            let before = if id == "h-ack-bad-scope" { "" } else { "010302026f6b0407" };
            assert_eq!(hex(actions), before, "{id}");
            assert!(side.sent.is_empty() && side.client.in_flight() == 0, "{id}");
        }
        "accept" => {
            assert!(matches!(side.log[..], [ClientLog::Hello(_)]), "{id}: {:?}", side.log);
            assert!(side.sent.is_empty(), "{id}");
        }
        other => panic!("{id}: outcome {other}"),
    }
}

/// One DISCONNECT was sent, with this status and HAProxy's text for it.
fn assert_disconnect(id: &str, sent: &[Vec<u8>], frame_type: FrameType, status: u32) {
    assert_eq!(sent.len(), 1, "{id}: frames sent");
    let frame = decode(&sent[0]);
    assert_eq!(frame.header.frame_type, frame_type, "{id}");
    let disconnect = Disconnect::parse(&frame).unwrap();
    assert_eq!(disconnect.status, Some(Status(status)), "{id}");
    assert_eq!(disconnect.message_str(), Some(Status(status).reason()), "{id}");
}
