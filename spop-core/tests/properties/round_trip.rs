//! What is written is read back, in as many bytes as was said; what is read is written back.

use proptest::prelude::*;
use spop_core::{EncodeError, FrameId, FrameType, NotifyEncoder, StreamId, Value};

use super::strategies::{actions, any_capabilities, bytes, messages, number, pairs, value};
use crate::common::laws::round_trip;
use crate::common::owned::{payload, write_action};
use crate::common::{decode, raw_frame, walk};

proptest! {
    #[test]
    fn varint_of_any_number(n in number()) {
        round_trip::number(n);
    }

    #[test]
    fn varint_of_any_bytes(bytes in prop::collection::vec(prop_oneof![0xE8_u8..=0xFF, any::<u8>()], 0..12)) {
        round_trip::varint_bytes(&bytes);
    }

    #[test]
    fn typed_value(value in value()) {
        round_trip::value(&value);
    }

    #[test]
    fn notify(stream in number(), frame in number(), list in messages()) {
        round_trip::notify((stream, frame), &list);
    }

    #[test]
    fn ack(stream in number(), frame in number(), list in actions()) {
        round_trip::ack((stream, frame), &list);
    }

    #[test]
    fn hello_of_haproxy(
        size in any::<u32>(),
        capabilities in any_capabilities(),
        healthcheck in any::<bool>(),
        engine_id in proptest::option::of(bytes()),
        more in pairs(3),
    ) {
        round_trip::hello_of_haproxy(size, capabilities, healthcheck, engine_id.as_deref(), &more);
    }

    #[test]
    fn hello_of_agent(size in any::<u32>(), capabilities in any_capabilities(), minor in 0_u32..1000) {
        round_trip::hello_of_agent(size, capabilities, minor);
    }

    #[test]
    fn disconnect(agent in any::<bool>(), code in any::<u32>(), text in bytes()) {
        round_trip::disconnect(agent, code, &text);
    }

    #[test]
    fn any_kv_list(list in pairs(12)) {
        round_trip::pairs(&list);
    }

    #[test]
    fn decoded_bytes(
        frame_type in prop_oneof![Just(2_u8), Just(3), Just(103)],
        list in messages(),
        acts in actions(),
        more in pairs(4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = Vec::new();
        match frame_type {
            3 => bytes = payload(&list),
            2 => more.iter().for_each(|(key, value)| walk::append(&mut bytes, |w| w.kv(key, value.get()))),
            _ => acts.iter().for_each(|act| walk::append(&mut bytes, |w| write_action(w, act))),
        }
        if !bytes.is_empty() {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        round_trip::decoded_bytes(&raw_frame(FrameType(frame_type), 1, (5, 7), &bytes));
    }
}

#[test]
fn a_message_takes_255_arguments() {
    let mut buf = [0; 2048];
    let mut notify = NotifyEncoder::new(&mut buf, 2000, StreamId(1), FrameId(1)).unwrap();
    assert_eq!(notify.arg(b"early", Value::Null), Err(EncodeError::NoMessage));
    notify.message(b"m").unwrap();
    for _ in 0..255 {
        notify.arg(b"k", Value::Null).unwrap();
    }
    let room = notify.room();
    assert_eq!(notify.arg(b"k", Value::Null), Err(EncodeError::TooManyArgs));
    assert_eq!(notify.room(), room);
    notify.message(b"next").unwrap();
    let len = notify.finish();
    let counts: Vec<_> = decode(&buf[..len]).messages().map(|m| m.unwrap().args.count()).collect();
    assert_eq!(counts, [255, 0]);
}
