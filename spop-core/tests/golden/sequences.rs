//! Runs of several frames at an agent.

use serde::Deserialize;
use spop_core::{AgentConfig, Disconnect, FrameType, Status};

use super::{MAX_FRAME_SIZE, assert_all, capabilities, load, running_agent};
use crate::common::{AgentLog, AgentSide, decode, hex, unhex};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    id: String,
    receiver: String,
    agent_capabilities: Vec<String>,
    steps: Vec<Step>,
    #[serde(rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    rx: String,
    expect: String,
    payload: Option<String>,
    stream_id: Option<String>,
    frame_id: Option<String>,
    status: Option<u32>,
    count: Option<usize>,
    reply: Option<String>,
}

#[test]
fn sequences() {
    let sequences: Vec<Sequence> = load("sequences.json");
    let mut steps = 0;
    for sequence in &sequences {
        assert_eq!(sequence.receiver, "agent", "{}", sequence.id);
        let names: Vec<&str> = sequence.agent_capabilities.iter().map(String::as_str).collect();
        // A sequence that begins with a HELLO brings its own handshake.
        let mut side = if sequence.steps[0].expect.starts_with("hello") {
            AgentSide::new(AgentConfig::DEFAULT.with_capabilities(capabilities(&names)))
        } else {
            running_agent(MAX_FRAME_SIZE, capabilities(&names))
        };
        for (at, step) in sequence.steps.iter().enumerate() {
            take(&mut side, step, &format!("{} step {at}", sequence.id));
            steps += 1;
        }
    }
    assert_all(sequences.iter().map(|s| &s.id), 10);
    assert_eq!(steps, 21, "the number of steps");
    println!("vectors: sequences {}, {steps} steps", sequences.len());
}

fn take(side: &mut AgentSide, step: &Step, at: &str) {
    side.feed(&unhex(&step.rx));
    let log = side.take_log();
    let sent = side.take_sent();
    match step.expect.as_str() {
        "pending" => assert!(log.is_empty() && sent.is_empty(), "{at}: {log:?}"),
        "notify" => {
            assert_eq!(log.len(), step.count.unwrap_or(1), "{at}: {log:?}");
            assert!(sent.is_empty(), "{at}");
            for entry in &log {
                let AgentLog::Notify { ids, payload, .. } = entry else { panic!("{at}: {entry:?}") };
                if let Some(expected) = &step.payload {
                    assert_eq!(&hex(payload), expected, "{at}");
                    let expected =
                        [&step.stream_id, &step.frame_id].map(|id| id.as_ref().unwrap().parse::<u64>().unwrap());
                    assert_eq!([ids.0, ids.1], expected, "{at}");
                }
            }
            assert_eq!(step.payload.is_none(), step.count.is_some(), "{at}: nothing to compare");
        }
        "aborted" => {
            assert!(matches!(log[..], [AgentLog::Aborted((3, 1))]), "{at}: {log:?}");
            assert!(sent.is_empty(), "{at}: no ACK for an aborted NOTIFY");
        }
        "disconnect" => {
            assert_eq!((log.len(), sent.len()), (1, 1), "{at}: {log:?}");
            let frame = decode(&sent[0]);
            assert_eq!(frame.header.frame_type, FrameType::AGENT_DISCONNECT, "{at}");
            assert_eq!(Disconnect::parse(&frame).unwrap().status, step.status.map(Status), "{at}");
            assert!(side.agent.is_closed(), "{at}");
        }
        "closed" => assert!(log.is_empty() && sent.is_empty() && side.agent.is_closed(), "{at}: {log:?}"),
        "hello-healthcheck" => {
            let [AgentLog::Hello { negotiated, engine_id: None }] = &log[..] else { panic!("{at}: {log:?}") };
            assert!(negotiated.healthcheck, "{at}");
            assert_eq!(sent.len(), 1, "{at}: the HELLO and nothing else");
            assert_eq!(Some(&hex(&sent[0])), step.reply.as_ref(), "{at}");
            assert!(side.agent.is_closed(), "{at}");
        }
        other => panic!("{at}: expect {other}"),
    }
}
