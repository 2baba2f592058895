//! Typed data (SPOE.txt, section 3.1): a byte with the type and flags, then the value.

use core::fmt::{self, Write as _};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{DecodeError, DecodeReason};
use crate::reader::Reader;
use crate::varint;

/// The type numbers of typed data, the low four bits of the first byte.
pub mod data_type {
    /// NULL.
    pub const NULL: u8 = 0;
    /// BOOL; flag bit 0 is its value.
    pub const BOOL: u8 = 1;
    /// INT32.
    pub const INT32: u8 = 2;
    /// UINT32.
    pub const UINT32: u8 = 3;
    /// INT64.
    pub const INT64: u8 = 4;
    /// UINT64.
    pub const UINT64: u8 = 5;
    /// IPV4.
    pub const IPV4: u8 = 6;
    /// IPV6.
    pub const IPV6: u8 = 7;
    /// STRING.
    pub const STRING: u8 = 8;
    /// BINARY.
    pub const BINARY: u8 = 9;
}

const TYPE_MASK: u8 = 0x0F;
const FLAG_TRUE: u8 = 0x10;

/// A typed value that borrows its bytes.
///
/// HAProxy sends `Null`, `Bool`, `Int64`, `Ipv4`, `Ipv6`, `String` and `Binary` as arguments, never the other three.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value<'a> {
    /// No value: HAProxy's fetch found nothing. As the value of a set-var it unsets the variable.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed integer of 32 bits. Prefer [`Int64`](Value::Int64), which every HAProxy reads the same way.
    Int32(i32),
    /// An unsigned integer of 32 bits.
    UInt32(u32),
    /// A signed integer of 64 bits.
    Int64(i64),
    /// An unsigned integer of 64 bits. HAProxy takes values above `i64::MAX` for negative ones.
    UInt64(u64),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A string: bytes, not necessarily UTF-8, NUL included.
    String(&'a [u8]),
    /// Binary data.
    Binary(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads a value. Flags are ignored, but for the value bit of BOOL.
    ///
    /// # Errors
    /// [`DecodeReason::Truncated`], the varint errors, [`DecodeReason::ReservedType`] for the types 10 to 15,
    /// [`DecodeReason::IntegerOutOfRange`] for a 32-bit type with a larger value.
    #[inline(never)]
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut rest = reader.remaining();
        let Some(value) = Self::take(&mut rest) else { return Err(Self::error(*reader)) };
        *reader = reader.advanced_to(rest);
        Ok(value)
    }

    /// Takes the value at the start of `bytes`; `None` for any error.
    #[inline(always)]
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        Some(match first & TYPE_MASK {
            data_type::NULL => Value::Null,
            data_type::BOOL => Value::Bool(first & FLAG_TRUE != 0),
            data_type::INT32 => Value::Int32(int32(varint::take(bytes)?)?),
            data_type::UINT32 => Value::UInt32(uint32(varint::take(bytes)?)?),
            data_type::INT64 => Value::Int64(varint::take(bytes)? as i64),
            data_type::UINT64 => Value::UInt64(varint::take(bytes)?),
            data_type::IPV4 => Value::Ipv4(Ipv4Addr::from(take_array::<4>(bytes)?)),
            data_type::IPV6 => Value::Ipv6(Ipv6Addr::from(take_array::<16>(bytes)?)),
            data_type::STRING => Value::String(varint::take_string(bytes)?),
            data_type::BINARY => Value::Binary(varint::take_string(bytes)?),
            _ => return None,
        })
    }

    /// Why there is no value at `reader`.
    #[cold]
    #[inline(never)]
    pub(crate) fn error(mut reader: Reader<'_>) -> DecodeError {
        let start = reader.offset();
        let found = reader.u8().and_then(|first| match first & TYPE_MASK {
            data_type::NULL..=data_type::BOOL => Ok(()),
            data_type::INT32..=data_type::UINT64 => reader.varint().map(drop),
            data_type::IPV4 => reader.bytes(4).map(drop),
            data_type::IPV6 => reader.bytes(16).map(drop),
            data_type::STRING..=data_type::BINARY => reader.string().map(drop),
            reserved => Err(DecodeError::new(DecodeReason::ReservedType(reserved), start)),
        });
        found.err().unwrap_or(DecodeError::new(DecodeReason::IntegerOutOfRange, start))
    }

    /// The position behind the value at `at`, maybe beyond the end of `bytes`; `None` if [`decode`](Self::decode)
    /// would fail for another reason.
    #[inline(always)]
    pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
        let first = *bytes.get(at)?;
        let at = at + 1;
        match first & TYPE_MASK {
            data_type::NULL | data_type::BOOL => Some(at),
            data_type::STRING | data_type::BINARY => varint::skip_string(bytes, at),
            data_type::INT64 | data_type::UINT64 => Some(varint::read(bytes, at)?.1),
            data_type::IPV4 => Some(at + 4),
            data_type::IPV6 => Some(at + 16),
            data_type::INT32 => varint::read(bytes, at).filter(|&(n, _)| int32(n).is_some()).map(|r| r.1),
            data_type::UINT32 => varint::read(bytes, at).filter(|&(n, _)| uint32(n).is_some()).map(|r| r.1),
            _ => None,
        }
    }

    /// Number of bytes of the encoding, type byte included.
    pub const fn encoded_len(&self) -> usize {
        1 + match *self {
            Value::Null | Value::Bool(_) => 0,
            Value::Int32(n) => varint::len(n as i64 as u64),
            Value::UInt32(n) => varint::len(n as u64),
            Value::Int64(n) => varint::len(n as u64),
            Value::UInt64(n) => varint::len(n),
            Value::Ipv4(_) => 4,
            Value::Ipv6(_) => 16,
            Value::String(bytes) | Value::Binary(bytes) => varint::len(bytes.len() as u64).saturating_add(bytes.len()),
        }
    }

    /// The type number, 0 to 9.
    pub const fn data_type(&self) -> u8 {
        match self {
            Value::Null => data_type::NULL,
            Value::Bool(_) => data_type::BOOL,
            Value::Int32(_) => data_type::INT32,
            Value::UInt32(_) => data_type::UINT32,
            Value::Int64(_) => data_type::INT64,
            Value::UInt64(_) => data_type::UINT64,
            Value::Ipv4(_) => data_type::IPV4,
            Value::Ipv6(_) => data_type::IPV6,
            Value::String(_) => data_type::STRING,
            Value::Binary(_) => data_type::BINARY,
        }
    }

    /// The name of the type in the specification, such as `INT64`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Bool(_) => "BOOL",
            Value::Int32(_) => "INT32",
            Value::UInt32(_) => "UINT32",
            Value::Int64(_) => "INT64",
            Value::UInt64(_) => "UINT64",
            Value::Ipv4(_) => "IPV4",
            Value::Ipv6(_) => "IPV6",
            Value::String(_) => "STRING",
            Value::Binary(_) => "BINARY",
        }
    }

    /// The first byte of the encoding.
    #[inline(always)]
    pub(crate) const fn type_byte(&self) -> u8 {
        let flags = if matches!(self, Value::Bool(true)) { FLAG_TRUE } else { 0 };
        self.data_type() | flags
    }

    /// The text of a STRING, if it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Value::String(bytes) => core::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a STRING or BINARY.
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Value::String(bytes) | Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The value of any of the four integer types; `i128` holds them all.
    pub const fn as_integer(&self) -> Option<i128> {
        match *self {
            Value::Int32(n) => Some(n as i128),
            Value::UInt32(n) => Some(n as i128),
            Value::Int64(n) => Some(n as i128),
            Value::UInt64(n) => Some(n as i128),
            _ => None,
        }
    }

    /// The address of an IPV4 or IPV6.
    pub const fn as_ip(&self) -> Option<IpAddr> {
        match *self {
            Value::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Value::Ipv6(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        }
    }

    /// The value of a BOOL.
    pub const fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }
}

#[inline(always)]
fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (&array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(array)
}

/// The INT32 of this encoding, which is sign-extended to 64 bits.
fn int32(n: u64) -> Option<i32> {
    i32::try_from(n as i64).ok()
}

fn uint32(n: u64) -> Option<u32> {
    u32::try_from(n).ok()
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for Value<'_> {
            #[inline]
            fn from(value: $source) -> Self {
                Value::$variant(value)
            }
        }
    )*};
}
from! { bool => Bool, i32 => Int32, u32 => UInt32, i64 => Int64, u64 => UInt64, Ipv4Addr => Ipv4, Ipv6Addr => Ipv6 }

impl From<IpAddr> for Value<'_> {
    #[inline]
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Value::Ipv4(ip),
            IpAddr::V6(ip) => Value::Ipv6(ip),
        }
    }
}

/// A STRING.
impl<'a> From<&'a str> for Value<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Value::String(text.as_bytes())
    }
}

/// BINARY data.
impl<'a> From<&'a [u8]> for Value<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Value::Binary(bytes)
    }
}

/// BINARY data.
impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Self {
        Value::Binary(bytes)
    }
}

/// NULL for `None`.
impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    #[inline]
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> From<&Self> for Value<'a> {
    #[inline(always)]
    fn from(value: &Self) -> Self {
        *value
    }
}

/// For people: strings as they are (what is not UTF-8 replaced), binary data in hex, `null`. The type is not shown, see
/// [`Value::type_name`].
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => f.write_str(if b { "true" } else { "false" }),
            Value::Int32(n) => n.fmt(f),
            Value::UInt32(n) => n.fmt(f),
            Value::Int64(n) => n.fmt(f),
            Value::UInt64(n) => n.fmt(f),
            Value::Ipv4(ip) => fmt_ipv4(ip, f),
            Value::Ipv6(ip) => fmt_ipv6(ip, f),
            Value::String(bytes) => bytes.utf8_chunks().try_for_each(|chunk| {
                f.write_str(chunk.valid())?;
                if chunk.invalid().is_empty() {
                    return Ok(());
                }
                f.write_char(char::REPLACEMENT_CHARACTER)
            }),
            Value::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

// Core's own way from addresses to text contains panics; this crate has none.
fn fmt_ipv4(ip: Ipv4Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [a, b, c, d] = ip.octets();
    write!(f, "{a}.{b}.{c}.{d}")
}

/// As RFC 5952 has it: the first of the longest runs of two zeros or more is left out.
fn fmt_ipv6(ip: Ipv6Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(v4) = ip.to_ipv4_mapped() {
        f.write_str("::ffff:")?;
        return fmt_ipv4(v4, f);
    }
    let (mut longest, mut run) = (0..0, 0..0);
    for (at, segment) in ip.segments().into_iter().enumerate() {
        run = if segment == 0 { run.start..at + 1 } else { at + 1..at + 1 };
        if run.len() > longest.len().max(1) {
            longest = run.clone();
        }
    }
    for (at, segment) in ip.segments().into_iter().enumerate() {
        if longest.contains(&at) {
            f.write_str(if at == longest.start { "::" } else { "" })?;
        } else {
            let first = at == 0 || at == longest.end;
            write!(f, "{}{segment:x}", if first { "" } else { ":" })?;
        }
    }
    Ok(())
}
