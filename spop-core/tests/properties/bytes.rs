//! Any bytes at all: no panic, no endless walk, errors that point into the input.

use proptest::collection::vec;
use proptest::prelude::*;
use spop_core::{AgentConfig, ClientConfig};

use crate::common::laws::bytes;
use crate::common::{AgentSide, ClientSide};

/// Bytes that look like the protocol's now and then.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0_u8..12, 1 => 100_u8..104, 1 => 0xEE_u8..=0xFF, 1 => any::<u8>()];
    prop_oneof![vec(byte, 0..80), vec(any::<u8>(), 0..80)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn lists(bytes in any_bytes()) {
        bytes::pairs(&bytes);
        bytes::actions(&bytes);
        bytes::messages(&bytes);
    }

    #[test]
    fn frames(bytes in any_bytes(), max in any::<u32>()) {
        bytes::frame(&bytes, max);
    }

    #[test]
    fn texts(bytes in vec(prop_oneof![Just(b' '), Just(b','), Just(b'.'), b'0'..=b'9', any::<u8>()], 0..40)) {
        bytes::texts(&bytes);
    }

    #[test]
    fn long_varints(first in 0xF0_u8..=0xFF, middle in vec(0x80_u8..=0xFF, 0..11), last in any::<u8>()) {
        bytes::long_varint(&[&[first], &middle[..], &[last]].concat());
    }

    #[test]
    fn reader(bytes in any_bytes(), calls in vec((0_u8..7, any::<u64>()), 0..60)) {
        bytes::reader(&bytes, calls);
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
