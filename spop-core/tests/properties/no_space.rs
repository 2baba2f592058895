//! Buffers of every length: a call that does not fit changes nothing, and the encoder goes on.

use proptest::prelude::*;
use spop_core::{
    AckEncoder, AckError, Agent, AgentConfig, Capabilities, ClientConfig, EncodeError, FrameId, FrameType,
    NotifyEncoder, Scope, Status, StreamId, Writer,
};

use super::strategies::{actions, messages, pairs, payload, Act, Msg};
use crate::common::{decode, hello, raw_frame, walk, AgentSide, ClientSide};

const PAINT: u8 = 0xA5;

/// Writes what fits of `list`; the messages that are in.
fn fill_notify(notify: &mut NotifyEncoder<'_>, list: &[Msg]) -> Vec<Msg> {
    let mut written: Vec<Msg> = Vec::new();
    for message in list {
        let room = notify.room();
        if notify.message(&message.name).is_err() {
            assert_eq!(notify.room(), room);
            continue;
        }
        let mut args = Vec::new();
        for (key, value) in &message.args {
            let room = notify.room();
            match notify.arg(key, &value.get()) {
                Ok(()) => args.push((key.clone(), value.clone())),
                Err(error) => assert_eq!((error, notify.room()), (EncodeError::NoSpace, room)),
            }
        }
        written.push(Msg { name: message.name.clone(), args });
    }
    written
}

/// The lengths to try: all up to 700, then some.
fn lengths(full: usize) -> impl Iterator<Item = usize> {
    (0..=full).filter(|len| *len < 700 || len % 61 == 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn notify(list in messages()) {
        let full = raw_frame(FrameType::NOTIFY, 1, (300, 1), &payload(&list));
        let mut buf = vec![PAINT; full.len() + 8];
        for limit in lengths(full.len()) {
            // By the buffer, and by the max-frame-size in a longer one.
            for by_size in [false, true] {
                buf.fill(PAINT);
                let (room, max) = match (by_size, limit.checked_sub(4)) {
                    (false, _) => (limit, u32::MAX),
                    (true, Some(max)) => (buf.len(), max as u32),
                    (true, None) => continue,
                };
                let header = 4 + 5 + 2 + 1;
                let Ok(mut notify) = NotifyEncoder::new(&mut buf[..room], max, StreamId(300), FrameId(1)) else {
                    prop_assert!(limit < header);
                    continue;
                };
                prop_assert!(limit >= header);
                let written = fill_notify(&mut notify, &list);
                let len = notify.finish();
                prop_assert!(len <= limit);
                let expected = payload(&written);
                let frame = raw_frame(FrameType::NOTIFY, 1, (300, 1), &expected);
                prop_assert_eq!(&buf[..len], &frame[..]);
                prop_assert!(buf[limit..].iter().all(|&b| b == PAINT), "written beyond the limit");
            }
        }
    }

    #[test]
    fn ack(list in actions()) {
        let mut buf = vec![PAINT; 40 * 1024];
        let full = {
            let mut all = Vec::new();
            list.iter().for_each(|act| walk::append(&mut all, |w| write_action(w, act)));
            4 + 7 + all.len()
        };
        for limit in lengths(full) {
            buf[..full + 8].fill(PAINT);
            let Ok(mut ack) = AckEncoder::new(&mut buf[..limit], u32::MAX, StreamId(1), FrameId(1)) else {
                prop_assert!(limit < 11);
                continue;
            };
            let mut expected = Vec::new();
            for act in &list {
                let room = ack.room();
                let result = match act {
                    Act::Set(scope, name, value) => ack.set_var(*scope, name, &value.get()),
                    Act::Unset(scope, name) => ack.unset_var(*scope, name),
                };
                match result {
                    Ok(()) => walk::append(&mut expected, |w| write_action(w, act)),
                    Err(error) => prop_assert_eq!((error, ack.room()), (EncodeError::NoSpace, room)),
                }
            }
            let len = ack.finish();
            prop_assert_eq!(&buf[..len], &raw_frame(FrameType::ACK, 1, (1, 1), &expected)[..]);
            prop_assert!(buf[limit..full + 8].iter().all(|&b| b == PAINT), "written beyond the limit");
        }
    }

    /// The bytes below the length are the same after a failure.
    #[test]
    fn writer(list in pairs(8), acts in actions()) {
        for limit in (0..400).chain([700, 3000]) {
            let mut buf = vec![PAINT; limit];
            let mut writer = Writer::new(&mut buf);
            let mut check = |write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>| {
                let (before, room) = (writer.written().to_vec(), writer.room());
                match write(&mut writer) {
                    Ok(()) => assert!(writer.written().starts_with(&before)),
                    Err(error) => {
                        assert_eq!(error, EncodeError::NoSpace);
                        assert_eq!((writer.written(), writer.room()), (&before[..], room));
                    }
                }
                assert_eq!(writer.len() + writer.room(), limit);
            };
            for (key, value) in &list {
                check(&|w| w.kv(key, &value.get()));
                check(&|w| w.value(&value.get()));
                check(&|w| w.string(key));
                check(&|w| w.bytes(key));
                check(&|w| w.varint(264_432));
                check(&|w| w.u32_be(7));
                check(&|w| w.u8(7));
            }
            for act in &acts {
                check(&|w| write_action(w, act));
            }
        }
    }
}

fn write_action(w: &mut Writer<'_>, act: &Act) -> Result<(), EncodeError> {
    match act {
        Act::Set(scope, name, value) => w.set_var(*scope, name, &value.get()),
        Act::Unset(scope, name) => w.unset_var(*scope, name),
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
