//! What is written is read back, in as many bytes as was said; what is read is written back.

use spop_core::{
    AckEncoder, Action, AgentHello, Capabilities, DecodeError, Disconnect, DisconnectEncoder, EncodeError, FrameId,
    FrameType, HaproxyHello, Header, HelloEncoder, Kv, KvList, NotifyEncoder, Reader, Scope, Status, StreamId, Value,
    Version, Writer, encoded_len, varint,
};

use crate::common::owned::{Act, Msg, Pair, Val, payload, write_messages};
use crate::common::{Ids, check_text, decode, walk};

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

pub fn number(n: u64) {
    let (encoded, len) = varint::encode(n);
    assert_eq!(varint::len(n), len);
    assert_eq!(varint::decode(&encoded[..len]), Ok((n, len)));
}

/// The code is bijective: what decodes is the encoding of what came out.
pub fn varint_bytes(bytes: &[u8]) {
    if let Ok((n, len)) = varint::decode(bytes) {
        let (encoded, encoded_len) = varint::encode(n);
        assert_eq!(&encoded[..encoded_len], &bytes[..len]);
    }
}

pub fn value(value: &Val) {
    let value = value.get();
    let mut buf = vec![0; value.encoded_len()];
    let mut writer = Writer::new(&mut buf);
    writer.value(value).unwrap();
    assert_eq!(writer.room(), 0);
    let mut reader = Reader::new(&buf);
    assert_eq!(Value::decode(&mut reader), Ok(value));
    assert!(reader.is_empty());
    assert_eq!(reader.offset(), buf.len());
    as_of_rust(value);
}

/// The conversions from and to types of Rust agree.
fn as_of_rust(value: Value<'_>) {
    if let Some(b) = value.as_bool() {
        assert_eq!(Value::from(b), value);
    }
    if let (Some(text), Value::String(bytes)) = (value.as_str(), value) {
        assert_eq!((Value::from(text), text.as_bytes()), (value, bytes));
    }
    assert_eq!(value.as_bytes().is_some(), matches!(value, Value::String(_) | Value::Binary(_)));
    assert_eq!(value.as_bool().is_some(), matches!(value, Value::Bool(_)));
}

pub fn notify((stream, frame): Ids, list: &[Msg]) {
    let ids = (StreamId(stream), FrameId(frame));
    let mut buf = vec![0; encoded_len::frame(ids.0, ids.1, messages_len(list))];
    let max = buf.len() as u32 - 4;
    let mut notify = NotifyEncoder::new(&mut buf, max, ids.0, ids.1).unwrap();
    write_messages(&mut notify, list).unwrap();
    assert_eq!(notify.room(), 0);
    assert_eq!(notify.finish(), buf.len());
    encoded_before(ids, &payload(list), &buf);

    let decoded = decode(&buf);
    assert_eq!(decoded.header, Header::new(FrameType::NOTIFY, ids.0, ids.1));
    assert_eq!(decoded.payload, payload(list));
    assert_eq!(decoded.messages().validate().unwrap().len(), list.len());
    for (found, expected) in decoded.messages().zip(list) {
        let found = found.unwrap();
        assert_eq!(found.name, &expected.name);
        assert_eq!(found.args.len(), expected.args.len());
        assert_pairs(found.args(), &expected.args);
        for (key, _) in &expected.args {
            let first = expected.args.iter().find(|(k, _)| k == key).map(|(_, v)| v.get());
            assert_eq!(found.arg(key), Ok(first));
        }
        if expected.args.iter().all(|(key, _)| key != b"not there") {
            assert_eq!(found.arg(b"not there"), Ok(None));
        }
    }
    assert_eq!(walk::reencode(&decoded).unwrap(), buf);
}

/// The same NOTIFY of messages that are encoded already.
fn encoded_before(ids: (StreamId, FrameId), messages: &[u8], whole: &[u8]) {
    let mut buf = vec![0; whole.len()];
    let mut notify = NotifyEncoder::new(&mut buf, u32::MAX, ids.0, ids.1).unwrap();
    notify.encoded(messages).unwrap();
    let error = notify.arg(b"", Value::Null).unwrap_err();
    assert_eq!((error, notify.encoded(b"1")), (EncodeError::NoMessage, Err(EncodeError::NoSpace)));
    check_text(&error);
    assert_eq!(notify.finish(), whole.len());
    assert_eq!(buf, whole);
}

pub fn ack((stream, frame): Ids, list: &[Act]) {
    let ids = (StreamId(stream), FrameId(frame));
    let len: usize = list
        .iter()
        .map(|act| match act {
            Act::Set(_, name, value) => encoded_len::set_var(name, &value.get()),
            Act::Unset(_, name) => encoded_len::unset_var(name),
        })
        .sum();
    let mut buf = vec![0; encoded_len::frame(ids.0, ids.1, len)];
    let max = buf.len() as u32 - 4;
    let mut ack = AckEncoder::new(&mut buf, max, ids.0, ids.1).unwrap();
    // What is cleared leaves no trace.
    if len > 0 {
        ack.unset_var(Scope::Process, b"").ok();
    }
    ack.clear();
    for act in list {
        match act {
            Act::Set(scope, name, value) => ack.set_var(*scope, name, value.get()).unwrap(),
            Act::Unset(scope, name) => ack.unset_var(*scope, name).unwrap(),
        }
    }
    assert_eq!(ack.room(), 0);
    assert_eq!(ack.finish(), buf.len());

    let decoded = decode(&buf);
    assert_eq!(decoded.header, Header::new(FrameType::ACK, ids.0, ids.1));
    let found: Vec<_> = decoded.actions().map(|a| a.unwrap()).collect();
    assert_eq!(found.len(), list.len());
    for (found, expected) in found.iter().zip(list) {
        let expected = match expected {
            Act::Set(scope, name, value) => Action::SetVar { scope: *scope, name, value: value.get() },
            Act::Unset(scope, name) => Action::UnsetVar { scope: *scope, name },
        };
        assert_eq!(*found, expected);
        let (Action::SetVar { scope, .. } | Action::UnsetVar { scope, .. }) = expected;
        assert_eq!(scope.prefix(), ["proc", "sess", "txn", "req", "res"][scope as usize]);
    }
    assert_eq!(walk::reencode(&decoded).unwrap(), buf);
}

/// `size` serves as the version too. `more` are keys that nobody knows.
pub fn hello_of_haproxy(
    size: u32,
    capabilities: Capabilities,
    healthcheck: bool,
    engine_id: Option<&[u8]>,
    more: &[Pair],
) {
    let mut buf = vec![0; 256 + engine_id.map_or(0, <[u8]>::len) + 2 * more.len() + 2 * pairs_len(more)];
    let mut hello = HelloEncoder::haproxy(&mut buf, u32::MAX).unwrap();
    hello.capabilities(capabilities).unwrap();
    hello.max_frame_size(!size).unwrap();
    hello.healthcheck(healthcheck).unwrap();
    if let Some(id) = engine_id {
        hello.engine_id(id).unwrap();
    }
    for (key, value) in more {
        hello.kv([b"x-", &key[..]].concat(), value.get()).unwrap();
    }
    hello.supported_versions(Version { major: size, minor: 999 }).unwrap();
    // A repeated key: the last one counts.
    hello.max_frame_size(size).unwrap();
    let len = hello.finish();
    let frame = decode(&buf[..len]);
    let text = format!("{size}.999");
    let hello = HaproxyHello::parse(&frame).unwrap();
    assert_eq!((hello.supported_versions, hello.max_frame_size), (text.as_bytes(), size));
    assert_eq!((hello.capabilities, hello.healthcheck), (capabilities, healthcheck));
    assert_eq!(hello.engine_id, engine_id);
    assert_eq!(walk::reencode(&frame).unwrap(), &buf[..len]);
}

/// `size` serves as the major version too, `minor` is at most 999.
pub fn hello_of_agent(size: u32, capabilities: Capabilities, minor: u32) {
    let version = Version { major: size.max(1), minor };
    let mut buf = [0; 256];
    let mut hello = HelloEncoder::agent(&mut buf, 256).unwrap();
    hello.version(version).unwrap();
    hello.max_frame_size(size).unwrap();
    hello.capabilities(capabilities).unwrap();
    let len = hello.finish();
    let frame = decode(&buf[..len]);
    let parsed = AgentHello::parse(&frame).unwrap();
    assert_eq!((parsed.max_frame_size, parsed.capabilities), (size, capabilities));
    let others = Capabilities::parse(b"pipelining,async,fragmentation").without(capabilities);
    assert!(others.names().all(|name| !capabilities.names().any(|other| other == name)));
    assert_eq!((others | capabilities).names().count(), 3);
    assert_eq!(Version::parse(parsed.version), Some(version));
}

pub fn disconnect(agent: bool, code: u32, text: &[u8]) {
    let status = Status(code);
    let mut buf = vec![0; 256 + text.len()];
    let begin = if agent { DisconnectEncoder::agent } else { DisconnectEncoder::haproxy };
    let mut disconnect = begin(&mut buf, u32::MAX, status).unwrap();
    disconnect.message(text).unwrap();
    let len = disconnect.finish();
    let frame = decode(&buf[..len]);
    let expected = if agent { FrameType::AGENT_DISCONNECT } else { FrameType::HAPROXY_DISCONNECT };
    assert_eq!(frame.header.frame_type, expected);
    let disconnect = Disconnect::parse(&frame).unwrap();
    assert_eq!((disconnect.status, disconnect.message), (Some(status), text));
}

pub fn pairs(list: &[Pair]) {
    let mut buf = vec![0; pairs_len(list)];
    let mut writer = Writer::new(&mut buf);
    for (key, value) in list {
        writer.kv(key, value.get()).unwrap();
    }
    assert_eq!(writer.room(), 0);
    assert_pairs(KvList::new(&buf), list);
}

/// A frame that decodes, its prefix included, is written back in the same bytes, but for the reserved flags of typed data.
pub fn decoded_bytes(bytes: &[u8]) {
    let Ok(again) = walk::reencode(&decode(bytes)) else { return };
    assert_eq!(again.len(), bytes.len());
    for (new, old) in again.iter().zip(bytes) {
        assert!(new == old || new & 0x0F == old & 0x0F && new >> 4 <= 1, "{new:#x} for {old:#x}");
    }
    assert_eq!(walk::reencode(&decode(&again)).unwrap(), again);
}
