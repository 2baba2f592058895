//! A NOTIFY that a later one makes void.

use spop_core::{AckError, AgentConfig, Capabilities, ClientConfig, FrameId, FrameType, Scope, StreamId, Value};

use super::{agent_with, client_with, notified};
use crate::common::{AgentLog, ClientLog, Pair, raw_frame};

/// HAProxy 2.6 and 3.0: the processing timeout ran out, and the stream's next event has the same ids.
#[test]
fn the_same_ids_again() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    for _ in 0..3 {
        pair.client.notify((4, 1)).unwrap();
        pair.client.notify((6, 1)).unwrap();
        pair.exchange();
        assert!(pair.client.client.forget(StreamId(4), FrameId(1)));
        let newest = pair.agent.tickets()[pair.agent.tickets().len() - 1];
        pair.agent.ack(newest).unwrap();
        pair.exchange();
    }
    let tickets = pair.agent.tickets();
    assert_eq!(notified(&pair.agent.log), [(4, 1), (6, 1)].repeat(3));
    assert_eq!((pair.agent.agent.stats().superseded, pair.agent.agent.open()), (2, 1));
    // The older answers do not go out; the newest does, once.
    pair.client.notify((4, 1)).unwrap();
    pair.exchange();
    for old in [0, 2, 4] {
        assert_eq!(pair.agent.ack(tickets[old]), Err(AckError::NotOpen));
        assert_eq!(pair.agent.agent.release(tickets[old]), None);
    }
    let newest = pair.agent.tickets()[6];
    pair.agent.ack_with(newest, |ack| ack.set_var(Scope::Session, b"n", Value::Int64(4)).unwrap()).unwrap();
    pair.exchange();
    let Some(ClientLog::Ack { ids: (4, 1), actions, .. }) = pair.client.log.last() else { panic!() };
    assert_eq!(actions, b"\x01\x03\x01\x01n\x04\x04");
    assert_eq!((pair.agent.agent.stats().superseded, pair.client.client.stats().ignored), (3, 0));
}

/// Without pipelining any later NOTIFY tells that HAProxy gave up on the earlier one.
#[test]
fn any_ids_without_pipelining() {
    for set in [Capabilities::NONE, Capabilities::FRAGMENTATION] {
        let mut pair: Pair = Pair::running(agent_with(set), client_with(Capabilities::NONE));
        for n in 1..=3 {
            pair.client.notify((n, 1)).unwrap();
            pair.exchange();
            assert!(pair.client.client.forget(StreamId(n), FrameId(1)));
        }
        let tickets = pair.agent.tickets();
        assert_eq!((pair.agent.agent.open(), pair.agent.agent.stats().superseded), (1, 2));
        assert_eq!(pair.agent.ack(tickets[0]), Err(AckError::NotOpen));
        assert_eq!(pair.agent.ack(tickets[1]), Err(AckError::NotOpen));
        pair.agent.ack(tickets[2]).unwrap();
    }
    // With either capability they are all open.
    for set in [Capabilities::PIPELINING, Capabilities::ASYNC] {
        let mut pair: Pair = Pair::running(agent_with(set), client_with(set));
        for n in 1..=3 {
            pair.client.notify((n, 1)).unwrap();
        }
        pair.exchange();
        assert_eq!((pair.agent.agent.open(), pair.agent.agent.stats().superseded), (3, 0));
    }
}

#[test]
fn a_fragmented_one_supersedes_when_it_is_whole() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, (4, 1), b""));
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0, (4, 1), b"\x01m"));
    assert_eq!(pair.agent.agent.open(), 1);
    pair.agent.feed(&raw_frame(FrameType::UNSET, 1, (4, 1), b"\x00"));
    let tickets = pair.agent.tickets();
    assert_eq!(pair.agent.agent.stats().superseded, 1);
    assert_eq!(pair.agent.ack(tickets[0]), Err(AckError::NotOpen));
    pair.agent.ack(tickets[1]).unwrap();
}

/// The empty ACK of a dropped NOTIFY is the only one with its ids: an older NOTIFY of the same ids must not add one.
#[test]
fn one_beyond_the_bounds_supersedes_too() {
    for (set, ids) in [(Capabilities::PIPELINING, (4, 1)), (Capabilities::NONE, (2, 1))] {
        let mut pair: Pair = Pair::running(agent_with(set | Capabilities::FRAGMENTATION), client_with(set));
        pair.agent.reassembly = vec![0; 2];
        pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, ids, b""));
        pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0, (4, 1), b"\x01m\x00"));
        pair.agent.feed(&raw_frame(FrameType::UNSET, 1, (4, 1), b""));
        let ticket = pair.agent.tickets()[0];
        assert_eq!(pair.agent.log[1..], [AgentLog::TooBig((4, 1))]);
        assert_eq!(pair.agent.sent, [raw_frame(FrameType::ACK, 1, (4, 1), b"")]);
        assert_eq!(pair.agent.ack(ticket), Err(AckError::NotOpen), "{set:?}");
        assert_eq!((pair.agent.agent.stats().superseded, pair.agent.agent.open()), (1, 0));
    }
}

/// FIN and ABORT at once: nobody waits.
#[test]
fn a_cancelled_one_has_no_answer() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 3, (4, 1), b"\x01m\x00"));
    assert!(pair.agent.log.is_empty() && pair.agent.sent.is_empty());
    assert_eq!((pair.agent.agent.stats().cancelled, pair.agent.agent.stats().notifies), (1, 0));
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, (4, 1), b"\x01m\x00"));
    assert_eq!(notified(&pair.agent.log), [(4, 1)]);
}
