//! Frames that are passed over, and the counters that tell of it.

use spop_core::{AgentConfig, AgentStats, ClientConfig, ClientStats, FrameType};

use super::notified;
use crate::common::{ClientLog, Pair, raw_frame};

/// All types but the seven known ones.
fn unknown_types() -> impl Iterator<Item = FrameType> {
    (0..=255).map(FrameType).filter(|t| t.name().is_none())
}

#[test]
fn unknown_types_are_passed_over_on_both_sides() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    assert_eq!(unknown_types().count(), 256 - 7);
    for frame_type in unknown_types() {
        for (flags, ids) in [(1, (0, 0)), (0, (1, 1)), (3, (u64::MAX, u64::MAX)), (u32::MAX, (1, 0))] {
            let frame = raw_frame(frame_type, flags, ids, b"\xFF any payload");
            pair.agent.feed(&frame);
            pair.client.feed(&frame);
        }
    }
    assert!(pair.agent.log.is_empty() && pair.client.log.is_empty());
    assert!(pair.agent.sent.is_empty() && pair.client.sent.is_empty());
    let (mut agent, mut client) = (AgentStats::default(), ClientStats::default());
    agent.ignored = 4 * 249;
    client.ignored = 4 * 249;
    assert_eq!((pair.agent.agent.stats(), pair.client.client.stats()), (&agent, &client));
    pair.client.notify((1, 1)).unwrap();
    pair.exchange();
    assert_eq!(notified(&pair.agent.log), [(1, 1)]);
}

/// Reserved flags of known frames mean nothing.
#[test]
fn reserved_flags() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0xFFFF_FFFD, (1, 1), b""));
    assert_eq!(notified(&pair.agent.log), [(1, 1)]);
    pair.client.notify((1, 1)).unwrap();
    pair.client.feed(&raw_frame(FrameType::ACK, 0xFFFF_FFFD, (1, 1), b""));
    assert!(matches!(pair.client.log[..], [ClientLog::Ack { aborted: false, .. }]));
}

/// ACKs that answer nothing, with pipelining: late, doubled, with ids that were never used.
#[test]
fn acks_of_nothing() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.client.notify((1, 1)).unwrap();
    pair.client.notify((3, 1)).unwrap();
    for (n, ids) in [(1, 1), (1, 1), (0, 0), (3, 2), (4, 1), (u64::MAX, 1)].into_iter().enumerate() {
        pair.client.feed(&raw_frame(FrameType::ACK, 1, ids, b""));
        assert_eq!(pair.client.client.stats().ignored, n as u64);
    }
    // The ids are compared whole, not by their low 32 bits.
    pair.client.feed(&raw_frame(FrameType::ACK, 1, (3 + (1 << 32), 1), b""));
    assert_eq!((pair.client.log.len(), pair.client.client.in_flight()), (1, 1));
    let stats = pair.client.client.stats();
    assert_eq!((stats.notifies, stats.acks, stats.voided, stats.ignored), (2, 1, 0, 6));
}

/// Every counter of the agent, each moved by its own cause.
#[test]
fn the_agents_counters() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    let side = &mut pair.agent;
    side.reassembly = vec![0; 4];
    let mut expected = AgentStats::default();
    let mut step = |frames: &[Vec<u8>], count: fn(&mut AgentStats)| {
        side.feed(&frames.concat());
        count(&mut expected);
        assert_eq!(*side.agent.stats(), expected);
    };
    let notify = |flags, payload: &[u8]| raw_frame(FrameType::NOTIFY, flags, (1, 1), payload);
    let unset = |flags, payload: &[u8]| raw_frame(FrameType::UNSET, flags, (1, 1), payload);
    step(&[notify(1, b"")], |s| s.notifies += 1);
    step(&[notify(1, b"")], |s| {
        s.notifies += 1;
        s.superseded += 1;
    });
    step(&[notify(3, b"")], |s| s.cancelled += 1);
    step(&[raw_frame(FrameType(200), 1, (1, 1), b"")], |s| s.ignored += 1);
    step(&[notify(0, b""), unset(3, b"")], |s| {
        s.fragments += 2;
        s.aborted += 1;
    });
    step(&[notify(0, b"\x01m"), unset(0, b""), unset(1, b"\x00")], |s| {
        s.fragments += 3;
        s.notifies += 1;
        s.superseded += 1;
    });
    let ticket = side_ticket(&pair.agent.tickets());
    pair.agent.ack(ticket).unwrap();
    expected.acks = 1;
    assert_eq!(*pair.agent.agent.stats(), expected);
    pair.agent.feed(&[notify(0, b"more than four"), unset(1, b"")].concat());
    expected.fragments += 2;
    expected.too_big = 1;
    assert_eq!(*pair.agent.agent.stats(), expected);
}

fn side_ticket(tickets: &[spop_core::Ticket]) -> spop_core::Ticket {
    tickets[tickets.len() - 1]
}
