//! Fragmented NOTIFYs: any cut, the bounds, and giving up from both sides.

use proptest::prelude::*;
use spop_core::{
    AgentConfig, Capabilities, ClientConfig, EncodeError, FrameId, FrameType, NotifyError, Reassembled, Reassembler,
    Status, StreamId,
};

use super::{agent_with, client_with, notified};
use crate::common::{AgentLog, ClientLog, Pair, decode, raw_frame};

fn running(agent: AgentConfig) -> Pair {
    Pair::running(agent, ClientConfig::DEFAULT)
}

/// A payload of `len` bytes or a few more: one message with one binary argument.
fn payload(len: usize) -> Vec<u8> {
    let mut buf = vec![0; len + 16];
    let mut notify = spop_core::NotifyEncoder::payload(&mut buf);
    notify.message(b"big").unwrap();
    let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
    notify.arg(b"body", spop_core::Value::Binary(&data)).unwrap();
    let len = notify.finish();
    buf.truncate(len);
    buf
}

/// Writes the next fragment to what the client sends; was there one?
fn fragment(pair: &mut Pair, payload: &[u8], most: usize) -> bool {
    let mut out = vec![0; 20_000];
    let len = pair.client.client.notify_fragment(&mut out, payload, most).unwrap();
    pair.client.sent.extend(len.map(|len| out[..len].to_vec()));
    len.is_some()
}

fn start(pair: &mut Pair, ids: (u64, u64)) -> Result<(), NotifyError> {
    pair.client.client.start_fragmented(StreamId(ids.0), FrameId(ids.1))
}

proptest! {
    #[test]
    fn any_cut(len in 0_usize..3000, cuts in prop::collection::vec(0_usize..600, 1..12), size in 256_u32..2000) {
        let client = ClientConfig::DEFAULT.with_max_frame_size(size);
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, client);
        let payload = payload(len);
        start(&mut pair, (300, 1)).unwrap();
        let mut cuts = cuts.iter().cycle();
        while fragment(&mut pair, &payload, *cuts.next().unwrap()) {}
        let sent = pair.client.sent.clone();
        for (at, bytes) in sent.iter().enumerate() {
            prop_assert!(bytes.len() <= size as usize + 4);
            let header = decode(bytes).header;
            prop_assert_eq!(header.frame_type, if at == 0 { FrameType::NOTIFY } else { FrameType::UNSET });
            prop_assert_eq!(header.flags.0, u32::from(at + 1 == sent.len()));
        }
        prop_assert_eq!(sent.iter().flat_map(|f| decode(f).payload).copied().collect::<Vec<_>>(), &payload[..]);
        pair.exchange();
        let [AgentLog::Notify { ticket, ids: (300, 1), fragmented, payload: found }] = &pair.agent.log[..] else {
            panic!("{:?}", pair.agent.log);
        };
        prop_assert_eq!(*fragmented, sent.len() > 1);
        prop_assert_eq!(found, &payload);
        let ticket = *ticket;
        pair.agent.ack(ticket).unwrap();
        pair.exchange();
        let answer = ClientLog::Ack { ids: (300, 1), aborted: false, actions: vec![], error: None };
        prop_assert_eq!(&pair.client.log, &[answer]);
        let fragments = if sent.len() > 1 { sent.len() as u64 } else { 0 };
        prop_assert_eq!(pair.agent.agent.stats().fragments, fragments);
    }
}

#[test]
fn beyond_the_bytes_the_connection_goes_on() {
    let mut pair = running(AgentConfig::DEFAULT);
    let payload = payload(1000);
    for (at, bound) in [0, 100, payload.len() - 1].into_iter().enumerate() {
        pair.agent.reassembly = vec![0; bound];
        let ids = (at as u64, 1);
        start(&mut pair, ids).unwrap();
        while fragment(&mut pair, &payload, 100) {}
        pair.exchange();
        assert_eq!(pair.agent.take_log(), [AgentLog::TooBig(ids)]);
        let ack = ClientLog::Ack { ids, aborted: false, actions: vec![], error: None };
        assert_eq!(pair.client.take_log(), [ack]);
    }
    assert_eq!(pair.agent.agent.stats().too_big, 3);
    pair.agent.reassembly = vec![0; payload.len()];
    start(&mut pair, (9, 1)).unwrap();
    while fragment(&mut pair, &payload, 100) {}
    pair.exchange();
    assert_eq!(notified(&pair.agent.log), [(9, 1)], "what fits exactly is whole");
    assert_eq!((pair.agent.agent.stats().notifies, pair.agent.agent.open()), (1, 1));
}

#[test]
fn beyond_the_number_of_fragments_the_connection_goes_on() {
    let mut pair = running(AgentConfig::DEFAULT.with_max_fragments(4));
    let payload = payload(30);
    for (most, whole) in [(payload.len().div_ceil(4), true), (payload.len().div_ceil(5), false), (1, false)] {
        start(&mut pair, (1, 1)).unwrap();
        while fragment(&mut pair, &payload, most) {}
        pair.agent.answers = true;
        pair.exchange();
        match pair.agent.take_log()[..] {
            [AgentLog::Notify { fragmented: true, .. }] => assert!(whole),
            [AgentLog::TooBig((1, 1))] => assert!(!whole),
            ref other => panic!("{other:?}"),
        }
        assert_eq!(pair.client.take_log().len(), 1);
    }
}

#[test]
fn haproxy_gives_up() {
    let mut pair = running(AgentConfig::DEFAULT);
    let mut out = [0; 256];
    assert_eq!(pair.client.client.abort_fragmented(&mut out), Ok(None), "nothing to give up");
    // Before the first fragment nobody has to be told.
    start(&mut pair, (1, 1)).unwrap();
    assert_eq!(pair.client.client.abort_fragmented(&mut out), Ok(None));
    assert_eq!(pair.client.client.in_flight(), 0);

    let payload = payload(100);
    for bound in [1000, 10] {
        // Also when the bytes are beyond the bound already: no ACK in either case.
        pair.agent.reassembly = vec![0; bound];
        start(&mut pair, (3, 1)).unwrap();
        fragment(&mut pair, &payload, 40);
        fragment(&mut pair, &payload, 40);
        assert_eq!(pair.client.client.abort_fragmented(&mut [0; 10]), Err(EncodeError::NoSpace));
        let len = pair.client.client.abort_fragmented(&mut out).unwrap().unwrap();
        pair.client.sent.push(out[..len].to_vec());
        assert!(!fragment(&mut pair, &payload, 40), "no fragment after the end");
        pair.exchange();
        assert_eq!(pair.agent.take_log(), [AgentLog::Aborted((3, 1))]);
        assert!(pair.client.log.is_empty() && pair.client.client.in_flight() == 0);
    }
    let stats = *pair.agent.agent.stats();
    assert_eq!((stats.aborted, stats.too_big, stats.notifies, stats.acks), (2, 0, 0, 0));
    pair.client.notify((3, 1)).unwrap();
    pair.exchange();
    assert_eq!(notified(&pair.agent.log), [(3, 1)], "the same ids, from the start");
}

#[test]
fn the_agent_gives_up() {
    let mut pair = running(AgentConfig::DEFAULT);
    let payload = payload(100);
    start(&mut pair, (3, 1)).unwrap();
    fragment(&mut pair, &payload, 40);
    pair.client.feed(&raw_frame(FrameType::ACK, 3, (3, 1), b""));
    assert!(matches!(pair.client.log[..], [ClientLog::Ack { ids: (3, 1), aborted: true, .. }]));
    assert!(!fragment(&mut pair, &payload, 40), "the rest is not sent");
    assert_eq!(pair.client.client.in_flight(), 0);
    pair.client.notify((5, 1)).unwrap();

    // An abort of another NOTIFY changes nothing for the one that is being sent.
    let mut pair = running(AgentConfig::DEFAULT);
    pair.client.notify((1, 1)).unwrap();
    start(&mut pair, (3, 1)).unwrap();
    fragment(&mut pair, &payload, 40);
    pair.client.feed(&raw_frame(FrameType::ACK, 3, (1, 1), b""));
    assert!(fragment(&mut pair, &payload, 40));
}

#[test]
fn nothing_comes_between_fragments() {
    let mut pair = running(AgentConfig::DEFAULT);
    let payload = payload(100);
    start(&mut pair, (3, 1)).unwrap();
    for _ in 0..2 {
        assert_eq!(pair.client.notify((5, 1)), Err(NotifyError::Fragmenting));
        assert_eq!(start(&mut pair, (5, 1)), Err(NotifyError::Fragmenting));
        fragment(&mut pair, &payload, 40);
    }
    while fragment(&mut pair, &payload, 40) {}
    pair.client.notify((5, 1)).unwrap();
    pair.exchange();
    assert_eq!(notified(&pair.agent.log), [(3, 1), (5, 1)]);
    // No room for a header and one byte: the fragment is not lost.
    start(&mut pair, (7, 1)).unwrap();
    for room in 0..12 {
        let result = pair.client.client.notify_fragment(&mut vec![0; room], &payload, 40);
        assert_eq!(result, Err(EncodeError::NoSpace), "{room}");
    }
    assert_eq!(pair.client.client.notify_fragment(&mut [0; 12], &payload, 40), Ok(Some(12)));
}

#[test]
fn fragments_need_the_agents_word() {
    let all = Capabilities::PIPELINING | Capabilities::FRAGMENTATION;
    let mut pair: Pair = Pair::running(agent_with(Capabilities::PIPELINING), client_with(all));
    assert_eq!(start(&mut pair, (1, 1)), Err(NotifyError::NoFragmentation));
    assert_eq!(pair.client.client.in_flight(), 0);
    for bytes in [raw_frame(FrameType::NOTIFY, 0, (1, 1), b""), raw_frame(FrameType::UNSET, 3, (1, 1), b"")] {
        let mut pair: Pair = Pair::running(agent_with(Capabilities::PIPELINING), client_with(all));
        pair.agent.feed(&bytes);
        assert!(matches!(pair.agent.log[..], [AgentLog::Error(e)] if e.status() == Status::NO_FRAGMENTATION));
    }
}

/// The reassembler alone, in an order that the agent does not use.
#[test]
fn a_reassembler_of_ones_own() {
    let mut memory = [0; 4];
    let mut reassembler = Reassembler::new(3);
    let (first, second) = ((StreamId(1), FrameId(1)), (StreamId(1), FrameId(2)));
    reassembler.push(b"lost", &mut memory);
    assert!(!reassembler.in_progress() && memory == [0; 4]);
    reassembler.start(first, b"too big", &mut memory);
    reassembler.push(b"", &mut memory);
    assert_eq!(reassembler.finish(), Reassembled::TooBig);
    // A start drops what was in progress, and its size.
    reassembler.start(first, b"too big", &mut memory);
    reassembler.start(second, b"ab", &mut memory);
    assert!(reassembler.is_open(second) && !reassembler.is_open(first));
    reassembler.push(b"c", &mut memory);
    reassembler.push(b"d", &mut memory);
    assert_eq!((reassembler.finish(), reassembler.in_progress()), (Reassembled::Whole(4), false));
    assert_eq!(&memory, b"abcd");
    reassembler.start(first, b"x", &mut memory);
    reassembler.abort();
    assert!(!reassembler.in_progress() && !reassembler.is_open(first));
}

/// What a peer may do wrong with fragments, after a first fragment of 3/1.
#[test]
fn mixed_fragments_end_the_connection() {
    let first = raw_frame(FrameType::NOTIFY, 0, (3, 1), b"\x01");
    for (frame_type, flags, ids, status) in [
        (FrameType::NOTIFY, 1, (5, 1), 11),
        (FrameType::NOTIFY, 0, (5, 1), 11),
        (FrameType::NOTIFY, 0, (3, 1), 11),
        (FrameType::NOTIFY, 3, (5, 1), 11),
        (FrameType::UNSET, 0, (3, 2), 11),
        (FrameType::UNSET, 1, (4, 1), 11),
        (FrameType::UNSET, 3, (4, 1), 11),
        (FrameType::UNSET, 2, (3, 1), 4),
        (FrameType::NOTIFY, 2, (3, 1), 4),
    ] {
        let mut pair = running(AgentConfig::DEFAULT);
        pair.agent.feed(&first);
        pair.agent.feed(&raw_frame(frame_type, flags, ids, b"m\x00"));
        let [AgentLog::Error(error)] = pair.agent.log[..] else { panic!("{:?}", pair.agent.log) };
        assert_eq!(error.status(), Status(status), "{frame_type} {flags} {ids:?}");
        pair.exchange();
        assert!(pair.client.client.is_closed());
    }
    // Unknown types and a DISCONNECT may come in between.
    let mut pair = running(AgentConfig::DEFAULT);
    pair.agent.feed(&first);
    pair.agent.feed(&raw_frame(FrameType(50), 0, (9, 9), b"?"));
    pair.agent.feed(&raw_frame(FrameType::UNSET, 1, (3, 1), b"m\x00"));
    assert_eq!(notified(&pair.agent.take_log()), [(3, 1)]);
    pair.agent.feed(&first);
    pair.agent.feed(&raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b""));
    assert!(matches!(pair.agent.log[..], [AgentLog::Disconnect { .. }]));
}
