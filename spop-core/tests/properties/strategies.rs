//! Arbitrary values, messages, actions and streams of frames.

use proptest::collection::vec;
use proptest::prelude::*;
use spop_core::{Capabilities, FrameType, Scope, Value};

use crate::common::owned::{Act, Msg, Pair, Val, payload};
use crate::common::{Ids, hello, raw_frame};

/// Any number, those around the steps of the varint more often.
pub(super) fn number() -> impl Strategy<Value = u64> {
    let edge = (0_usize..11, -2_i64..3).prop_map(|(step, off)| {
        let edges = [0, 240, 2288, 264_432, 33_818_864, 1 << 31, 1 << 32, 4_328_786_160, 1 << 62, 1 << 63, u64::MAX];
        edges[step].wrapping_add_signed(off)
    });
    prop_oneof![any::<u64>(), 0_u64..300, edge]
}

pub(super) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 236..244), 1 => vec(any::<u8>(), 2286..2290)]
}

/// A key; short, so that the same one comes again.
pub(super) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(b'a'..b'd', 0..3), 1 => bytes()]
}

pub(super) fn value() -> impl Strategy<Value = Val> {
    prop_oneof![
        Just(Val::Plain(Value::Null)),
        any::<bool>().prop_map(|b| Val::Plain(Value::Bool(b))),
        any::<i32>().prop_map(|n| Val::Plain(Value::Int32(n))),
        any::<u32>().prop_map(|n| Val::Plain(Value::UInt32(n))),
        number().prop_map(|n| Val::Plain(Value::Int64(n as i64))),
        number().prop_map(|n| Val::Plain(Value::UInt64(n))),
        any::<[u8; 4]>().prop_map(|ip| Val::Plain(Value::Ipv4(ip.into()))),
        any::<[u8; 16]>().prop_map(|ip| Val::Plain(Value::Ipv6(ip.into()))),
        bytes().prop_map(Val::String),
        bytes().prop_map(Val::Binary),
    ]
}

pub(super) fn pairs(most: usize) -> impl Strategy<Value = Vec<Pair>> {
    vec((key(), value()), 0..=most)
}

pub(super) fn messages() -> impl Strategy<Value = Vec<Msg>> {
    let args = prop_oneof![20 => pairs(6).boxed(), 1 => vec((Just(Vec::new()), Just(Val::Plain(Value::Null))), 250..256).boxed()];
    vec((key(), args).prop_map(|(name, args)| Msg { name, args }), 0..5)
}

pub(super) fn actions() -> impl Strategy<Value = Vec<Act>> {
    let scope = (0_u8..5).prop_map(|s| Scope::from_u8(s).unwrap());
    let act = prop_oneof![
        (scope.clone(), key(), value()).prop_map(|(scope, name, value)| Act::Set(scope, name, value)),
        (scope, key()).prop_map(|(scope, name)| Act::Unset(scope, name)),
    ];
    vec(act, 0..8)
}

pub(super) fn any_capabilities() -> impl Strategy<Value = Capabilities> {
    let all = [Capabilities::PIPELINING, Capabilities::ASYNC, Capabilities::FRAGMENTATION];
    (0_u8..8)
        .prop_map(move |bits| (0..3).filter(|i| bits >> i & 1 == 1).fold(Capabilities::NONE, |set, i| set | all[i]))
}

fn small_ids() -> impl Strategy<Value = Ids> {
    (0_u64..3, 0_u64..2)
}

/// Frames that a peer may send, in any order, whether it makes sense or not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let frame_type = prop_oneof![0_u8..5, 100_u8..105, any::<u8>()].prop_map(FrameType);
    let flags = prop_oneof![8 => 0_u32..4, 1 => any::<u32>()];
    prop_oneof![
        6 => (small_ids(), messages()).prop_map(|(ids, list)| raw_frame(FrameType::NOTIFY, 1, ids, &payload(&list))),
        3 => (0_u32..2, small_ids(), vec(any::<u8>(), 0..40))
            .prop_map(|(flags, ids, bytes)| raw_frame(FrameType::NOTIFY, flags, ids, &bytes)),
        6 => (0_u32..4, small_ids(), vec(any::<u8>(), 0..40))
            .prop_map(|(flags, ids, bytes)| raw_frame(FrameType::UNSET, flags, ids, &bytes)),
        6 => small_ids().prop_map(|ids| raw_frame(FrameType::ACK, 1, ids, b"")),
        2 => (frame_type, flags, small_ids(), vec(any::<u8>(), 0..20))
            .prop_map(|(frame_type, flags, ids, bytes)| raw_frame(frame_type, flags, ids, &bytes)),
        1 => any::<bool>().prop_map(|agent| {
            let frame_type = if agent { FrameType::AGENT_DISCONNECT } else { FrameType::HAPROXY_DISCONNECT };
            raw_frame(frame_type, 1, (0, 0), b"\x0bstatus-code\x03\x02\x07message\x08\x01x")
        }),
        1 => vec(any::<u8>(), 0..20),
    ]
}

/// A stream: mostly a HELLO first, then any pieces; some bytes may be changed and the end may be missing.
pub(super) fn stream(agent: bool) -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        9 => (prop_oneof![Just(16380_u32), 250_u32..300], any_capabilities())
            .prop_map(move |(size, capabilities)| hello(agent, size, capabilities)),
        1 => piece(),
    ];
    let changes =
        prop_oneof![2 => Just(Vec::new()).boxed(), 1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..4).boxed()];
    (first, vec(piece(), 0..12), changes, 0_usize..4).prop_map(|(first, rest, changes, cut)| {
        let mut bytes = [first, rest.concat()].concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len().max(1));
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        bytes
    })
}
