//! The end of a connection: DISCONNECTs both ways with every status, and a transport that ends at any time.

use spop_core::{
    AckError, AgentConfig, ClientConfig, DecodeReason, FrameType, NotifyError, ProtocolError, Status, Want,
};

use super::{agent_with, client_with};
use crate::common::{AgentLog, AgentSide, ClientLog, ClientSide, Pair, hello, raw_frame};

const CODES: [u32; 18] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 99, 1000, u32::MAX];

#[test]
fn the_agent_disconnects_with_any_status() {
    for code in CODES {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        if code != 0 {
            pair.client.notify((1, 1)).unwrap();
        }
        pair.exchange();
        pair.agent.close(Status(code));
        assert!(pair.agent.agent.is_closed());
        pair.exchange();
        let message = Status(code).reason().into();
        assert_eq!(pair.client.log, [ClientLog::Disconnect { status: Some(Status(code)), message }]);
        assert!(pair.client.client.is_closed() && pair.client.client.in_flight() == 0);
        assert!(pair.client.sent.is_empty(), "HAProxy answers nothing");
    }
}

#[test]
fn haproxy_disconnects_with_any_status() {
    for code in CODES {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.client.notify((1, 1)).unwrap();
        pair.exchange();
        pair.client.close(Status(code));
        assert_eq!(pair.client.client.in_flight(), 0);
        assert!(!pair.client.client.is_closed(), "the agent's answer is awaited");
        assert_eq!(pair.client.notify((3, 1)), Err(NotifyError::NotRunning));
        pair.client.close(Status::UNKNOWN);
        pair.exchange();
        let message = Status(code).reason().into();
        assert_eq!(pair.agent.log[1..], [AgentLog::Disconnect { status: Some(Status(code)), message }]);
        let ticket = pair.agent.tickets()[0];
        assert_eq!((pair.agent.agent.open(), pair.agent.ack(ticket)), (0, Err(AckError::NotOpen)));
        // The agent's own status is 0.
        assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(Status::NORMAL), .. }]));
        assert!(pair.agent.agent.is_closed() && pair.client.client.is_closed());
        // Whatever comes now is passed over.
        pair.agent.feed(b"anything at all");
        pair.client.feed(b"anything at all");
        assert!(pair.agent.input.is_empty() && pair.client.input.is_empty());
        assert_eq!((pair.agent.log.len(), pair.client.log.len()), (2, 1));
    }
}

/// ACKs and other frames that were on their way are passed over; the DISCONNECT is not.
#[test]
fn late_frames_between_the_two_disconnects() {
    let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
    pair.client.notify((1, 1)).unwrap();
    pair.client.close(Status::NORMAL);
    for late in [(FrameType::ACK, 1, (1, 1)), (FrameType::ACK, 0, (1, 1)), (FrameType::AGENT_HELLO, 1, (0, 0))] {
        pair.client.feed(&raw_frame(late.0, late.1, late.2, b""));
    }
    assert!(pair.client.log.is_empty() && !pair.client.client.is_closed());
    pair.client.feed(&raw_frame(FrameType::AGENT_DISCONNECT, 1, (0, 0), b""));
    assert_eq!(pair.client.log, [ClientLog::Disconnect { status: None, message: vec![] }]);
    assert!(pair.client.client.is_closed());
}

/// One DISCONNECT for a connection, also if the agent's answer to it makes no sense.
#[test]
fn no_second_disconnect() {
    for bytes in [b"GET / HTTP".to_vec(), raw_frame(FrameType::AGENT_DISCONNECT, 1, (1, 0), b"")] {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.client.close(Status::NORMAL);
        assert_eq!(pair.client.sent.len(), 1);
        pair.client.feed(&bytes);
        assert!(matches!(pair.client.log[..], [ClientLog::Error(_)]));
        assert_eq!(pair.client.sent.len(), 1);
        assert!(pair.client.client.is_closed() && pair.client.want() == Want::Close);
    }
}

#[test]
fn haproxy_gives_up_before_the_answer_to_its_hello() {
    for sent_hello in [false, true] {
        let mut pair: Pair = Pair::new(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        if sent_hello {
            pair.client.flush();
        }
        pair.client.close(Status::TIMEOUT);
        pair.exchange();
        assert!(matches!(pair.agent.log.last(), Some(AgentLog::Disconnect { status: Some(Status::TIMEOUT), .. })));
        assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(Status::NORMAL), .. }]));
        assert!(pair.agent.agent.is_closed() && pair.client.client.is_closed());
    }
}

/// The frames that a broken or hostile agent and HAProxy could send, with what each is answered by.
#[test]
fn every_protocol_error_has_its_status() {
    let bad_payload = b"\x01\x0a";
    for (bytes, status) in [
        (vec![0, 0, 0, 0], 4),
        (16381_u32.to_be_bytes().to_vec(), 3),
        (raw_frame(FrameType::HAPROXY_HELLO, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::AGENT_HELLO, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::AGENT_DISCONNECT, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::ACK, 1, (1, 1), b""), 4),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 0, (0, 0), b""), 10),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 7), b""), 4),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b"\x0bstatus-code\x11"), 4),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b"\x07message\x03\x01"), 4),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b"\x00\x00"), 4),
        (raw_frame(FrameType::UNSET, 1, (1, 1), b""), 11),
        (raw_frame(FrameType::UNSET, 2, (1, 1), b""), 4),
        (raw_frame(FrameType::NOTIFY, 2, (1, 1), b""), 4),
    ] {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.agent.feed(&bytes);
        let [AgentLog::Error(error)] = pair.agent.log[..] else { panic!("{bytes:02x?}: {:?}", pair.agent.log) };
        assert_eq!(error.status(), Status(status), "{bytes:02x?}: {error}");
        pair.exchange();
        assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(s), .. }] if s == Status(status)));
    }
    // So is a NOTIFY whose payload is broken, whole or in fragments; the open ones are void.
    for fragmented in [false, true] {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, (1, 1), b"\x01m\0"));
        if fragmented {
            pair.agent.feed(&raw_frame(FrameType::NOTIFY, 0, (2, 1), &bad_payload[..1]));
            pair.agent.feed(&raw_frame(FrameType::UNSET, 1, (2, 1), &bad_payload[1..]));
        } else {
            pair.agent.feed(&raw_frame(FrameType::NOTIFY, 1, (2, 1), bad_payload));
        }
        let [AgentLog::Notify { ticket, .. }, AgentLog::Error(ProtocolError::Malformed(error))] = pair.agent.log[..]
        else {
            panic!("{:?}", pair.agent.log)
        };
        assert_eq!(error.reason, DecodeReason::Truncated);
        assert_eq!(pair.agent.ack(ticket), Err(AckError::NotOpen));
        assert_eq!((pair.agent.agent.stats().notifies, pair.agent.agent.stats().voided), (1, 1));
        pair.exchange();
        assert!(matches!(pair.client.log[..], [ClientLog::Disconnect { status: Some(Status::INVALID_FRAME), .. }]));
    }
    // An ACK of nothing without pipelining.
    let mut pair: Pair = Pair::running(agent_with(super::ALL[2]), client_with(super::ALL[0]));
    pair.client.feed(&raw_frame(FrameType::ACK, 1, (1, 1), b""));
    assert_eq!(pair.client.log, [ClientLog::Error(ProtocolError::UnknownAck)]);
    pair.exchange();
    let [AgentLog::Disconnect { status, .. }] = &pair.agent.log[..] else { panic!("{:?}", pair.agent.log) };
    assert_eq!(*status, Some(Status::FRAME_ID_NOT_FOUND));
    // What an agent may not send to a running client.
    for (bytes, status) in [
        (raw_frame(FrameType::AGENT_HELLO, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::NOTIFY, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::HAPROXY_HELLO, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::HAPROXY_DISCONNECT, 1, (0, 0), b""), 4),
        (raw_frame(FrameType::UNSET, 1, (0, 0), b""), 10),
        (raw_frame(FrameType::AGENT_DISCONNECT, 0, (0, 0), b""), 10),
    ] {
        let mut pair: Pair = Pair::running(AgentConfig::DEFAULT, ClientConfig::DEFAULT);
        pair.client.feed(&bytes);
        assert!(matches!(pair.client.log[..], [ClientLog::Error(e)] if e.status() == Status(status)), "{bytes:02x?}");
    }
}

/// A name, the way there, and the NOTIFYs that are open then.
type State<S> = (&'static str, fn(&mut S), usize);

/// At the agent: in each state the transport ends without a word.
#[test]
fn the_agents_transport_ends() {
    let states: [State<AgentSide>; 7] = [
        ("before HELLO", |_| (), 0),
        ("inside HELLO", |side| side.feed(&hello(false, 16380, super::ALL[0])[..20]), 0),
        ("running", running, 0),
        ("two open", two_open, 2),
        (
            "inside a fragmented NOTIFY",
            |side| {
                two_open(side);
                side.feed(&raw_frame(FrameType::NOTIFY, 0, (5, 1), b"half"));
            },
            2,
        ),
        (
            "draining",
            |side| {
                two_open(side);
                side.close(Status::NORMAL);
            },
            2,
        ),
        ("closed", |side| side.close(Status::UNKNOWN), 0),
    ];
    for (name, prepare, open) in states {
        let mut side: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
        prepare(&mut side);
        side.sent.clear();
        let tickets = side.tickets();
        let agreed = side.agent.negotiated();
        assert_eq!(side.agent.handle_eof(), open, "{name}");
        assert_eq!(side.agent.handle_eof(), 0, "{name}");
        assert!(side.agent.is_closed() && side.want() == Want::Close, "{name}");
        assert_eq!((side.agent.open(), side.agent.poll_timeout()), (0, None), "{name}");
        assert_eq!(side.agent.negotiated(), agreed, "{name}");
        for ticket in tickets {
            assert_eq!(side.ack(ticket), Err(AckError::NotOpen), "{name}");
        }
        side.close(Status::NORMAL);
        assert!(side.sent.is_empty(), "{name}: nothing is sent any more");
    }
}

fn running(side: &mut AgentSide) {
    side.feed(&hello(false, 16380, super::ALL[0]));
}

fn two_open(side: &mut AgentSide) {
    running(side);
    side.feed(&raw_frame(FrameType::NOTIFY, 1, (1, 1), b""));
    side.feed(&raw_frame(FrameType::NOTIFY, 1, (3, 1), b""));
}

/// A frame that waits to be sent is not sent any more.
#[test]
fn the_transport_ends_before_a_waiting_frame() {
    let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    agent.agent.handle_input(&hello(false, 16380, super::ALL[0]), &mut []).unwrap();
    agent.agent.handle_eof();
    assert!(!agent.flush());
    let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
    client.client.handle_eof();
    assert!(!client.flush());
}

#[test]
fn the_clients_transport_ends() {
    let states: [State<ClientSide>; 5] = [
        ("HELLO not sent", |side| side.sent.clear(), 0),
        ("before the agent's HELLO", |side| assert!(side.flush()), 0),
        ("running", |side| side.feed(&hello(true, 16380, super::ALL[0])), 0),
        ("two in flight", two_in_flight, 2),
        (
            "after its DISCONNECT",
            |side| {
                two_in_flight(side);
                side.close(Status::NORMAL);
            },
            0,
        ),
    ];
    for (name, prepare, in_flight) in states {
        let mut side: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
        prepare(&mut side);
        side.sent.clear();
        let agreed = side.client.negotiated();
        assert_eq!(side.client.handle_eof(), in_flight, "{name}");
        assert!(side.client.is_closed() && side.want() == Want::Close, "{name}");
        assert_eq!((side.client.in_flight(), side.client.poll_timeout()), (0, None), "{name}");
        assert_eq!(side.client.negotiated(), agreed, "{name}");
        side.close(Status::NORMAL);
        assert!(side.sent.is_empty(), "{name}: nothing is sent any more");
    }
}

fn two_in_flight(side: &mut ClientSide) {
    side.feed(&hello(true, 16380, super::ALL[0]));
    side.notify((1, 1)).unwrap();
    side.notify((3, 1)).unwrap();
}
