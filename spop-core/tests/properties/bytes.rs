//! Any bytes at all: no panic, no endless walk, errors that point into the input.

use proptest::collection::vec;
use proptest::prelude::*;
use spop_core::{
    peek_len, supports_2_0, varint, Actions, AgentConfig, AgentHello, Capabilities, ClientConfig, DecodeError,
    DecodeReason, Disconnect, Frame, HaproxyHello, KvList, Messages, Reader, Value, Version,
};

use crate::common::{AgentSide, ClientSide};

/// Bytes that look like the protocol's now and then.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0_u8..12, 1 => 100_u8..104, 1 => 0xEE_u8..=0xFF, 1 => any::<u8>()];
    prop_oneof![vec(byte, 0..80), vec(any::<u8>(), 0..80)]
}

/// Takes all items; the first error, after which nothing comes. Each item is two bytes or more, so that the walk is
/// bounded by the input.
fn walk<T>(mut items: impl Iterator<Item = Result<T, DecodeError>>, bytes: &[u8]) -> Option<DecodeError> {
    for _ in 0..=bytes.len() / 2 {
        match items.next()? {
            Ok(_) => {}
            Err(error) => {
                assert!(error.offset <= bytes.len(), "{error:?}");
                assert!(items.next().is_none() && items.next().is_none(), "not fused");
                return Some(error);
            }
        }
    }
    assert!(items.next().is_none(), "more items than bytes allow");
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn lists(bytes in any_bytes()) {
        walk(KvList::new(&bytes), &bytes);
        walk(Actions::new(&bytes), &bytes);
        let error = walk(Messages::new(&bytes), &bytes);
        prop_assert_eq!(Messages::new(&bytes).validate().err(), error);
        // The walk over the messages finds the first error of all, in their arguments too.
        let mut first = None;
        'messages: for message in Messages::new(&bytes) {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    first = Some(error);
                    break;
                }
            };
            for arg in message.args() {
                if let Err(error) = arg {
                    first = Some(error);
                    break 'messages;
                }
            }
            prop_assert!(message.arg(b"\0").is_ok());
        }
        prop_assert_eq!(first, error);
    }

    #[test]
    fn frames(bytes in any_bytes(), max in any::<u32>()) {
        match peek_len(&bytes, max) {
            Ok(None) => prop_assert!(bytes.len() < 4),
            Ok(Some(total)) => prop_assert!((11..=max as usize + 4).contains(&total)),
            Err(error) => prop_assert!(error.offset == 0 && [3, 4].contains(&error.status().0)),
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.header.encoded_len() + frame.payload.len(), bytes.len());
            for error in [
                walk(frame.kv(), &bytes),
                walk(frame.actions(), &bytes),
                walk(frame.messages(), &bytes),
                HaproxyHello::parse(&frame).err(),
                AgentHello::parse(&frame).err(),
                Disconnect::parse(&frame).err(),
            ].into_iter().flatten() {
                prop_assert!(error.offset <= bytes.len());
                prop_assert!((4..=7).contains(&error.status().0));
                prop_assert!(error.to_string().ends_with(&format!("at byte {}", error.offset)), "{}", error);
            }
        }
    }

    #[test]
    fn texts(bytes in vec(prop_oneof![Just(b' '), Just(b','), Just(b'.'), b'0'..=b'9', any::<u8>()], 0..40)) {
        prop_assert_eq!(supports_2_0(&bytes), bytes.split(|b| *b == b',').any(|item| {
            Version::parse(item).is_some_and(|v| v.major == 2)
        }));
        if let Some(version) = Version::parse(&bytes) {
            prop_assert!(version.major > 0 && version.minor < 1000);
        }
        let set = Capabilities::parse(&bytes);
        let names: Vec<&str> = set.names().collect();
        prop_assert_eq!(Capabilities::parse(names.join(",").as_bytes()), set);
    }

    /// The sum of the protocol text, in 128 bits.
    #[test]
    fn long_varints(first in 0xF0_u8..=0xFF, middle in vec(0x80_u8..=0xFF, 0..11), last in 0_u8..0x80) {
        let steps = middle.iter().chain([&last]).zip((4..).step_by(7));
        let sum = steps.fold(u128::from(first), |sum, (byte, shift)| sum + (u128::from(*byte) << shift));
        let bytes = [&[first], &middle[..], &[last]].concat();
        let expected = match u64::try_from(sum) {
            _ if bytes.len() > varint::MAX_LEN => Err(DecodeReason::VarintTooLong),
            Ok(sum) => Ok((sum, bytes.len())),
            Err(_) => Err(DecodeReason::VarintOverflow),
        };
        prop_assert_eq!(varint::decode(&bytes).map_err(|e| e.reason), expected);
    }

    /// Each call moves forward within the input, or fails.
    #[test]
    fn reader(bytes in any_bytes(), calls in vec((0_u8..7, any::<u64>()), 0..60)) {
        let mut reader = Reader::new(&bytes);
        for (call, n) in calls {
            let before = reader.offset();
            let ok = match call {
                0 => reader.u8().is_ok(),
                1 => reader.u32_be().is_ok(),
                2 => reader.array::<16>().is_ok(),
                3 => reader.bytes(if n % 2 == 0 { n } else { n % 8 }).is_ok(),
                4 => reader.varint().is_ok(),
                5 => reader.string().is_ok(),
                _ => Value::decode(&mut reader).is_ok(),
            };
            prop_assert!(reader.offset() >= before && (!ok || call == 3 || reader.offset() > before));
            prop_assert_eq!(reader.offset() + reader.remaining().len(), bytes.len());
            prop_assert_eq!(reader.remaining(), &bytes[reader.offset()..]);
        }
    }

    /// The drivers fail on a machine that goes on without an end.
    #[test]
    fn machines(bytes in any_bytes(), agreed in any::<bool>()) {
        let mut agent: AgentSide = AgentSide::new(AgentConfig::DEFAULT);
        let mut client: ClientSide = ClientSide::new(ClientConfig::DEFAULT);
        client.flush();
        if agreed {
            agent.feed(&client.sent.concat());
            client.feed(&agent.take_sent().concat());
            client.notify((0, 0)).unwrap();
        }
        agent.feed(&bytes);
        client.feed(&bytes);
        prop_assert!(agent.input.is_empty() || !agent.agent.is_closed());
        prop_assert!(client.input.is_empty() || !client.client.is_closed());
    }
}
