//! Buffers of every length: a call that does not fit changes nothing, and the encoder goes on.

use proptest::prelude::*;
use spop_core::{AckError, Agent, AgentConfig, Capabilities, ClientConfig, EncodeError, FrameType, Scope, Status};

use super::strategies::{actions, messages, pairs};
use crate::common::laws::no_space;
use crate::common::owned::{payload, write_action};
use crate::common::{AgentSide, ClientSide, decode, hello, raw_frame, walk};

/// The lengths to try: all up to 700, then some.
fn lengths(full: usize) -> impl Iterator<Item = usize> {
    (0..=full).filter(|len| *len < 700 || len % 61 == 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn notify(list in messages()) {
        let full = raw_frame(FrameType::NOTIFY, 1, (300, 1), &payload(&list));
        for limit in lengths(full.len()) {
            no_space::notify(&list, limit, false);
            if limit >= 4 {
                no_space::notify(&list, limit, true);
            }
        }
    }

    #[test]
    fn ack(list in actions()) {
        let mut all = Vec::new();
        list.iter().for_each(|act| walk::append(&mut all, |w| write_action(w, act)));
        for limit in lengths(4 + 7 + all.len()) {
            no_space::ack(&list, limit);
        }
    }

    #[test]
    fn writer(list in pairs(8), acts in actions()) {
        for limit in (0..400).chain([700, 3000]) {
            no_space::writer(&list, &acts, limit);
        }
    }
}

/// A frame of the machine itself, and the ACK, stay ready until the buffer is long enough.
#[test]
fn the_machines_wait_for_a_longer_buffer() {
    let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
    let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
    let mut buf = [0; 256];

    let len = shortest(|out| client.client.poll_transmit(out), &mut buf);
    let mut machine: Agent = Agent::new(AgentConfig::DEFAULT);
    machine.handle_input(&buf[..len], &mut []).unwrap();
    let reply = shortest(|out| machine.poll_transmit(out), &mut buf);
    assert_eq!(decode(&buf[..reply]).header.frame_type, FrameType::AGENT_HELLO);

    client.feed(&buf[..reply]);
    client.client.close(Status::NORMAL);
    let len = shortest(|out| client.client.poll_transmit(out), &mut buf);
    machine.handle_input(&buf[..len], &mut []).unwrap();
    let len = shortest(|out| machine.poll_transmit(out), &mut buf);
    assert_eq!(decode(&buf[..len]).header.frame_type, FrameType::AGENT_DISCONNECT);
    assert!(machine.is_closed());

    agent.feed(&hello(false, 16380, Capabilities::NONE));
    agent.feed(&raw_frame(FrameType::NOTIFY, 1, (1, 1), b""));
    let ticket = agent.tickets()[0];
    for room in 0..11 {
        assert_eq!(agent.agent.ack(&mut buf[..room], ticket).err(), Some(AckError::NoSpace), "{room}");
        assert_eq!(agent.agent.open(), 1);
    }
    let mut ack = agent.agent.ack(&mut buf[..11], ticket).unwrap();
    assert_eq!(ack.unset_var(Scope::Process, b""), Err(EncodeError::NoSpace));
    assert_eq!(ack.finish(), 11);
    assert_eq!(agent.agent.stats().acks, 1);
}

/// Calls `poll` with buffers of growing length: the frame's length, found in the first that it fits.
fn shortest(mut poll: impl FnMut(&mut [u8]) -> Result<Option<usize>, EncodeError>, buf: &mut [u8]) -> usize {
    for room in 0..buf.len() {
        match poll(&mut buf[..room]) {
            Err(error) => assert_eq!(error, EncodeError::NoSpace),
            Ok(len) => {
                assert_eq!(len, Some(room));
                assert_eq!(poll(&mut buf[room..]), Ok(None));
                return room;
            }
        }
    }
    panic!("MAX_TRANSMIT_LEN is not enough");
}
