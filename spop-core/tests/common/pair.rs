//! An [`AgentSide`] and a [`ClientSide`] joined by two pipes.

use spop_core::{AgentConfig, ClientConfig};

use super::{AgentSide, ClientLog, ClientSide};

pub struct Pair<const A: usize = 128, const C: usize = 128> {
    pub agent: AgentSide<A>,
    pub client: ClientSide<C>,
}

impl<const A: usize, const C: usize> Pair<A, C> {
    /// Before the first byte.
    pub fn new(agent: AgentConfig, client: ClientConfig) -> Self {
        Pair { agent: AgentSide::new(agent), client: ClientSide::new(client) }
    }

    /// After the handshake, the logs empty.
    pub fn running(agent: AgentConfig, client: ClientConfig) -> Self {
        let mut pair = Self::new(agent, client);
        pair.exchange();
        assert!(matches!(pair.client.take_log()[..], [ClientLog::Hello(_)]), "handshake");
        pair.agent.log.clear();
        pair
    }

    /// Carries all that was sent until nothing more is. What the agent does not read yet waits in its input.
    pub fn exchange(&mut self) {
        for _ in 0..10_000 {
            self.client.run();
            let to_agent = std::mem::take(&mut self.client.sent).concat();
            self.agent.feed(&to_agent);
            let to_client = std::mem::take(&mut self.agent.sent).concat();
            self.client.feed(&to_client);
            if to_agent.is_empty() && to_client.is_empty() && self.client.sent.is_empty() {
                return;
            }
        }
        panic!("the two sides go on for ever");
    }
}
