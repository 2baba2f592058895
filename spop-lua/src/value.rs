//! SPOP's typed values as Lua values and back.
//!
//! | SPOP | Lua |
//! | --- | --- |
//! | NULL | nil |
//! | BOOL | boolean |
//! | INT32, UINT32, INT64, UINT64 | integer; a UINT64 above 2^63-1 has the same 64 bits, so it is negative |
//! | IPV4, IPV6 | string, in the usual notation |
//! | STRING, BINARY | string |
//!
//! LuaJIT has no integers: there a value beyond 2^53 is a typed value, which is exact.
//!
//! A typed value is a userdata with the bytes that go over the wire.

use std::ffi::c_int;
use std::net::{Ipv4Addr, Ipv6Addr};

use spop_core::{Reader, Value, Writer, data_type};

use crate::raw::{Class, ClassFunctions, Functions, Kind, Misuse, Outcome, Stack, c_function};

/// The longest encoding of a value that is not a string: an address of 16 bytes.
const MAX_SCALAR_LEN: usize = 17;

const NAMES: [(&str, u8); 10] = [
    ("null", data_type::NULL),
    ("bool", data_type::BOOL),
    ("int32", data_type::INT32),
    ("uint32", data_type::UINT32),
    ("int64", data_type::INT64),
    ("uint64", data_type::UINT64),
    ("ipv4", data_type::IPV4),
    ("ipv6", data_type::IPV6),
    ("string", data_type::STRING),
    ("binary", data_type::BINARY),
];

/// The functions of the module.
pub(crate) const FUNCTIONS: Functions = &[
    (c"int32", c_function!(int32)),
    (c"uint32", c_function!(uint32)),
    (c"int64", c_function!(int64)),
    (c"uint64", c_function!(uint64)),
    (c"ipv4", c_function!(ipv4)),
    (c"ipv6", c_function!(ipv6)),
    (c"binary", c_function!(binary)),
    (c"ip_bytes", c_function!(ip_bytes)),
    (c"ip_text", c_function!(ip_text)),
];

/// The functions of typed values.
pub(crate) const CLASS: ClassFunctions = ClassFunctions {
    class: Class::Typed,
    meta: &[(c"__index", c_function!(index)), (c"__tostring", c_function!(to_string)), (c"__eq", c_function!(equal))],
    methods: &[],
};

/// The name of a value's type, as scripts see it.
pub(crate) fn type_name(value: &Value<'_>) -> &'static str {
    NAMES.iter().find(|(_, number)| *number == value.data_type()).map_or("null", |(name, _)| name)
}

/// Pushes what Lua has for a value.
#[inline]
pub(crate) fn push(stack: &Stack<'_>, value: &Value<'_>) {
    let exact = match *value {
        Value::Null => {
            stack.push_nil();
            true
        }
        Value::Bool(flag) => {
            stack.push_boolean(flag);
            true
        }
        Value::Int32(n) => stack.push_integer(n.into()),
        Value::UInt32(n) => stack.push_integer(n.into()),
        Value::Int64(n) => stack.push_integer(n),
        Value::UInt64(n) => push_u64(stack, n),
        Value::Ipv4(ip) => {
            stack.push_bytes(Dotted::new(ip).as_bytes());
            true
        }
        Value::Ipv6(ip) => {
            stack.push_text(format_args!("{ip}"));
            true
        }
        Value::String(bytes) | Value::Binary(bytes) => {
            stack.push_bytes(bytes);
            true
        }
    };
    if !exact {
        push_typed(stack, value);
    }
}

/// The text of an IPv4 address, which `Display` needs several times as long for.
struct Dotted {
    text: [u8; "255.255.255.255".len()],
    len: usize,
}

impl Dotted {
    fn new(ip: Ipv4Addr) -> Self {
        let mut dotted = Self { text: [0; 15], len: 0 };
        for (position, octet) in ip.octets().into_iter().enumerate() {
            if position > 0 {
                dotted.push(b'.');
            }
            if octet >= 100 {
                dotted.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                dotted.push(b'0' + octet / 10 % 10);
            }
            dotted.push(b'0' + octet % 10);
        }
        dotted
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.text.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

/// Pushes 64 bits as an integer; false, and nothing pushed, if a number of this Lua does not hold them.
#[inline]
fn push_u64(stack: &Stack<'_>, n: u64) -> bool {
    if cfg!(feature = "luajit") {
        i64::try_from(n).is_ok_and(|n| stack.push_integer(n))
    } else {
        stack.push_integer(n as i64)
    }
}

/// Pushes a stream-id or frame-id.
#[inline]
pub(crate) fn push_id(stack: &Stack<'_>, id: u64) {
    if !push_u64(stack, id) {
        push_typed(stack, &Value::UInt64(id));
    }
}

/// Pushes a typed value.
fn push_typed(stack: &Stack<'_>, value: &Value<'_>) {
    let mut bytes = [0; MAX_SCALAR_LEN];
    match *value {
        Value::String(text) | Value::Binary(text) => {
            // The length is not needed: the userdata knows it.
            stack.push_blob(Class::Typed, &[&[value.data_type()], text]);
        }
        _ => {
            let mut writer = Writer::new(&mut bytes);
            let fits = writer.value(value);
            debug_assert!(fits.is_ok());
            stack.push_blob(Class::Typed, &[writer.written()]);
        }
    }
}

/// The value in the bytes of a typed value.
fn typed(bytes: &[u8]) -> Value<'_> {
    match bytes.split_first() {
        Some((&data_type::STRING, text)) => Value::String(text),
        Some((&data_type::BINARY, text)) => Value::Binary(text),
        _ => Value::decode(&mut Reader::new(bytes)).unwrap_or(Value::Null),
    }
}

/// The value that a Lua value stands for.
#[inline]
pub(crate) fn read<'s>(stack: &'s Stack<'_>, index: c_int) -> Result<Value<'s>, &'static str> {
    match stack.kind(index) {
        Kind::Nil | Kind::Absent => Ok(Value::Null),
        Kind::Boolean => Ok(Value::Bool(stack.boolean(index))),
        Kind::String => Ok(Value::String(stack.bytes(index).unwrap_or_default())),
        Kind::Number => stack.integer(index).map(Value::Int64).ok_or("a number without an exact integer"),
        _ => match stack.blob(index, Class::Typed) {
            Some(bytes) => Ok(typed(bytes)),
            None => Err("neither a string, boolean, integer, nil nor a typed value"),
        },
    }
}

/// The value that a Lua value stands for, of the type with this name.
pub(crate) fn read_as<'s>(stack: &'s Stack<'_>, index: c_int, name: &[u8]) -> Result<Value<'s>, &'static str> {
    let number = NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|&(_, number)| number);
    convert(read(stack, index)?, number.ok_or("a type that SPOP does not have")?)
}

/// A value in another type, if that holds it.
fn convert(value: Value<'_>, number: u8) -> Result<Value<'_>, &'static str> {
    if value.data_type() == number {
        return Ok(value);
    }
    match number {
        data_type::INT32 => {
            integer(&value).and_then(|n| n.try_into().ok()).map(Value::Int32).ok_or("not an integer of 32 bits")
        }
        data_type::UINT32 => integer(&value)
            .and_then(|n| n.try_into().ok())
            .map(Value::UInt32)
            .ok_or("not an unsigned integer of 32 bits"),
        data_type::INT64 => {
            integer(&value).and_then(|n| n.try_into().ok()).map(Value::Int64).ok_or("not an integer of 64 bits")
        }
        data_type::UINT64 => match value {
            // Lua's integers have a sign; the bits are what counts.
            Value::Int64(n) if !cfg!(feature = "luajit") => Ok(Value::UInt64(n as u64)),
            _ => integer(&value)
                .and_then(|n| n.try_into().ok())
                .map(Value::UInt64)
                .ok_or("not an unsigned integer of 64 bits"),
        },
        data_type::IPV4 => text(&value).and_then(|t| t.parse().ok()).map(Value::Ipv4).ok_or("not an IPv4 address"),
        data_type::IPV6 => text(&value).and_then(|t| t.parse().ok()).map(Value::Ipv6).ok_or("not an IPv6 address"),
        data_type::STRING => value.as_bytes().map(Value::String).ok_or("not a string"),
        data_type::BINARY => value.as_bytes().map(Value::Binary).ok_or("not a string"),
        data_type::BOOL => Err("not a boolean"),
        _ => Err("not nil"),
    }
}

/// An integer, or the decimal digits of one.
fn integer(value: &Value<'_>) -> Option<i128> {
    value.as_integer().or_else(|| text(value)?.parse().ok())
}

fn text<'a>(value: &Value<'a>) -> Option<&'a str> {
    std::str::from_utf8(value.as_bytes()?).ok()
}

/// A stream-id or frame-id.
#[inline]
pub(crate) fn read_id(stack: &Stack<'_>, index: c_int) -> Result<u64, &'static str> {
    let value = read(stack, index)?;
    if value.as_integer().is_none() {
        return Err("not an integer");
    }
    match convert(value, data_type::UINT64)? {
        Value::UInt64(id) => Ok(id),
        _ => Err("not an integer"),
    }
}

/// A stream-id or frame-id as an argument.
#[inline]
pub(crate) fn id_argument(stack: &Stack<'_>, index: c_int) -> Result<u64, Misuse> {
    read_id(stack, index).map_err(|why| Misuse::argument(index, format_args!("{why}")))
}

/// An unsigned integer of 32 bits as an argument, `default` if it is not there.
pub(crate) fn u32_argument(stack: &Stack<'_>, index: c_int, default: u32) -> Result<u32, Misuse> {
    if stack.is_nothing(index) {
        return Ok(default);
    }
    match stack.integer(index).map(u32::try_from) {
        Some(Ok(n)) => Ok(n),
        _ => Err(stack.expected(index, "an integer from 0 to 4294967295")),
    }
}

fn construct(stack: &Stack<'_>, number: u8) -> Outcome {
    let value = read(stack, 1).and_then(|value| convert(value, number));
    let value = value.map_err(|why| Misuse::argument(1, format_args!("{why}")))?;
    push_typed(stack, &value);
    Ok(1)
}

fn int32(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::INT32)
}

fn uint32(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::UINT32)
}

fn int64(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::INT64)
}

fn uint64(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::UINT64)
}

fn ipv4(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::IPV4)
}

fn ipv6(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::IPV6)
}

fn binary(stack: &Stack<'_>) -> Outcome {
    construct(stack, data_type::BINARY)
}

/// `ip_bytes(text)`: the 4 or 16 bytes of an address, nil if it is none.
fn ip_bytes(stack: &Stack<'_>) -> Outcome {
    let text = std::str::from_utf8(stack.string_argument(1)?).unwrap_or_default();
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        stack.push_bytes(&ip.octets());
    } else if let Ok(ip) = text.parse::<Ipv6Addr>() {
        stack.push_bytes(&ip.octets());
    } else {
        stack.push_nil();
    }
    Ok(1)
}

/// `ip_text(bytes)`: the usual notation of 4 or 16 bytes.
fn ip_text(stack: &Stack<'_>) -> Outcome {
    let bytes = stack.string_argument(1)?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        push(stack, &Value::Ipv4(octets.into()));
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        push(stack, &Value::Ipv6(octets.into()));
    } else {
        return Err(Misuse::argument(1, format_args!("4 or 16 bytes expected, got {}", bytes.len())));
    }
    Ok(1)
}

fn index(stack: &Stack<'_>) -> Outcome {
    let value = typed(stack.this(Class::Typed)?);
    match stack.bytes(2) {
        Some(b"type") => stack.push_bytes(type_name(&value).as_bytes()),
        Some(b"value") => push(stack, &value),
        _ => stack.push_nil(),
    }
    Ok(1)
}

fn to_string(stack: &Stack<'_>) -> Outcome {
    match typed(stack.this(Class::Typed)?) {
        Value::String(bytes) | Value::Binary(bytes) => stack.push_bytes(bytes),
        Value::Ipv4(ip) => stack.push_bytes(Dotted::new(ip).as_bytes()),
        Value::Ipv6(ip) => stack.push_text(format_args!("{ip}")),
        Value::Bool(flag) => stack.push_text(format_args!("{flag}")),
        Value::Null => stack.push_bytes(b"nil"),
        integer => stack.push_text(format_args!("{}", integer.as_integer().unwrap_or_default())),
    }
    Ok(1)
}

fn equal(stack: &Stack<'_>) -> Outcome {
    let same = match (stack.blob(1, Class::Typed), stack.blob(2, Class::Typed)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    stack.push_boolean(same);
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_others_write_them() {
        for octet in 0..=255 {
            for ip in [[octet, 0, 10, 255], [255, 99, octet, 100], [9, octet, octet, octet]].map(Ipv4Addr::from) {
                assert_eq!(Dotted::new(ip).as_bytes(), ip.to_string().as_bytes());
            }
        }
    }
}
