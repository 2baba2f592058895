//! Arbitrary values, messages and actions.

use arbitrary::{Arbitrary, Result, Unstructured};
use spop_core::{Capabilities, Scope, Value};

use crate::common::owned::{Act, Msg, Pair, Val};

/// Any number, those around the steps of the varint more often.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub u64);

impl<'a> Arbitrary<'a> for Number {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        const STEPS: [u64; 9] =
            [240, 2288, 264_432, 33_818_864, 1 << 31, 1 << 32, 4_328_786_160, 1 << 63, 70_922_828_777_712];
        Ok(Number(match u.arbitrary::<u8>()? {
            small @ 0..=127 => u64::from(small),
            128..=191 => u.choose(&STEPS)?.wrapping_add_signed(u.int_in_range(-2..=2)?),
            _ => u.arbitrary()?,
        }))
    }
}

/// A few bytes, seldom as many as need a longer length.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Bytes {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let len = match u.arbitrary::<u8>()? {
            short @ 0..=247 => usize::from(short % 16),
            248..=251 => u.int_in_range(236..=244)?,
            _ => u.int_in_range(2284..=2291)?,
        };
        let mut bytes = u.bytes(len.min(u.len()))?.to_vec();
        bytes.resize(len, b'.');
        Ok(Bytes(bytes))
    }
}

impl<'a> Arbitrary<'a> for Val {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let number = |u: &mut Unstructured<'a>| u.arbitrary().map(|Number(n)| n);
        Ok(match u.int_in_range(0..=9)? {
            0 => Val::Plain(Value::Null),
            1 => Val::Plain(Value::Bool(u.arbitrary()?)),
            2 => Val::Plain(Value::Int32(number(u)? as i32)),
            3 => Val::Plain(Value::UInt32(number(u)? as u32)),
            4 => Val::Plain(Value::Int64(number(u)? as i64)),
            5 => Val::Plain(Value::UInt64(number(u)?)),
            6 => Val::Plain(Value::Ipv4(u.arbitrary()?)),
            7 => Val::Plain(Value::Ipv6(u.arbitrary()?)),
            8 => Val::String(u.arbitrary::<Bytes>()?.0),
            _ => Val::Binary(u.arbitrary::<Bytes>()?.0),
        })
    }
}

/// Pairs of key and value, at most 255: more arguments a message cannot have.
#[derive(Clone, Debug)]
pub struct Pairs(pub Vec<Pair>);

impl<'a> Arbitrary<'a> for Pairs {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let pairs = u.arbitrary_iter::<(Bytes, Val)>()?.take(255);
        Ok(Pairs(pairs.map(|pair| pair.map(|(Bytes(key), value)| (key, value))).collect::<Result<_>>()?))
    }
}

impl<'a> Arbitrary<'a> for Msg {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Msg { name: u.arbitrary::<Bytes>()?.0, args: u.arbitrary::<Pairs>()?.0 })
    }
}

impl<'a> Arbitrary<'a> for Act {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let scope = Scope::from_u8(u.int_in_range(0..=4)?).unwrap_or(Scope::Process);
        let Bytes(name) = u.arbitrary()?;
        Ok(if u.arbitrary()? { Act::Set(scope, name, u.arbitrary()?) } else { Act::Unset(scope, name) })
    }
}

/// The capabilities of the lowest three bits.
pub fn capabilities(bits: u8) -> Capabilities {
    let all = [Capabilities::PIPELINING, Capabilities::ASYNC, Capabilities::FRAGMENTATION];
    (0..).zip(all).filter(|(at, _)| bits >> at & 1 == 1).fold(Capabilities::NONE, |set, (_, one)| set | one)
}
