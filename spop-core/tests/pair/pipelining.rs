//! Several NOTIFYs in flight: backpressure, ACKs in any order, the limits of both tables.

use spop_core::{AckError, AgentConfig, Capabilities, ClientConfig, EncodeError, NotifyError, Scope, Value, Want};

use super::{agent_with, client_with, notified};
use crate::common::{AgentLog, ClientLog, Ids, Pair};

#[test]
fn a_thousand_notifies_and_acks_out_of_order() {
    const OPEN: usize = 16;
    let mut pair: Pair<OPEN, 1000> = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    let ids = |n: u64| (n * 3 % 1009, n % 7);
    for n in 0..1000 {
        pair.client.notify(ids(n)).unwrap();
    }
    assert_eq!(pair.client.notify((5000, 1)), Err(NotifyError::TooManyInFlight));
    let mut acked: Vec<Ids> = Vec::new();
    let mut seen: Vec<Ids> = Vec::new();
    for round in 0.. {
        pair.exchange();
        let mut open: Vec<_> = pair
            .agent
            .take_log()
            .into_iter()
            .map(|entry| match entry {
                AgentLog::Notify { ticket, ids, .. } => (ticket, ids),
                other => panic!("{other:?}"),
            })
            .collect();
        if open.is_empty() {
            break;
        }
        seen.extend(open.iter().map(|(_, ids)| *ids));
        assert_eq!(pair.agent.agent.open(), open.len());
        if seen.len() < 1000 {
            assert_eq!(open.len(), OPEN, "the table is full");
            assert_eq!(pair.agent.want(), Want::Pause);
            assert!(!pair.agent.input.is_empty(), "the rest waits");
        }
        let by = round % open.len();
        open.rotate_left(by);
        if round % 2 == 1 {
            open.reverse();
        }
        for (ticket, ids) in open {
            let value = Value::Int64(ids.0 as i64);
            pair.agent.ack_with(ticket, |ack| ack.set_var(Scope::Session, b"v", value).unwrap()).unwrap();
            assert_eq!(pair.agent.ack(ticket), Err(AckError::NotOpen), "only once");
            acked.push(ids);
        }
        assert!(matches!(pair.agent.want(), Want::Read(_)));
    }
    assert_eq!(seen, (0..1000).map(ids).collect::<Vec<_>>());
    assert_ne!(acked, seen, "in another order");
    let answered: Vec<Ids> = pair
        .client
        .log
        .iter()
        .map(|entry| match entry {
            ClientLog::Ack { ids, aborted: false, actions, error: None } => {
                let mut expected = Vec::new();
                let value = Value::Int64(ids.0 as i64);
                crate::common::walk::append(&mut expected, |w| w.set_var(Scope::Session, b"v", value));
                assert_eq!(actions, &expected);
                *ids
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answered, acked);
    assert_eq!(pair.client.client.in_flight(), 0);
    let (agent, client) = (*pair.agent.agent.stats(), *pair.client.client.stats());
    assert_eq!((agent.notifies, agent.acks, agent.superseded, agent.ignored), (1000, 1000, 0, 0));
    assert_eq!((client.notifies, client.acks, client.ignored), (1000, 1000, 0));
}

/// One answer makes room for one NOTIFY.
#[test]
fn each_ack_lets_one_notify_in() {
    let mut pair: Pair<2> = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    for n in 1..=5 {
        pair.client.notify((n, 1)).unwrap();
    }
    pair.exchange();
    for n in 3..=5 {
        let open = pair.agent.tickets();
        assert_eq!(open.len(), n - 1);
        assert_eq!((pair.agent.agent.open(), pair.agent.want()), (2, Want::Pause));
        pair.agent.ack(open[n - 3]).unwrap();
        pair.exchange();
    }
    assert_eq!(notified(&pair.agent.log), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
}

#[test]
fn the_client_keeps_to_what_was_agreed() {
    let mut pair: Pair<128, 4> = Pair::running(agent_with(Capabilities::PIPELINING), ClientConfig::DEFAULT);
    for n in 0..4 {
        pair.client.notify((n, 1)).unwrap();
        assert_eq!(
            pair.client.notify((n, 1)),
            Err(if n < 3 { NotifyError::IdsInUse } else { NotifyError::TooManyInFlight })
        );
    }
    pair.client.notify((9, 1)).unwrap_err();
    assert!(pair.client.client.forget(spop_core::StreamId(2), spop_core::FrameId(1)));
    assert!(!pair.client.client.forget(spop_core::StreamId(2), spop_core::FrameId(1)));
    pair.client.notify((9, 1)).unwrap();

    for (ours, theirs) in [
        (Capabilities::NONE, Capabilities::PIPELINING),
        (Capabilities::PIPELINING, Capabilities::NONE),
        (Capabilities::PIPELINING, Capabilities::ASYNC),
        (Capabilities::FRAGMENTATION, Capabilities::FRAGMENTATION),
    ] {
        let mut sync: Pair = Pair::running(agent_with(ours), client_with(theirs));
        sync.client.notify((1, 1)).unwrap();
        assert_eq!(sync.client.notify((2, 1)), Err(NotifyError::TooManyInFlight));
        sync.agent.answers = true;
        sync.exchange();
        sync.client.notify((2, 1)).unwrap();
        sync.exchange();
        assert_eq!(sync.client.client.stats().acks, 2);
    }
}

#[test]
fn no_notify_before_hello_or_after_the_end() {
    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    assert_eq!(pair.client.notify((1, 1)), Err(NotifyError::NotRunning));
    pair.exchange();
    assert_eq!(
        pair.client.client.notify(&mut [0; 10], spop_core::StreamId(1), spop_core::FrameId(1)).err(),
        Some(NotifyError::NoSpace)
    );
    assert_eq!(pair.client.client.in_flight(), 0, "what had no room is not in flight");
    pair.client.notify((1, 1)).unwrap();
    assert_eq!(pair.client.client.handle_eof(), 1);
    assert_eq!(pair.client.notify((1, 1)), Err(NotifyError::NotRunning));
}

/// Both encoders keep to the negotiated size, and what fills it exactly is accepted by the other side.
#[test]
fn frames_of_exactly_the_negotiated_size() {
    let client = ClientConfig::DEFAULT.with_max_frame_size(300);
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, client);
    // Header 7, message 3, key 2, type 1, length 2.
    let longest = vec![b'x'; 300 - 7 - 3 - 2 - 1 - 2];
    let fill = |notify: &mut spop_core::NotifyEncoder<'_>| {
        notify.message(b"m").unwrap();
        let longer = [&longest[..], b"x"].concat();
        assert_eq!(notify.arg(b"k", Value::Binary(&longer)), Err(EncodeError::NoSpace));
        notify.arg(b"k", Value::Binary(&longest)).unwrap();
        assert_eq!(notify.room(), 0);
    };
    pair.client.notify_with((1, 1), fill).unwrap();
    assert_eq!(pair.client.sent[0].len(), 304);
    pair.exchange();
    let ticket = pair.agent.tickets()[0];
    // Header 7, action 3, name 2, type 1, length 2.
    let fill = |ack: &mut spop_core::AckEncoder<'_>| {
        let longer = [&longest[..], b"xx"].concat();
        assert_eq!(ack.set_var(Scope::Request, b"k", Value::Binary(&longer)), Err(EncodeError::NoSpace));
        ack.set_var(Scope::Request, b"k", Value::Binary(&longest)).unwrap();
        assert_eq!(ack.room(), 0);
    };
    pair.agent.ack_with(ticket, fill).unwrap();
    pair.exchange();
    assert!(matches!(pair.client.log[..], [ClientLog::Ack { error: None, .. }]));
}

/// `async`: a NOTIFY of one connection is answered on another of the same engine.
#[test]
fn an_ack_on_another_connection() {
    let set = Capabilities::ASYNC;
    let mut first: Pair = Pair::running(agent_with(set), client_with(set));
    first.client.notify((7, 2)).unwrap();
    first.exchange();
    let ticket = first.agent.tickets()[0];
    let (stream_id, frame_id) = first.agent.agent.release(ticket).unwrap();
    assert_eq!(first.agent.agent.release(ticket), None);
    assert_eq!((first.agent.agent.open(), first.agent.agent.stats().acks), (0, 1));
    let mut buf = [0; 64];
    let ack = spop_core::AckEncoder::new(&mut buf, 16380, stream_id, frame_id).unwrap();
    let len = ack.finish();
    let mut second: Pair = Pair::running(agent_with(set), client_with(set));
    second.client.feed(&buf[..len]);
    assert_eq!((second.client.client.stats().ignored, second.client.log.len()), (1, 0), "the caller's to match");
}
