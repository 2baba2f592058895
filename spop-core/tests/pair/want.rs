//! `want`: a transport that reads exactly so many bytes gets on step by step, and no fewer do.

use std::collections::VecDeque;

use spop_core::{AgentConfig, ClientConfig, Scope, Status, Value, Want};

use crate::common::{AgentLog, ClientLog, Pair};

/// Reads from `wire` exactly what is wanted, if it is all there; how many bytes.
fn take(want: Want, wire: &mut VecDeque<u8>) -> Vec<u8> {
    if want.bytes() > wire.len() {
        return Vec::new();
    }
    wire.drain(..want.bytes()).collect()
}

/// A conversation over transports that wait for exactly `want` bytes (`exact`), or pass everything on at once.
fn conversation(exact: bool) -> (Vec<AgentLog>, Vec<ClientLog>, usize) {
    let mut pair: Pair<4, 64> = Pair::new(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    let (mut to_agent, mut to_client) = (VecDeque::new(), VecDeque::new());
    let (mut notified, mut answered, mut reads) = (0, 0, 0);
    for _ in 0..1000 {
        pair.client.run();
        if pair.client.client.negotiated().is_some() && notified < 40 {
            notified += 1;
            let data = vec![7; notified * 13];
            let fill = |notify: &mut spop_core::NotifyEncoder<'_>| {
                notify.message(b"m").unwrap();
                notify.arg(b"data", Value::Binary(&data)).unwrap();
            };
            pair.client.notify_with((notified as u64, 1), fill).unwrap();
        } else if pair.client.client.stats().acks == 40 {
            pair.client.close(Status::NORMAL);
        }
        to_agent.extend(std::mem::take(&mut pair.client.sent).concat());
        to_client.extend(std::mem::take(&mut pair.agent.sent).concat());
        let (for_agent, for_client) = if exact {
            (take(pair.agent.want(), &mut to_agent), take(pair.client.want(), &mut to_client))
        } else {
            (to_agent.drain(..).collect(), to_client.drain(..).collect())
        };
        reads += usize::from(!for_agent.is_empty());
        pair.agent.feed(&for_agent);
        pair.client.feed(&for_client);
        let open = pair.agent.tickets();
        // The agent answers only when its table is full or nothing moves.
        if pair.agent.want() == Want::Pause || for_agent.is_empty() {
            for ticket in &open[answered..] {
                let n = Value::Int64(answered as i64);
                pair.agent.ack_with(*ticket, |ack| ack.set_var(Scope::Session, b"n", n).unwrap()).unwrap();
                answered += 1;
            }
            pair.agent.run();
        }
        if pair.agent.agent.is_closed() && pair.client.client.is_closed() {
            return (pair.agent.log, pair.client.log, reads);
        }
    }
    panic!("no progress");
}

#[test]
fn an_exact_transport_makes_the_same_progress() {
    let (agent, client, reads) = conversation(true);
    assert_eq!(agent.len(), 1 + 40 + 1);
    assert_eq!(client.len(), 1 + 40 + 1);
    assert_eq!(reads, 2 * 42, "a prefix and a body for each frame");
    let (whole_agent, whole_client, _) = conversation(false);
    assert_eq!((agent, client), (whole_agent, whole_client));
}

/// With one byte fewer nothing happens; `want` then says how many are missing still.
#[test]
fn no_fewer_bytes_are_enough() {
    let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.client.flush();
    let sent = std::mem::take(&mut pair.client.sent).concat();
    assert_eq!(pair.agent.want(), Want::Read(4));
    for at in 0..sent.len() {
        let missing = if at < 4 { 4 - at } else { sent.len() - at };
        assert_eq!(pair.agent.want(), Want::Read(missing), "with {at} bytes");
        assert!(pair.agent.log.is_empty());
        pair.agent.feed(&sent[at..=at]);
    }
    assert!(matches!(pair.agent.log[..], [AgentLog::Hello { .. }]));
    assert_eq!(pair.agent.want(), Want::Read(4));

    let reply = pair.agent.take_sent().concat();
    for at in 0..reply.len() {
        let missing = if at < 4 { 4 - at } else { reply.len() - at };
        assert_eq!(pair.client.want(), Want::Read(missing), "with {at} bytes");
        pair.client.feed(&reply[at..=at]);
    }
    assert!(matches!(pair.client.log[..], [ClientLog::Hello(_)]));
}

/// A prefix that will be refused asks for one byte, never for its frame; a whole frame not taken yet too.
#[test]
fn what_is_buffered_and_not_given_in_yet() {
    let pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    for buffered in
        [&[0xFF; 4][..], &[0, 0, 0, 6], &[0, 0, 0, 7, 3, 0, 0, 0, 1, 1, 1], &[0, 0, 0, 7, 3, 0, 0, 0, 1, 1, 1, 9]]
    {
        assert_eq!(pair.agent.agent.want(buffered), Want::Read(1), "{buffered:?}");
        assert_eq!(pair.client.client.want(buffered), Want::Read(1), "{buffered:?}");
    }
    assert_eq!((Want::Read(5).bytes(), Want::Pause.bytes(), Want::Close.bytes()), (5, 0, 0));
}
