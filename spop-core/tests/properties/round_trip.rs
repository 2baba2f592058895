//! What is written is read back, in as many bytes as was said; what is read is written back.

use proptest::prelude::*;
use spop_core::{
    encode::encoded_len, varint, AckEncoder, Action, AgentHello, DecodeError, Disconnect, DisconnectEncoder,
    EncodeError, FrameId, FrameType, HaproxyHello, Header, HelloEncoder, Kv, KvList, NotifyEncoder, Reader, Scope,
    Status, StreamId, Value, Version, Writer,
};

use super::strategies::{
    actions, any_capabilities, bytes, messages, number, pairs, payload, value, write_messages, Act, Msg, Pair,
};
use crate::common::{decode, raw_frame, walk};

fn assert_pairs<'a>(found: impl Iterator<Item = Result<Kv<'a>, DecodeError>>, expected: &[Pair]) {
    let found: Vec<_> = found.map(|kv| kv.unwrap()).collect();
    assert_eq!(found.len(), expected.len());
    for (kv, (key, value)) in found.iter().zip(expected) {
        assert_eq!((kv.key, kv.value), (&key[..], value.get()));
    }
}

fn pairs_len(list: &[Pair]) -> usize {
    list.iter().map(|(key, value)| encoded_len::kv(key, &value.get())).sum()
}

fn messages_len(list: &[Msg]) -> usize {
    list.iter().map(|m| encoded_len::message(&m.name) + pairs_len(&m.args)).sum()
}

proptest! {
    #[test]
    fn varint_of_any_number(n in number()) {
        let (encoded, len) = varint::encode(n);
        prop_assert_eq!(varint::len(n), len);
        prop_assert_eq!(varint::decode(&encoded[..len]), Ok((n, len)));
    }

    /// The code is bijective: what decodes is the encoding of what came out.
    #[test]
    fn varint_of_any_bytes(bytes in prop::collection::vec(prop_oneof![0xE8_u8..=0xFF, any::<u8>()], 0..12)) {
        if let Ok((n, len)) = varint::decode(&bytes) {
            let (encoded, encoded_len) = varint::encode(n);
            prop_assert_eq!(&encoded[..encoded_len], &bytes[..len]);
        }
    }

    #[test]
    fn typed_value(value in value()) {
        let value = value.get();
        let mut buf = vec![0; value.encoded_len()];
        let mut writer = Writer::new(&mut buf);
        writer.value(&value).unwrap();
        prop_assert_eq!(writer.room(), 0);
        let mut reader = Reader::new(&buf);
        prop_assert_eq!(Value::decode(&mut reader), Ok(value));
        prop_assert!(reader.is_empty());
        prop_assert_eq!(reader.offset(), buf.len());
    }

    #[test]
    fn notify(stream in number(), frame in number(), list in messages()) {
        let ids = (StreamId(stream), FrameId(frame));
        let mut buf = vec![0; encoded_len::frame(ids.0, ids.1, messages_len(&list))];
        let max = buf.len() as u32 - 4;
        let mut notify = NotifyEncoder::new(&mut buf, max, ids.0, ids.1).unwrap();
        write_messages(&mut notify, &list).unwrap();
        prop_assert_eq!(notify.room(), 0);
        prop_assert_eq!(notify.finish(), buf.len());

        let decoded = decode(&buf);
        prop_assert_eq!(decoded.header, Header::new(FrameType::NOTIFY, ids.0, ids.1));
        prop_assert_eq!(decoded.payload, payload(&list));
        prop_assert_eq!(decoded.messages().validate(), Ok(list.len()));
        for (found, expected) in decoded.messages().zip(&list) {
            let found = found.unwrap();
            prop_assert_eq!(found.name, &expected.name);
            prop_assert_eq!(found.args.len(), expected.args.len());
            assert_pairs(found.args(), &expected.args);
            for (key, _) in &expected.args {
                let first = expected.args.iter().find(|(k, _)| k == key).map(|(_, v)| v.get());
                prop_assert_eq!(found.arg(key), Ok(first));
            }
            prop_assert_eq!(found.arg(b"not there"), Ok(None));
        }
        prop_assert_eq!(walk::reencode(&decoded).unwrap(), buf);
    }

    #[test]
    fn ack(stream in number(), frame in number(), list in actions()) {
        let ids = (StreamId(stream), FrameId(frame));
        let len: usize = list.iter().map(|act| match act {
            Act::Set(_, name, value) => encoded_len::set_var(name, &value.get()),
            Act::Unset(_, name) => encoded_len::unset_var(name),
        }).sum();
        let mut buf = vec![0; encoded_len::frame(ids.0, ids.1, len)];
        let max = buf.len() as u32 - 4;
        let mut ack = AckEncoder::new(&mut buf, max, ids.0, ids.1).unwrap();
        // What is cleared leaves no trace.
        if len > 0 {
            ack.unset_var(Scope::Process, b"").ok();
        }
        ack.clear();
        for act in &list {
            match act {
                Act::Set(scope, name, value) => ack.set_var(*scope, name, &value.get()).unwrap(),
                Act::Unset(scope, name) => ack.unset_var(*scope, name).unwrap(),
            }
        }
        prop_assert_eq!(ack.room(), 0);
        prop_assert_eq!(ack.finish(), buf.len());

        let decoded = decode(&buf);
        prop_assert_eq!(decoded.header, Header::new(FrameType::ACK, ids.0, ids.1));
        let found: Vec<_> = decoded.actions().map(|a| a.unwrap()).collect();
        prop_assert_eq!(found.len(), list.len());
        for (found, expected) in found.iter().zip(&list) {
            let expected = match expected {
                Act::Set(scope, name, value) => Action::SetVar { scope: *scope, name, value: value.get() },
                Act::Unset(scope, name) => Action::UnsetVar { scope: *scope, name },
            };
            prop_assert_eq!(*found, expected);
        }
        prop_assert_eq!(walk::reencode(&decoded).unwrap(), buf);
    }

    #[test]
    fn hello_of_haproxy(
        size in any::<u32>(),
        capabilities in any_capabilities(),
        healthcheck in any::<bool>(),
        engine_id in proptest::option::of(bytes()),
        more in pairs(3),
    ) {
        let mut buf = vec![0; 32 * 1024];
        let mut hello = HelloEncoder::haproxy(&mut buf, u32::MAX).unwrap();
        hello.capabilities(capabilities).unwrap();
        hello.max_frame_size(!size).unwrap();
        hello.healthcheck(healthcheck).unwrap();
        if let Some(id) = &engine_id {
            hello.engine_id(id).unwrap();
        }
        for (key, value) in &more {
            hello.kv(&[b"x-", &key[..]].concat(), &value.get()).unwrap();
        }
        hello.supported_versions(Version { major: size, minor: 999 }).unwrap();
        // A repeated key: the last one counts.
        hello.max_frame_size(size).unwrap();
        let len = hello.finish();
        let frame = decode(&buf[..len]);
        let text = format!("{size}.999");
        let expected = HaproxyHello {
            supported_versions: text.as_bytes(),
            max_frame_size: size,
            capabilities,
            healthcheck,
            engine_id: engine_id.as_deref(),
        };
        prop_assert_eq!(HaproxyHello::parse(&frame), Ok(expected));
        prop_assert_eq!(walk::reencode(&frame).unwrap(), &buf[..len]);
    }

    #[test]
    fn hello_of_agent(size in any::<u32>(), capabilities in any_capabilities(), minor in 0_u32..1000) {
        let version = Version { major: size.max(1), minor };
        let mut buf = [0; 256];
        let mut hello = HelloEncoder::agent(&mut buf, 256).unwrap();
        hello.version(version).unwrap();
        hello.max_frame_size(size).unwrap();
        hello.capabilities(capabilities).unwrap();
        let len = hello.finish();
        let frame = decode(&buf[..len]);
        let parsed = AgentHello::parse(&frame).unwrap();
        prop_assert_eq!((parsed.max_frame_size, parsed.capabilities), (size, capabilities));
        prop_assert_eq!(Version::parse(parsed.version), Some(version));
    }

    #[test]
    fn disconnect(agent in any::<bool>(), code in any::<u32>(), text in bytes()) {
        let status = Status(code);
        let mut buf = vec![0; 4096];
        let begin = if agent { DisconnectEncoder::agent } else { DisconnectEncoder::haproxy };
        let mut disconnect = begin(&mut buf, 4000, status).unwrap();
        disconnect.message(&text).unwrap();
        let len = disconnect.finish();
        let frame = decode(&buf[..len]);
        let expected = if agent { FrameType::AGENT_DISCONNECT } else { FrameType::HAPROXY_DISCONNECT };
        prop_assert_eq!(frame.header.frame_type, expected);
        prop_assert_eq!(Disconnect::parse(&frame), Ok(Disconnect { status: Some(status), message: &text }));
    }

    #[test]
    fn any_kv_list(list in pairs(12)) {
        let mut buf = vec![0; pairs_len(&list)];
        let mut writer = Writer::new(&mut buf);
        for (key, value) in &list {
            writer.kv(key, &value.get()).unwrap();
        }
        prop_assert_eq!(writer.room(), 0);
        assert_pairs(KvList::new(&buf), &list);
    }

    /// What decodes is written back in the same bytes, but for the reserved flags of typed data.
    #[test]
    fn decoded_bytes(
        frame_type in prop_oneof![Just(2_u8), Just(3), Just(103)],
        list in messages(),
        acts in actions(),
        more in pairs(4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = match frame_type {
            3 => payload(&list),
            2 => {
                let mut out = Vec::new();
                more.iter().for_each(|(key, value)| walk::append(&mut out, |w| w.kv(key, &value.get())));
                out
            }
            _ => {
                let mut out = Vec::new();
                for act in &acts {
                    walk::append(&mut out, |w| match act {
                        Act::Set(scope, name, value) => w.set_var(*scope, name, &value.get()),
                        Act::Unset(scope, name) => w.unset_var(*scope, name),
                    });
                }
                out
            }
        };
        if !bytes.is_empty() {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let bytes = raw_frame(FrameType(frame_type), 1, (5, 7), &bytes);
        if let Ok(again) = walk::reencode(&decode(&bytes)) {
            prop_assert_eq!(again.len(), bytes.len());
            for (new, old) in again.iter().zip(&bytes) {
                prop_assert!(new == old || new & 0x0F == old & 0x0F && new >> 4 <= 1, "{:#x} for {:#x}", new, old);
            }
            prop_assert_eq!(walk::reencode(&decode(&again)).unwrap(), again);
        }
    }
}

#[test]
fn a_message_takes_255_arguments() {
    let mut buf = [0; 2048];
    let mut notify = NotifyEncoder::new(&mut buf, 2000, StreamId(1), FrameId(1)).unwrap();
    assert_eq!(notify.arg(b"early", &Value::Null), Err(EncodeError::NoMessage));
    notify.message(b"m").unwrap();
    for _ in 0..255 {
        notify.arg(b"k", &Value::Null).unwrap();
    }
    let room = notify.room();
    assert_eq!(notify.arg(b"k", &Value::Null), Err(EncodeError::TooManyArgs));
    assert_eq!(notify.room(), room);
    notify.message(b"next").unwrap();
    let len = notify.finish();
    let counts: Vec<_> = decode(&buf[..len]).messages().map(|m| m.unwrap().args.count()).collect();
    assert_eq!(counts, [255, 0]);
}
