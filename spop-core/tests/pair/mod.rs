//! The two sides against each other, joined in memory.

mod drain;
mod ending;
mod fragments;
mod handshake;
mod pipelining;
mod refusal;
mod superseded;
mod timeouts;
mod unknown;
mod want;

use spop_core::{AgentConfig, Capabilities, ClientConfig};

use crate::common::{AgentLog, Ids};

const ALL: [Capabilities; 3] = [Capabilities::PIPELINING, Capabilities::ASYNC, Capabilities::FRAGMENTATION];

/// The eight sets of capabilities.
fn all_sets() -> impl Iterator<Item = Capabilities> {
    (0..8).map(|bits| (0..3).filter(|i| bits >> i & 1 == 1).fold(Capabilities::NONE, |set, i| set | ALL[i]))
}

fn agent_with(capabilities: Capabilities) -> AgentConfig {
    AgentConfig::DEFAULT.with_capabilities(capabilities)
}

fn client_with(capabilities: Capabilities) -> ClientConfig {
    ClientConfig::DEFAULT.with_capabilities(capabilities)
}

/// The ids of the NOTIFYs in a log that must hold nothing else.
fn notified(log: &[AgentLog]) -> Vec<Ids> {
    let ids = |entry: &AgentLog| match entry {
        AgentLog::Notify { ids, .. } => *ids,
        other => panic!("not a NOTIFY: {other:?}"),
    };
    log.iter().map(ids).collect()
}
