//! The golden vectors of spop-core for an agent, against the running programs.

use serde_json::Value as Json;
use tokio::io::AsyncReadExt;

use crate::agent::{BOTH, LiveAgent};
use crate::case::{Case, Outcome, Start, ignored, refused, run_all};
use crate::common::patiently;
use crate::golden::{unhex, vectors};
use crate::raw::{Raw, Reply};
use crate::wire::{hello_keys, hello_with, kv};

fn text<'v>(vector: &'v Json, name: &str) -> &'v str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name}: {vector}"))
}

fn number(vector: &Json, name: &str) -> Option<u32> {
    vector[name].as_u64().map(|n| n.try_into().unwrap())
}

/// The vectors of `frames_invalid.json` for these states.
fn frames(states: &[&str]) -> Vec<Case> {
    let all = vectors("frames_invalid.json").into_iter();
    let chosen = all.filter(|v| v["receiver"] == "agent" && states.contains(&text(v, "state")));
    chosen.map(|v| case(&v)).collect()
}

fn case(vector: &Json) -> Case {
    let (id, bytes) = (text(vector, "id"), unhex(text(vector, "hex")));
    let outcome = match text(vector, "outcome") {
        "incomplete" => Outcome::Waits(vec![]),
        "ignore" => ignored(),
        "disconnect" => refused(number(vector, "status").unwrap()),
        other => panic!("{id}: outcome {other}"),
    };
    let start = if vector["state"] == "await-hello" { Start::Connected } else { Start::AfterHello };
    let Some(size) = number(vector, "max_frame_size") else { return Case::new(start, id, bytes, outcome) };
    let Outcome::Refused(_, status) = outcome else { panic!("{id}: {outcome:?}") };
    let mut keys = hello_keys();
    keys[1] = kv("max-frame-size", spop_core::Value::UInt32(size));
    let agreed = Reply::Hello(size, "pipelining".to_owned());
    Case::new(Start::Connected, id, [hello_with(&keys), bytes].concat(), Outcome::Refused(vec![agreed], status))
}

#[tokio::test]
async fn frames_of_an_agent_that_takes_no_fragments() {
    let cases = frames(&["await-hello", "running"]);
    assert_eq!(cases.len(), 60, "vectors");
    run_all(&["--max-reassembly", "0"], &cases).await;
}

#[tokio::test]
async fn frames_of_an_agent_that_takes_fragments() {
    let cases = frames(&["await-hello", "running+fragmentation"]);
    assert_eq!(cases.len(), 41, "vectors");
    run_all(&[], &cases).await;
}

#[tokio::test]
async fn sequences() {
    let sequences = vectors("sequences.json");
    assert_eq!(sequences.len(), 10, "vectors");
    for program in BOTH {
        let mut agent = LiveAgent::start(program, &["--max-frame-size", "16380"]).await;
        for sequence in &sequences {
            let id = text(sequence, "id");
            let steps = sequence["steps"].as_array().unwrap();
            if steps[0]["expect"] == "hello-healthcheck" {
                health_check(&agent, &steps[0]).await;
            } else {
                let mut raw = Raw::running(&agent.addr).await;
                for (at, step) in steps.iter().enumerate() {
                    take(&mut raw, step, &format!("{program:?}: {id}, step {at}")).await;
                }
            }
            agent.serves(id).await;
        }
        agent.stop().await;
    }
}

async fn take(raw: &mut Raw, step: &Json, at: &str) {
    raw.send(&unhex(text(step, "rx"))).await;
    match text(step, "expect") {
        // That nothing came shows in the next step, whose replies are all there are.
        "pending" | "aborted" => {}
        "notify" => {
            let id = |name: &str| text(step, name).parse().unwrap();
            let expected = match number(step, "count") {
                None => vec![Reply::Ack(id("stream_id"), id("frame_id"))],
                // Of stream 1 and 3, as it says.
                Some(2) => vec![Reply::Ack(1, 1), Reply::Ack(3, 1)],
                other => panic!("{at}: {other:?}"),
            };
            for expected in expected {
                assert_eq!(raw.reply().await, expected, "{at}");
            }
        }
        "disconnect" => {
            let expected = [Reply::Disconnect(number(step, "status").unwrap()), Reply::End];
            assert_eq!(raw.replies().await, expected, "{at}");
        }
        "closed" => assert_eq!(raw.reply().await, Reply::End, "{at}"),
        other => panic!("{at}: expect {other}"),
    }
}

async fn health_check(agent: &LiveAgent, step: &Json) {
    let mut raw = Raw::connect(&agent.addr).await;
    raw.send(&unhex(text(step, "rx"))).await;
    let mut reply = Vec::new();
    patiently("the end", raw.stream.read_to_end(&mut reply)).await.unwrap();
    assert_eq!(reply, unhex(text(step, "reply")), "{:?}", agent.program);
}
