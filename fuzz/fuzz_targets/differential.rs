//! Against the published crate `spop`: the same bytes mean the same, but for the classes of [`Difference`].
//!
//! That crate decodes what HAProxy sends and encodes what an agent sends, so that is what is compared.

#![no_main]

use std::collections::{HashMap, HashSet};

use libfuzzer_sys::fuzz_target;
use spop::parser::parse_frame_with_limit;
use spop::{FramePayload, SpopFrame, TypedData, VarScope};
use spop_core::{
    AckEncoder, Action, Capabilities, DecodeError, DecodeReason, Disconnect, Flags, Frame, FrameType, HaproxyHello,
    KvList, PREFIX_LEN, Reader, Scope, Value, Version, Writer, peek_len, supports_2_0, varint,
};

const MAX_FRAME_SIZE: u32 = 16380;

/// How the two are known to differ. What is none of these is a finding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Difference {
    /// A varint above 2^64-1: we refuse it, `spop` drops the bits above.
    VarintOverflow,
    /// INT32 or UINT32 with a larger value: we refuse it, `spop` cuts it to 32 bits.
    IntegerOutOfRange,
    /// A key of a HELLO or DISCONNECT is empty: we refuse it (as HAProxy does), `spop` takes it.
    EmptyKey,
    /// An optional key has a value of another type: we refuse it, `spop` takes it for absent.
    OptionalKeyOfWrongType,
    /// Types that HAProxy does not send, unknown ones included: `spop` does not decode them, we do.
    NotFromHaproxy,
    /// FIN missing, ABORT or reserved flags set: `spop` refuses the frame, we leave it to the state machine.
    Flags,
    /// A key comes twice in a HELLO or DISCONNECT: `spop` refuses that, with us (and HAProxy) the last one counts.
    RepeatedKey,
    /// An integer of another type than UINT32 for a size or status: `spop` refuses it, we (and HAProxy) take it.
    OtherIntegerType,
    /// A DISCONNECT without its status or message: `spop` refuses it, we report what there is.
    IncompleteDisconnect,
    /// Versions: `spop` reads them as semantic versions and refuses the frame for one that is none; we read SPOP's
    /// grammar and skip such an item.
    VersionGrammar,
    /// Capabilities: `spop` ignores case and trims all white space; we follow HAProxy's scanner (case matters, spaces only,
    /// the first word counts).
    CapabilityGrammar,
    /// Bytes that are not UTF-8: `spop` replaces them, we keep them.
    NotUtf8,
}

fuzz_target!(|input: &[u8]| {
    varint_(input);
    value(input);
    let theirs = parse_frame_with_limit(input, MAX_FRAME_SIZE);
    let incomplete = matches!(theirs, Err(nom::Err::Incomplete(_)));
    let theirs = theirs.ok();
    match peek_len(input, MAX_FRAME_SIZE) {
        // A length below that of a header may be waited for there, but never accepted.
        Err(_) => assert!(theirs.is_none()),
        Ok(len) => match len.and_then(|len| input.get(..len)) {
            None => assert!(incomplete),
            Some(whole) => {
                assert!(!incomplete && theirs.as_ref().is_none_or(|(rest, _)| rest.len() == input.len() - whole.len()));
                frame(&whole[PREFIX_LEN..], theirs.as_ref().map(|(_, frame)| frame.as_ref()));
            }
        },
    }
});

fn varint_(input: &[u8]) {
    match (varint::decode(input), spop::decode_varint(input)) {
        (Ok((ours, len)), Ok((rest, theirs))) => {
            assert_eq!((ours, len), (theirs, input.len() - rest.len()));
            let mut encoded = Vec::new();
            spop::encode_varint_into(theirs, &mut encoded);
            assert_eq!(encoded, input[..len]);
        }
        (Err(error), Ok(_)) => drop(we_refuse(input, error)),
        (ours, theirs) => assert!(ours.is_err() && theirs.is_err(), "{ours:?}, {theirs:?}"),
    }
}

fn value(input: &[u8]) {
    let mut reader = Reader::new(input);
    match (Value::decode(&mut reader), spop::types::typed_data(input)) {
        (Ok(ours), Ok((rest, theirs))) => {
            assert_eq!(reader.remaining(), rest);
            if same_value(&ours, &theirs).is_none() {
                let (mut one, mut other) = (vec![0; ours.encoded_len()], Vec::new());
                Writer::new(&mut one).value(&ours).expect("the length was asked for");
                theirs.to_bytes(&mut other);
                assert_eq!(one, other);
                assert_eq!(theirs.serialized_len(), other.len());
            }
        }
        (Err(error), Ok(_)) => drop(we_refuse(input, error)),
        (ours, theirs) => assert!(ours.is_err() && theirs.is_err(), "{ours:?}, {theirs:?}"),
    }
}

fn frame(body: &[u8], theirs: Option<&dyn SpopFrame>) {
    let ours = Frame::decode(body).and_then(|frame| payload(&frame).map(|()| frame));
    match (ours, theirs) {
        (Ok(frame), Some(theirs)) => drop(same_frame(&frame, theirs)),
        (Ok(frame), None) => {
            they_refuse(&frame).unwrap_or_else(|| panic!("refused for no known reason: {frame:?}"));
            if frame.header.frame_type == FrameType::ACK {
                ack(&frame);
            }
        }
        (Err(error), Some(_)) => drop(we_refuse(body, error)),
        (Err(_), None) => {}
    }
}

/// Reads the payload to its end.
fn payload(frame: &Frame<'_>) -> Result<(), DecodeError> {
    match frame.header.frame_type {
        FrameType::HAPROXY_HELLO => HaproxyHello::parse(frame).map(drop),
        FrameType::HAPROXY_DISCONNECT => Disconnect::parse(frame).map(drop),
        FrameType::NOTIFY => frame.messages().validate().map(drop),
        FrameType::ACK => frame.actions().try_for_each(|action| action.map(drop)),
        _ => Ok(()),
    }
}

/// Why we alone refuse these bytes.
fn we_refuse(bytes: &[u8], error: DecodeError) -> Difference {
    match error.reason {
        DecodeReason::VarintOverflow => Difference::VarintOverflow,
        DecodeReason::IntegerOutOfRange => Difference::IntegerOutOfRange,
        DecodeReason::EmptyKey => Difference::EmptyKey,
        DecodeReason::WrongValueType => {
            let mut pairs = KvList::new(&bytes[error.offset..]);
            let key = pairs.next().and_then(Result::ok).map(|kv| kv.key);
            assert!(matches!(key, Some(b"healthcheck" | b"engine-id")), "{key:?}");
            Difference::OptionalKeyOfWrongType
        }
        other => panic!("refused by us alone: {other:?}"),
    }
}

/// Why the other alone refuses a frame.
fn they_refuse(frame: &Frame<'_>) -> Option<Difference> {
    let from_haproxy = [FrameType::HAPROXY_HELLO, FrameType::HAPROXY_DISCONNECT, FrameType::NOTIFY];
    if !from_haproxy.contains(&frame.header.frame_type) {
        return Some(Difference::NotFromHaproxy);
    }
    if frame.header.flags != Flags::FIN {
        return Some(Difference::Flags);
    }
    if frame.header.frame_type == FrameType::NOTIFY {
        return None;
    }
    let pairs: Vec<_> = frame.kv().flatten().map(|kv| (String::from_utf8_lossy(kv.key), kv.value)).collect();
    let by_key: HashMap<_, _> = pairs.iter().map(|(key, value)| (&**key, value)).collect();
    if by_key.len() < pairs.len() {
        return Some(Difference::RepeatedKey);
    }
    let is_uint32 = |key| by_key.get(key).is_none_or(|value| matches!(value, Value::UInt32(_)));
    if !is_uint32("max-frame-size") || !is_uint32("status-code") {
        return Some(Difference::OtherIntegerType);
    }
    if frame.header.frame_type == FrameType::HAPROXY_DISCONNECT {
        let complete = by_key.contains_key("status-code") && by_key.contains_key("message");
        return (!complete).then_some(Difference::IncompleteDisconnect);
    }
    let versions = String::from_utf8_lossy(by_key.get("supported-versions")?.as_bytes()?);
    let is_semantic = |item: &str| match item.trim() {
        short if short.matches('.').count() == 1 => spop::Version::parse(&format!("{short}.0")).is_ok(),
        long => spop::Version::parse(long).is_ok(),
    };
    (!versions.split(',').all(is_semantic)).then_some(Difference::VersionGrammar)
}

/// What differs in a frame that both take.
fn same_frame(frame: &Frame<'_>, theirs: &dyn SpopFrame) -> HashSet<Difference> {
    let metadata = theirs.metadata();
    assert_eq!((frame.header.stream_id.0, frame.header.frame_id.0), (metadata.stream_id, metadata.frame_id));
    assert_eq!(frame.header.flags.0.to_be_bytes(), metadata.flags.to_be_bytes());
    let mut differences = HashSet::new();
    match theirs.payload() {
        FramePayload::ListOfMessages(theirs) => {
            let ours: Vec<_> = frame.messages().flatten().collect();
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                differences.extend(same_text(ours.name, &theirs.name));
                let args: Vec<_> = ours.args().flatten().collect();
                assert_eq!(args.len(), theirs.args.len());
                for (arg, (key, value)) in args.iter().zip(&theirs.args) {
                    differences.extend(same_text(arg.key, key));
                    differences.extend(same_value(&arg.value, value));
                }
            }
        }
        FramePayload::KVList(theirs) => differences.extend(match frame.header.frame_type {
            FrameType::HAPROXY_HELLO => same_hello(frame, &theirs),
            _ => same_disconnect(frame, &theirs),
        }),
        FramePayload::ListOfActions(_) => panic!("HAProxy sends no actions"),
    }
    differences
}

fn same_disconnect(frame: &Frame<'_>, theirs: &HashMap<String, TypedData>) -> Vec<Difference> {
    let ours = Disconnect::parse(frame).expect("it was valid");
    assert_eq!(theirs.get("status-code"), ours.status.map(|status| TypedData::UInt32(status.0)).as_ref());
    same_value(&Value::String(ours.message), &theirs["message"]).into_iter().collect()
}

fn same_hello(frame: &Frame<'_>, theirs: &HashMap<String, TypedData>) -> Vec<Difference> {
    let ours = HaproxyHello::parse(frame).expect("it was valid");
    let text = |key| match theirs.get(key) {
        Some(TypedData::String(text)) => text.as_str(),
        other => panic!("{key}: {other:?}"),
    };
    let mut differences = Vec::new();
    assert_eq!(theirs.get("max-frame-size"), Some(&TypedData::UInt32(ours.max_frame_size)));
    assert_eq!(theirs.get("healthcheck").unwrap_or(&TypedData::Bool(false)), &TypedData::Bool(ours.healthcheck));
    assert_eq!(theirs.contains_key("engine-id"), ours.engine_id.is_some());
    if let Some(id) = ours.engine_id {
        differences.extend(same_text(id, text("engine-id")));
    }
    let has_2 = text("supported-versions").split(", ").any(|version| version.starts_with("2."));
    if has_2 != supports_2_0(ours.supported_versions) {
        let mut items = ours.supported_versions.split(|byte| *byte == b',');
        assert!(items.any(|item| Version::parse(item).is_none()), "{:?}", ours.supported_versions);
        differences.push(Difference::VersionGrammar);
    }
    let pipelining = ours.capabilities.contains(Capabilities::PIPELINING);
    if pipelining == text("capabilities").is_empty() {
        let list =
            frame.kv().flatten().filter(|kv| kv.key == b"capabilities").last().and_then(|kv| kv.value.as_bytes());
        let list = String::from_utf8_lossy(list.expect("it is mandatory"));
        let is_theirs = |item: &str| item.trim().eq_ignore_ascii_case("pipelining");
        let is_ours = |item: &str| item.trim_matches(' ').split(' ').next() == Some("pipelining");
        assert!(list.split(',').any(|item| is_theirs(item) != is_ours(item)), "{list}");
        differences.push(Difference::CapabilityGrammar);
    }
    differences
}

fn same_text(ours: &[u8], theirs: &str) -> Option<Difference> {
    assert_eq!(String::from_utf8_lossy(ours), theirs);
    std::str::from_utf8(ours).is_err().then_some(Difference::NotUtf8)
}

fn same_value(ours: &Value<'_>, theirs: &TypedData) -> Option<Difference> {
    match (*ours, theirs) {
        (Value::String(ours), TypedData::String(theirs)) => return same_text(ours, theirs),
        (Value::Null, TypedData::Null) => {}
        (Value::Bool(ours), TypedData::Bool(theirs)) => assert_eq!(ours, *theirs),
        (Value::Int32(ours), TypedData::Int32(theirs)) => assert_eq!(ours, *theirs),
        (Value::UInt32(ours), TypedData::UInt32(theirs)) => assert_eq!(ours, *theirs),
        (Value::Int64(ours), TypedData::Int64(theirs)) => assert_eq!(ours, *theirs),
        (Value::UInt64(ours), TypedData::UInt64(theirs)) => assert_eq!(ours, *theirs),
        (Value::Ipv4(ours), TypedData::IPv4(theirs)) => assert_eq!(ours, *theirs),
        (Value::Ipv6(ours), TypedData::IPv6(theirs)) => assert_eq!(ours, *theirs),
        (Value::Binary(ours), TypedData::Binary(theirs)) => assert_eq!(ours, theirs),
        (ours, theirs) => panic!("{ours:?}, {theirs:?}"),
    }
    None
}

/// An ACK that both write has the same bytes.
fn ack(frame: &Frame<'_>) {
    let (stream_id, frame_id) = (frame.header.stream_id, frame.header.frame_id);
    let mut buf = vec![0; 64 + 2 * frame.payload.len()];
    let mut ours = AckEncoder::new(&mut buf, u32::MAX, stream_id, frame_id).expect("room for a header");
    let mut theirs = spop::frames::Ack::new(stream_id.0, frame_id.0);
    for action in frame.actions().flatten() {
        match action {
            Action::SetVar { scope, name, value } => {
                // It has no form for bytes that are not UTF-8.
                let (Ok(name), Some(data)) = (std::str::from_utf8(name), typed_data(&value)) else { continue };
                theirs = theirs.set_var(var_scope(scope), name, data);
                ours.set_var(scope, name.as_bytes(), &value).expect("it fitted before");
            }
            Action::UnsetVar { scope, name } => {
                let Ok(name) = std::str::from_utf8(name) else { continue };
                theirs = theirs.unset_var(var_scope(scope), name);
                ours.unset_var(scope, name.as_bytes()).expect("it fitted before");
            }
        }
    }
    let len = ours.finish();
    assert_eq!(theirs.serialize().expect("actions"), buf[..len]);
}

fn typed_data(value: &Value<'_>) -> Option<TypedData> {
    Some(match *value {
        Value::Null => TypedData::Null,
        Value::Bool(b) => TypedData::Bool(b),
        Value::Int32(n) => TypedData::Int32(n),
        Value::UInt32(n) => TypedData::UInt32(n),
        Value::Int64(n) => TypedData::Int64(n),
        Value::UInt64(n) => TypedData::UInt64(n),
        Value::Ipv4(ip) => TypedData::IPv4(ip),
        Value::Ipv6(ip) => TypedData::IPv6(ip),
        Value::String(bytes) => TypedData::String(std::str::from_utf8(bytes).ok()?.to_owned()),
        Value::Binary(bytes) => TypedData::Binary(bytes.to_vec()),
    })
}

fn var_scope(scope: Scope) -> VarScope {
    match scope {
        Scope::Process => VarScope::Process,
        Scope::Session => VarScope::Session,
        Scope::Transaction => VarScope::Transaction,
        Scope::Request => VarScope::Request,
        Scope::Response => VarScope::Response,
    }
}
