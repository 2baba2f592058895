//! What people read: names, reasons, errors; and the short ways from and to values.

use std::collections::HashSet;
use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};

use spop_core::{
    AckError, Capabilities, DecodeReason, EncodeError, Frame, FrameType, Header, Kv, KvList, Messages, NotifyError,
    ProtocolError, Scope, Status, Timer, Value,
};

#[test]
fn each_protocol_error_has_its_own_sentence_and_a_status() {
    let malformed = Frame::decode(b"short").unwrap_err();
    assert_eq!(malformed.reason, DecodeReason::FrameTooShort);
    let errors = [
        (ProtocolError::Malformed(malformed), 4),
        (ProtocolError::UnexpectedFrame(FrameType::ACK), 4),
        (ProtocolError::UnexpectedFrame(FrameType(77)), 4),
        (ProtocolError::IdsNotZero, 4),
        (ProtocolError::NotFragmentable(FrameType::HAPROXY_HELLO), 10),
        (ProtocolError::FragmentationNotAnnounced, 10),
        (ProtocolError::AbortWithoutFin, 4),
        (ProtocolError::Interlaced, 11),
        (ProtocolError::UnsupportedVersion, 8),
        (ProtocolError::BadMaxFrameSize, 9),
        (ProtocolError::UnknownAck, 12),
        (ProtocolError::TimedOut(Timer::Hello), 2),
        (ProtocolError::TimedOut(Timer::HalfFrame), 2),
        (ProtocolError::TimedOut(Timer::Idle), 2),
    ];
    let sentences: HashSet<String> = errors.iter().map(|(e, _)| e.to_string()).collect();
    assert_eq!(sentences.len(), errors.len(), "{sentences:?}");
    for (error, status) in errors {
        assert_eq!(error.status(), Status(status), "{error}");
        assert_eq!(error.source().is_some(), matches!(error, ProtocolError::Malformed(_)), "{error}");
    }
    assert!(sentences.contains("unexpected frame of type ACK") && sentences.contains("unexpected frame of type 77"));
    assert_eq!(ProtocolError::from(malformed).to_string(), malformed.to_string());
}

#[test]
fn the_other_errors() {
    let texts = [
        EncodeError::NoSpace.to_string(),
        EncodeError::TooManyArgs.to_string(),
        EncodeError::NoMessage.to_string(),
        AckError::NotOpen.to_string(),
        AckError::NoSpace.to_string(),
        NotifyError::NotRunning.to_string(),
        NotifyError::TooManyInFlight.to_string(),
        NotifyError::IdsInUse.to_string(),
        NotifyError::Fragmenting.to_string(),
        NotifyError::NoFragmentation.to_string(),
        NotifyError::NoSpace.to_string(),
    ];
    assert_eq!(texts.iter().collect::<HashSet<_>>().len(), texts.len(), "{texts:?}");
    assert_eq!(Status::FRAME_TOO_BIG.to_string(), "3 (frame is too big)");
    assert_eq!(Status(1000).to_string(), "1000 (unknown error)");
}

/// The text of a decode error names the number that was wrong, and where.
#[test]
fn decode_errors_say_what_and_where() {
    let first = |payload: &[u8]| Messages::new(payload).validate().unwrap_err().to_string();
    assert_eq!(first(b"\x01m\x02\x01k\x00\x01l\x0d"), "reserved data type 13 at byte 8");
    assert_eq!(first(b"\x01m\x01\x01k\x06\x7f"), "the data ends inside a field at byte 6");
    assert_eq!(first(b"\x01m\x01\x01k\x03\xff\xf0\xfe\xfe\xfe\x00"), "a 32-bit integer is out of range at byte 5");
    let action = |payload: &[u8]| spop_core::Actions::new(payload).next().unwrap().unwrap_err().to_string();
    assert_eq!(action(b"\x09\x03"), "unknown action type 9 at byte 0");
    assert_eq!(action(b"\x01\x04"), "an action with 4 arguments at byte 1");
    assert_eq!(action(b"\x02\x03"), "an action with 3 arguments at byte 1");
    assert_eq!(action(b"\x02\x02\x05\x00"), "unknown scope 5 at byte 2");
    // Inside a frame the header counts too.
    let frame = Frame::decode(b"\x67\0\0\0\x01\x01\x01\x09").unwrap();
    assert_eq!(frame.actions().next().unwrap().unwrap_err().offset, 7);
}

#[test]
fn names() {
    let known = [
        (FrameType::UNSET, "UNSET"),
        (FrameType::HAPROXY_HELLO, "HAPROXY-HELLO"),
        (FrameType::HAPROXY_DISCONNECT, "HAPROXY-DISCONNECT"),
        (FrameType::NOTIFY, "NOTIFY"),
        (FrameType::AGENT_HELLO, "AGENT-HELLO"),
        (FrameType::AGENT_DISCONNECT, "AGENT-DISCONNECT"),
        (FrameType::ACK, "ACK"),
    ];
    for (frame_type, name) in known {
        assert_eq!((frame_type.name(), format!("{frame_type} {frame_type:?}")), (Some(name), format!("{name} {name}")));
    }
    assert_eq!((FrameType(50).name(), FrameType(50).to_string()), (None, "50".to_owned()));
    let prefixes: Vec<_> = (0..=255).filter_map(Scope::from_u8).map(Scope::prefix).collect();
    assert_eq!(prefixes, ["proc", "sess", "txn", "req", "res"]);
    let all = Capabilities::PIPELINING | Capabilities::ASYNC | Capabilities::FRAGMENTATION;
    assert_eq!(all.names().collect::<Vec<_>>(), ["pipelining", "async", "fragmentation"]);
    assert_eq!(all.without(Capabilities::ASYNC).names().collect::<Vec<_>>(), ["pipelining", "fragmentation"]);
    assert!(all.contains(Capabilities::NONE) && !Capabilities::NONE.contains(Capabilities::ASYNC));
}

#[test]
fn values_from_and_to_rust_types() {
    let v4 = Ipv4Addr::new(192, 0, 2, 1);
    let v6 = Ipv6Addr::LOCALHOST;
    assert_eq!(Value::from(true), Value::Bool(true));
    assert_eq!((Value::from(-1_i32), Value::from(1_u32)), (Value::Int32(-1), Value::UInt32(1)));
    assert_eq!((Value::from(-1_i64), Value::from(1_u64)), (Value::Int64(-1), Value::UInt64(1)));
    assert_eq!((Value::from(v4), Value::from(v6)), (Value::Ipv4(v4), Value::Ipv6(v6)));
    assert_eq!(Value::from("text"), Value::String(b"text"));

    let integers = [Value::Int32(-1), Value::UInt32(u32::MAX), Value::Int64(i64::MIN), Value::UInt64(u64::MAX)];
    let expected = [-1, i128::from(u32::MAX), i128::from(i64::MIN), i128::from(u64::MAX)];
    assert_eq!(integers.map(|v| v.as_integer()), expected.map(Some));
    assert_eq!(
        (Value::Bool(true).as_bool(), Value::Bool(true).as_integer(), Value::Null.as_bool()),
        (Some(true), None, None)
    );
    let (text, broken, binary) = (Value::String(b"text"), Value::String(b"\xff"), Value::Binary(b"text"));
    assert_eq!([text.as_str(), broken.as_str(), binary.as_str()], [Some("text"), None, None]);
    assert_eq!(
        [text.as_bytes(), broken.as_bytes(), binary.as_bytes()],
        [Some(&b"text"[..]), Some(b"\xff"), Some(b"text")]
    );
    assert_eq!(Value::Null.as_bytes(), None);

    let kv: Vec<Kv<'_>> = KvList::new(b"\x01k\x00\x01\xff\x00").map(|kv| kv.unwrap()).collect();
    assert_eq!((kv[0].key_str(), kv[1].key_str()), (Some("k"), None));
    let message = Messages::new(b"\x01\xff\x00").next().unwrap().unwrap();
    assert_eq!(message.name_str(), None);
    let header = Header::new(FrameType::ACK, spop_core::StreamId(240), spop_core::FrameId(2288));
    assert_eq!(header.encoded_len(), 5 + 2 + 3);
}
