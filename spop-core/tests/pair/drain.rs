//! A graceful stop: the open NOTIFYs get their ACKs, then DISCONNECT 0 follows.

use spop_core::{AckError, AgentConfig, ClientConfig, FrameType, Status, Want};

use crate::common::{AgentSide, ClientLog, Pair, decode, hello, raw_frame};

#[test]
fn the_disconnect_follows_the_last_ack() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    for n in 1..=3 {
        pair.client.notify((n, 1)).unwrap();
    }
    pair.exchange();
    pair.agent.close(Status::NORMAL);
    pair.agent.close(Status::NORMAL);
    assert!(pair.agent.sent.is_empty() && !pair.agent.agent.is_closed());
    assert_eq!(pair.agent.want(), Want::Pause, "nothing more is read");
    assert_eq!(pair.agent.agent.poll_timeout(), None);
    // What comes now is not taken.
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, (9, 1), b""));
    assert_eq!((pair.agent.agent.open(), pair.agent.input.len()), (3, 11));
    for (n, ticket) in pair.agent.tickets().into_iter().rev().enumerate() {
        assert!(!pair.agent.flush(), "before ACK {n}");
        pair.agent.ack(ticket).unwrap();
    }
    assert_eq!(pair.agent.want(), Want::Close);
    assert!(!pair.agent.agent.is_closed());
    assert!(pair.agent.flush());
    assert!(pair.agent.agent.is_closed());
    let types: Vec<_> = pair.agent.sent.iter().map(|f| decode(f).header.frame_type).collect();
    assert_eq!(types, [FrameType::ACK, FrameType::ACK, FrameType::ACK, FrameType::AGENT_DISCONNECT]);
    pair.exchange();
    let last = ClientLog::Disconnect { status: Some(Status::NORMAL), message: b"normal".to_vec() };
    assert_eq!((pair.client.log.len(), pair.client.log.last()), (4, Some(&last)));
    assert!(pair.client.client.is_closed());
}

#[test]
fn an_idle_connection_ends_at_once() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.close(Status::NORMAL);
    assert!(pair.agent.agent.is_closed());
    pair.exchange();
    assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(Status::NORMAL), .. }]));
}

/// Nothing was said yet, so there is nobody to say goodbye to.
#[test]
fn before_hello_it_closes_without_a_word() {
    let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    side.close(Status::NORMAL);
    assert!(side.agent.is_closed() && side.sent.is_empty() && side.want() == Want::Close);
    assert_eq!(side.agent.negotiated(), None);
    side.feed(&hello(false, 16380, spop_core::Capabilities::NONE));
    assert!(side.log.is_empty() && side.sent.is_empty() && side.input.is_empty());
}

/// The HELLO that waits goes out first.
#[test]
fn right_after_hello() {
    let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    side.agent.handle_input(&hello(false, 16380, spop_core::Capabilities::NONE), &mut []).unwrap();
    side.close(Status::NORMAL);
    let types: Vec<_> = side.sent.iter().map(|f| decode(f).header.frame_type).collect();
    assert_eq!(types, [FrameType::AGENT_HELLO, FrameType::AGENT_DISCONNECT]);
    assert!(side.agent.is_closed());
}

/// The empty ACK of a dropped NOTIFY goes out first too.
#[test]
fn with_an_empty_ack_waiting() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0, (1, 1), b"too big"));
    pair.agent.agent.handle_input(&raw_frame(FrameType::UNSET, 1, (1, 1), &[0; 100]), &mut [0; 8]).unwrap();
    pair.agent.close(Status::NORMAL);
    let types: Vec<_> = pair.agent.sent.iter().map(|f| decode(f).header.frame_type).collect();
    assert_eq!(types, [FrameType::ACK, FrameType::AGENT_DISCONNECT]);
}

/// An error status does not wait; it ends a drain as well.
#[test]
fn another_status_makes_the_open_ones_void() {
    for drain_first in [false, true] {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.client.notify((1, 1)).unwrap();
        pair.exchange();
        if drain_first {
            pair.agent.close(Status::NORMAL);
        }
        pair.agent.close(Status::RESOURCES);
        assert_eq!(pair.agent.sent.len(), 1);
        assert_eq!(pair.agent.agent.open(), 0);
        let ticket = pair.agent.tickets()[0];
        assert_eq!(pair.agent.ack(ticket), Err(AckError::NotOpen));
        pair.agent.close(Status::NORMAL);
        pair.exchange();
        assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(Status::RESOURCES), .. }]));
    }
}

/// A NOTIFY that is half received when the drain begins is dropped.
#[test]
fn a_half_received_notify_is_left() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0, (1, 1), b"\x01"));
    pair.agent.feed(&[0, 0]);
    pair.agent.close(Status::NORMAL);
    assert!(pair.agent.agent.is_closed());
    assert_eq!(pair.agent.sent.len(), 1);
}
