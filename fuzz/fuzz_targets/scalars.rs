//! Varints, typed values and the cursor's calls in any order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_core::{Reader, Value};
use spop_fuzz::common::laws::{bytes, round_trip};
use spop_fuzz::common::owned::Val;

fuzz_target!(|input: &[u8]| {
    round_trip::varint_bytes(input);
    bytes::long_varint(input);
    if let Ok(value) = Value::decode(&mut Reader::new(input)) {
        round_trip::value(&match value {
            Value::String(bytes) => Val::String(bytes.to_vec()),
            Value::Binary(bytes) => Val::Binary(bytes.to_vec()),
            Value::Null => Val::Plain(Value::Null),
            Value::Bool(b) => Val::Plain(Value::Bool(b)),
            Value::Int32(n) => Val::Plain(Value::Int32(n)),
            Value::UInt32(n) => Val::Plain(Value::UInt32(n)),
            Value::Int64(n) => Val::Plain(Value::Int64(n)),
            Value::UInt64(n) => Val::Plain(Value::UInt64(n)),
            Value::Ipv4(ip) => Val::Plain(Value::Ipv4(ip)),
            Value::Ipv6(ip) => Val::Plain(Value::Ipv6(ip)),
        });
    }
    // The first bytes say what to read from the others.
    let Some((&[calls], rest)) = input.split_first_chunk() else { return };
    let Some((calls, rest)) = rest.split_at_checked(usize::from(calls % 64)) else { return };
    bytes::reader(rest, calls.iter().map(|call| (call % 7, u64::from(call / 7))));
});
