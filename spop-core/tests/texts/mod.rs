//! What people read: names, reasons, errors; and the short ways from and to values.

use std::collections::HashSet;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use spop_core::{
    AckEncoder, AckError, Capabilities, DecodeReason, EncodeError, Flags, Frame, FrameId, FrameType, Header, Kv,
    KvList, Messages, NotifyEncoder, NotifyError, ProtocolError, Scope, Status, StreamId, Timer, Value, Version,
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
    let first = |payload: &[u8]| Messages::new(payload).validate().map(drop).unwrap_err().to_string();
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

/// What `Display` shows `FromStr` reads, and nothing else.
#[test]
fn names_and_back() {
    for scope in Scope::ALL {
        assert_eq!((scope.to_string().as_str(), scope.to_string().parse()), (scope.prefix(), Ok(scope)));
    }
    assert_eq!(format!("{:>5}|", Scope::Request), "  req|");
    for wrong in ["", "SESS", "session", "sess ", "sess."] {
        let error = wrong.parse::<Scope>().unwrap_err();
        assert_eq!(error.to_string(), "expected proc, sess, txn, req or res");
    }
    for text in ["2.0", "2.999", "4294967295.0"] {
        assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
    }
    assert_eq!("2".parse::<Version>().unwrap_err().to_string(), "expected a version such as 2.0");
    let all = [Capabilities::PIPELINING, Capabilities::ASYNC, Capabilities::FRAGMENTATION];
    for bits in 0..8 {
        let mut set = Capabilities::NONE;
        all.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).for_each(|(_, &one)| set |= one);
        assert_eq!(set.to_string().parse(), Ok(set), "{set}");
        assert_eq!(Capabilities::parse(set.to_string().as_bytes()), set);
    }
    assert_eq!(" async , pipelining ".parse(), Ok(Capabilities::ASYNC | Capabilities::PIPELINING));
    for wrong in ["pipelinig", "async,", "async x", "PIPELINING"] {
        assert!(wrong.parse::<Capabilities>().is_err(), "{wrong}");
    }
    let mut flags = Flags::FIN;
    flags |= Flags(1 << 31);
    assert_eq!((flags, Flags::FIN | Flags::ABORT), (Flags(0x8000_0001), Flags(3)));
}

#[test]
fn values_as_people_read_them() {
    let shown = [
        (Value::Null, "null", "NULL"),
        (Value::Bool(false), "false", "BOOL"),
        (Value::Int32(i32::MIN), "-2147483648", "INT32"),
        (Value::UInt32(u32::MAX), "4294967295", "UINT32"),
        (Value::Int64(i64::MIN), "-9223372036854775808", "INT64"),
        (Value::UInt64(u64::MAX), "18446744073709551615", "UINT64"),
        (Value::Ipv4(Ipv4Addr::new(192, 0, 2, 255)), "192.0.2.255", "IPV4"),
        (Value::Ipv6(Ipv6Addr::LOCALHOST), "::1", "IPV6"),
        (Value::String("gr\u{fc}n \u{1f600}".as_bytes()), "gr\u{fc}n \u{1f600}", "STRING"),
        (Value::String(b"a\xffb\xf0\x9f"), "a\u{fffd}b\u{fffd}", "STRING"),
        (Value::Binary(&[0, 0x0f, 0xff]), "000fff", "BINARY"),
    ];
    for (at, (value, text, type_name)) in shown.iter().enumerate() {
        assert_eq!((value.to_string().as_str(), value.type_name()), (*text, *type_name), "{at}");
    }
    // As the standard library has it, for every pattern of zeros.
    for zeros in 0..256_u16 {
        for one in [1, 0xabcd, 0xffff] {
            let segments: [u16; 8] = std::array::from_fn(|at| if zeros >> at & 1 == 1 { 0 } else { one });
            let ip = Ipv6Addr::from(segments);
            assert_eq!(Value::Ipv6(ip).to_string(), ip.to_string());
        }
    }
}

/// A user gives names and values as they are.
#[test]
fn encoders_take_what_is_at_hand() {
    let ids = (StreamId(1), FrameId(1));
    let ip = IpAddr::from([192, 0, 2, 1]);
    let owned = String::from("ip");
    let (mut one, mut other) = ([0; 256], [0; 256]);
    let mut ack = AckEncoder::new(&mut one, 256, ids.0, ids.1).unwrap();
    ack.set_var(Scope::Session, &owned, ip).unwrap();
    ack.set_var(Scope::Session, "score", 7_i64).unwrap();
    ack.set_var(Scope::Session, b"name", "text").unwrap();
    ack.set_var(Scope::Session, &b"raw"[..], b"\x01\x02").unwrap();
    ack.set_var(Scope::Session, "none", None::<bool>).unwrap();
    ack.set_var(Scope::Session, "some", Some(true)).unwrap();
    ack.unset_var(Scope::Session, owned).unwrap();
    let mut same = AckEncoder::new(&mut other, 256, ids.0, ids.1).unwrap();
    let values = [
        (&b"ip"[..], Value::Ipv4(Ipv4Addr::new(192, 0, 2, 1))),
        (b"score", Value::Int64(7)),
        (b"name", Value::String(b"text")),
        (b"raw", Value::Binary(b"\x01\x02")),
        (b"none", Value::Null),
        (b"some", Value::Bool(true)),
    ];
    for (name, value) in &values {
        same.set_var(Scope::Session, *name, value).unwrap();
    }
    same.unset_var(Scope::Session, b"ip").unwrap();
    assert_eq!(ack.finish(), same.finish());
    assert_eq!(one, other);

    let mut notify = NotifyEncoder::payload(&mut one);
    notify.message("check").unwrap();
    notify.arg("ip", ip).unwrap();
    let len = notify.finish();
    let message = Messages::new(&one[..len]).next().unwrap().unwrap();
    assert_eq!(message.arg("ip").unwrap().and_then(|value| value.as_ip()), Some(ip));
    assert_eq!(Value::from("192.0.2.1").as_ip(), None);
    assert_eq!(Value::from(Ipv6Addr::LOCALHOST).as_ip(), Some(Ipv6Addr::LOCALHOST.into()));
}

#[test]
fn a_header_shows_before_its_frame_is_whole() {
    let frame = b"\0\0\0\x10\x03\0\0\0\x01\xf0\x00\x07rest";
    let header = Header { flags: Flags::FIN, ..Header::new(FrameType::NOTIFY, StreamId(240), FrameId(7)) };
    for len in 0..=frame.len() {
        assert_eq!(Header::peek(&frame[..len]), (len >= 12).then_some(header), "{len} bytes");
    }
}
