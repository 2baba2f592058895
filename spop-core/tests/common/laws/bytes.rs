//! Any bytes at all: no panic, no endless walk, errors that point into the input.

use spop_core::{
    Actions, AgentHello, Capabilities, DecodeError, DecodeReason, Disconnect, Frame, HaproxyHello, Header, KvList,
    Messages, Reader, Status, Value, Version, peek_len, supports_2_0, valid, varint,
};

use crate::common::{check_text, walk};

/// Takes all items; the first error, after which nothing comes. Each item is two bytes or more, so that the walk is
/// bounded by the input.
fn first_error<T>(mut items: impl Iterator<Item = Result<T, DecodeError>>, bytes: &[u8]) -> Option<DecodeError> {
    for _ in 0..=bytes.len() / 2 {
        match items.next()? {
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= bytes.len(), "{error:?}");
                assert_eq!(error.is_truncated(), error.reason == DecodeReason::Truncated);
                assert!(items.next().is_none() && items.next().is_none(), "not fused");
                return Some(error);
            }
        }
    }
    assert!(items.next().is_none(), "more items than bytes allow");
    None
}

pub fn pairs(bytes: &[u8]) {
    first_error(KvList::new(bytes), bytes);
    for kv in KvList::new(bytes).flatten() {
        let _not_utf8 = (kv.key_str(), kv.value.as_str());
    }
}

pub fn actions(bytes: &[u8]) {
    first_error(Actions::new(bytes), bytes);
}

/// However one walks, the same error is the first.
pub fn messages(bytes: &[u8]) {
    let error = first_error(Messages::new(bytes), bytes);
    match Messages::new(bytes).validate() {
        Ok(valid) => {
            assert_eq!(error, None);
            assert_eq!(walk::valid_messages(valid.clone()), walk::messages(Messages::new(bytes)).unwrap());
            assert_eq!(valid.len(), Messages::new(bytes).count());
            assert_eq!(valid::Messages::kept(bytes, usize::MAX).count(), valid.len());
        }
        Err(found) => assert_eq!(Some(found), error),
    }
    // What was never valid is cut short.
    for message in valid::Messages::kept(bytes, bytes.len()) {
        assert!(message.args().count() <= message.args().len());
    }
    let mut thorough = None;
    'messages: for message in Messages::new(bytes) {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                thorough = Some(error);
                break;
            }
        };
        assert_eq!(message.name_str(), std::str::from_utf8(message.name).ok());
        for arg in message.args() {
            if let Err(error) = arg {
                thorough = Some(error);
                break 'messages;
            }
        }
        assert!(message.arg(b"\0").is_ok());
    }
    assert_eq!(thorough, error);
    assert_eq!(resumed(bytes), error);
}

/// The walk that goes through each argument once.
fn resumed(bytes: &[u8]) -> Option<DecodeError> {
    let mut messages = Messages::new(bytes);
    while let Some(message) = messages.next() {
        let mut args = match message {
            Ok(message) => message.args,
            Err(error) => return Some(error),
        };
        for arg in &mut args {
            if let Err(error) = arg {
                return Some(error);
            }
        }
        messages.resume(args);
    }
    None
}

/// The body of a frame, or its start; `max` is a max-frame-size.
pub fn frame(bytes: &[u8], max: u32) {
    match peek_len(bytes, max) {
        Ok(None) => assert!(bytes.len() < 4),
        Ok(Some(total)) => assert!((11..=max as usize + 4).contains(&total)),
        Err(error) => {
            check_text(&error);
            assert!(error.offset == 0 && [3, 4].contains(&error.status().0));
        }
    }
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => return check_text(&error),
    };
    let Frame { header: Header { frame_type, stream_id, frame_id, .. }, .. } = frame;
    assert_eq!(format!("{frame_type:?}"), frame_type.name().map_or(frame_type.0.to_string(), str::to_owned));
    assert_eq!(format!("{stream_id} {frame_id}"), format!("{} {}", stream_id.0, frame_id.0));
    assert_eq!(frame.header.encoded_len() + frame.payload.len(), bytes.len());
    let again = Frame::new(frame.header, frame.payload);
    assert_eq!(again, frame);
    if let Ok(disconnect) = Disconnect::parse(&frame) {
        assert_eq!(disconnect.message_str(), std::str::from_utf8(disconnect.message).ok());
        let status = disconnect.status.unwrap_or(Status::NORMAL);
        assert_eq!(status.to_string(), format!("{} ({})", status.0, status.reason()));
    }
    for error in [
        first_error(frame.kv(), bytes),
        first_error(frame.actions(), bytes),
        first_error(frame.messages(), bytes),
        HaproxyHello::parse(&frame).err(),
        AgentHello::parse(&frame).err(),
        Disconnect::parse(&frame).err(),
        walk::payload(&frame).err(),
    ]
    .into_iter()
    .flatten()
    {
        assert!(error.offset <= bytes.len());
        assert!((4..=7).contains(&error.status().0));
        assert!(error.to_string().ends_with(&format!("at byte {}", error.offset)), "{error}");
    }
}

/// Versions and capabilities.
pub fn texts(bytes: &[u8]) {
    let has_major_2 = |item| Version::parse(item).is_some_and(|version| version.major == 2);
    assert_eq!(supports_2_0(bytes), bytes.split(|b| *b == b',').any(has_major_2));
    if let Some(version) = Version::parse(bytes) {
        assert!(version.major > 0 && version.minor < 1000);
    }
    let set = Capabilities::parse(bytes);
    let names: Vec<&str> = set.names().collect();
    assert_eq!(Capabilities::parse(names.join(",").as_bytes()), set);
}

/// The sum of the protocol text, in 128 bits, for a varint of these bytes.
pub fn long_varint(bytes: &[u8]) {
    let Some((first, more)) = bytes.split_first().filter(|(first, _)| **first >= 240) else { return };
    let Some(last) = more.iter().position(|byte| *byte < 128) else {
        let too_long = bytes.len() >= varint::MAX_LEN;
        let reason = if too_long { DecodeReason::VarintTooLong } else { DecodeReason::Truncated };
        assert_eq!(varint::decode(bytes).map_err(|e| e.reason), Err(reason));
        return;
    };
    let steps = more[..=last].iter().zip((4_u32..).step_by(7));
    let sum = steps.take(16).fold(u128::from(*first), |sum, (byte, shift)| sum + (u128::from(*byte) << shift));
    let len = last + 2;
    let expected = match u64::try_from(sum) {
        _ if len > varint::MAX_LEN => Err(DecodeReason::VarintTooLong),
        Ok(sum) => Ok((sum, len)),
        Err(_) => Err(DecodeReason::VarintOverflow),
    };
    assert_eq!(varint::decode(bytes).map_err(|e| e.reason), expected);
}

/// Each call moves forward within the input, or fails.
pub fn reader(bytes: &[u8], calls: impl IntoIterator<Item = (u8, u64)>) {
    let mut reader = Reader::new(bytes);
    for (call, n) in calls {
        let before = reader.offset();
        let ok = match call % 7 {
            0 => reader.u8().is_ok(),
            1 => reader.u32_be().is_ok(),
            2 => reader.array::<16>().is_ok(),
            3 => reader.bytes(if n % 2 == 0 { n } else { n % 8 }).is_ok(),
            4 => reader.varint().is_ok(),
            5 => reader.string().is_ok(),
            _ => Value::decode(&mut reader).is_ok(),
        };
        assert!(reader.offset() >= before && (!ok || call % 7 == 3 || reader.offset() > before));
        assert_eq!(reader.offset() + reader.remaining().len(), bytes.len());
        assert_eq!(reader.remaining(), &bytes[reader.offset()..]);
    }
}
