//! The vectors of `tests/vectors`, all of them: each test counts what it ran against the number that the file must
//! have, and an unknown key in a file is an error.

mod captured;
mod convert;
mod frames_invalid;
mod frames_valid;
mod grammar;
mod reference;
mod scalars;
mod sequences;

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use spop_core::{AgentConfig, Capabilities, ClientConfig};

use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide};

/// The max-frame-size that the vectors assume on both sides.
const MAX_FRAME_SIZE: u32 = 16380;

/// Reads a file; unknown keys are an error where `T` denies them.
fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Are there as many vectors as there must be, each with its own id?
fn assert_all<'a>(ids: impl Iterator<Item = &'a String>, expected: usize) {
    let mut seen = HashSet::new();
    for id in ids {
        assert!(seen.insert(id), "{id} comes twice");
    }
    assert_eq!(seen.len(), expected, "the number of vectors");
}

fn capabilities(names: &[&str]) -> Capabilities {
    Capabilities::parse(names.join(",").as_bytes())
}

/// An agent of the given size and capabilities after a handshake with a HAProxy that has pipelining.
fn running_agent(max_frame_size: u32, capabilities: Capabilities) -> AgentSide {
    let mut side =
        AgentSide::new(AgentConfig::DEFAULT.with_max_frame_size(max_frame_size).with_capabilities(capabilities));
    let mut haproxy: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
    haproxy.flush();
    side.feed(&haproxy.sent.concat());
    assert!(matches!(side.take_log()[..], [AgentLog::Hello { .. }]));
    assert_eq!(side.take_sent().len(), 1);
    side
}

/// A client after a handshake, with NOTIFY 1/1 in flight.
fn waiting_client(capabilities: Capabilities) -> ClientSide {
    let mut side = ClientSide::new(ClientConfig::DEFAULT.with_capabilities(capabilities));
    side.flush();
    let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    agent.feed(&side.sent.concat());
    side.feed(&agent.take_sent().concat());
    assert!(matches!(side.take_log()[..], [ClientLog::Hello(_)]));
    side.notify((1, 1)).unwrap();
    side.sent.clear();
    side
}
