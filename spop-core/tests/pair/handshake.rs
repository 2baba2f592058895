//! Handshakes that succeed: what is agreed on.

use spop_core::{AgentConfig, Capabilities, ClientConfig, EngineId, FrameType, Want};

use super::{agent_with, all_sets, client_with};
use crate::common::{AgentLog, ClientLog, Pair, decode};

#[test]
fn every_pair_of_capabilities() {
    for ours in all_sets() {
        for theirs in all_sets() {
            let mut pair: Pair = Pair::new(agent_with(ours), client_with(theirs));
            assert_eq!((pair.agent.agent.negotiated(), pair.client.client.negotiated()), (None, None));
            pair.exchange();
            // Fragments go one way: the agent's word is enough.
            let agreed = ours.intersection(theirs | Capabilities::FRAGMENTATION);
            let [AgentLog::Hello { negotiated, engine_id: None }] = pair.agent.log[..] else {
                panic!("{:?}", pair.agent.log);
            };
            assert_eq!(negotiated.capabilities, agreed, "{ours:?} {theirs:?}");
            assert!(!negotiated.healthcheck);
            assert_eq!(pair.client.log, [ClientLog::Hello(negotiated)]);
            assert_eq!(pair.agent.agent.negotiated(), Some(negotiated));
            assert_eq!(pair.client.client.negotiated(), Some(negotiated));
            pair.client.notify((1, 1)).unwrap();
            pair.exchange();
            let ticket = pair.agent.tickets()[0];
            pair.agent.ack(ticket).unwrap();
            pair.exchange();
            assert!(matches!(pair.client.log[1..], [ClientLog::Ack { ids: (1, 1), .. }]));
        }
    }
}

#[test]
fn the_smaller_size_counts() {
    let sizes = [256, 257, 1000, 16380, 16381, 65_535, 1 << 20, u32::MAX];
    for ours in sizes {
        for theirs in sizes {
            let mut pair: Pair = Pair::new(
                AgentConfig::DEFAULT.with_max_frame_size(ours),
                ClientConfig::DEFAULT.with_max_frame_size(theirs),
            );
            pair.exchange();
            let agreed = pair.client.client.negotiated().map(|n| n.max_frame_size);
            assert_eq!(agreed, Some(ours.min(theirs)));
            assert_eq!(agreed, pair.agent.agent.negotiated().map(|n| n.max_frame_size));
        }
    }
    // A size below the smallest legal one is read as 256.
    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT.with_max_frame_size(100), ClientConfig::DEFAULT);
    pair.exchange();
    assert_eq!(pair.client.client.negotiated().map(|n| n.max_frame_size), Some(256));
}

#[test]
fn the_engine_id_arrives() {
    assert_eq!(EngineId::new([b'x'; 65]), None);
    for len in [0, 1, 36, 64] {
        let id = vec![b'e'; len];
        let engine_id = EngineId::new(&id);
        assert_eq!(engine_id.unwrap().as_bytes(), id);
        let capabilities = super::ALL.into_iter().fold(Capabilities::NONE, Capabilities::union);
        let config = ClientConfig::DEFAULT
            .with_engine_id(engine_id)
            .with_capabilities(capabilities)
            .with_max_frame_size(u32::MAX);
        let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, config);
        pair.exchange();
        let [AgentLog::Hello { engine_id, .. }] = &pair.agent.log[..] else { panic!("{:?}", pair.agent.log) };
        assert_eq!(engine_id.as_ref(), Some(&id));
    }
}

#[test]
fn a_health_check_is_one_frame_each_way() {
    for capabilities in all_sets() {
        let engine_id = EngineId::new(b"not sent");
        let config =
            ClientConfig::DEFAULT.with_healthcheck(true).with_capabilities(capabilities).with_engine_id(engine_id);
        let mut pair: Pair = Pair::new(agent_with(capabilities), config);
        pair.client.flush();
        assert_eq!(pair.client.sent.concat().len(), 82, "the length of HAProxy's own");
        let check = std::mem::take(&mut pair.client.sent).concat();
        pair.agent.feed(&check);
        let [AgentLog::Hello { negotiated, engine_id: None }] = pair.agent.log[..] else {
            panic!("{:?}", pair.agent.log);
        };
        assert!(negotiated.healthcheck);
        assert_eq!(negotiated.capabilities, Capabilities::NONE);
        assert_eq!(pair.agent.sent.len(), 1);
        assert_eq!(decode(&pair.agent.sent[0]).header.frame_type, FrameType::AGENT_HELLO);
        assert!(pair.agent.agent.is_closed() && pair.agent.want() == Want::Close);
        pair.exchange();
        assert_eq!(pair.client.log, [ClientLog::Hello(negotiated)]);
        assert!(pair.client.client.is_closed() && pair.client.want() == Want::Close);
        assert!(pair.client.notify((1, 1)).is_err());
    }
}

/// A stop while the answer to a health check waits must not add a DISCONNECT to it.
#[test]
fn a_health_check_stays_one_frame_when_the_agent_stops() {
    let config = ClientConfig::DEFAULT.with_healthcheck(true);
    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, config);
    pair.client.flush();
    let check = std::mem::take(&mut pair.client.sent).concat();
    pair.agent.agent.handle_input(&check, &mut []).unwrap();
    pair.agent.agent.close(spop_core::Status::NORMAL);
    pair.agent.run();
    assert_eq!(pair.agent.sent.len(), 1);
    assert_eq!(decode(&pair.agent.sent[0]).header.frame_type, FrameType::AGENT_HELLO);
    assert!(pair.agent.agent.is_closed());
}
