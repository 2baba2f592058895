//! Values of arguments as text and as attribute values.

use std::borrow::Cow;
use std::fmt::Write;

use opentelemetry::Value as Attribute;
use spop_core::Value;

use crate::heap::block;

/// The value as text; `None` for NULL.
pub(super) fn text<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    Some(match *value {
        Value::Null => return None,
        Value::String(bytes) => String::from_utf8_lossy(bytes),
        ref other => {
            let mut out = String::new();
            append(&mut out, other);
            Cow::Owned(out)
        }
    })
}

/// Appends the text of a value; nothing for NULL.
fn append(out: &mut String, value: &Value<'_>) {
    // Writing to a String cannot fail.
    let _infallible = match *value {
        Value::Null => Ok(()),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Int32(n) => write!(out, "{n}"),
        Value::UInt32(n) => write!(out, "{n}"),
        Value::Int64(n) => write!(out, "{n}"),
        Value::UInt64(n) => write!(out, "{n}"),
        Value::Ipv4(ip) => write!(out, "{ip}"),
        Value::Ipv6(ip) => write!(out, "{ip}"),
        Value::String(bytes) => {
            out.push_str(&String::from_utf8_lossy(bytes));
            Ok(())
        }
        Value::Binary(bytes) => {
            out.reserve(bytes.len().saturating_mul(2));
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
    };
}

/// The value of an attribute given by any number of values: none is the empty string, one keeps its type, several are
/// concatenated as text. `None` if there is nothing but NULL.
pub(super) fn attribute<'a>(mut values: impl Iterator<Item = Value<'a>>) -> Option<Attribute> {
    let Some(first) = values.next() else { return Some(Attribute::from("")) };
    let Some(second) = values.next() else { return native(&first) };
    concatenated([first, second].into_iter().chain(values)).map(Attribute::from)
}

/// The same as text, for what has no types.
pub(super) fn concatenation<'a>(mut values: impl Iterator<Item = Value<'a>>) -> Option<String> {
    match values.next() {
        None => Some(String::new()),
        Some(first) => concatenated(std::iter::once(first).chain(values)),
    }
}

fn concatenated<'a>(values: impl Iterator<Item = Value<'a>>) -> Option<String> {
    let mut out = None;
    for value in values.filter(|value| *value != Value::Null) {
        append(out.get_or_insert_with(String::new), &value);
    }
    out
}

fn native(value: &Value<'_>) -> Option<Attribute> {
    Some(match *value {
        Value::Bool(b) => Attribute::Bool(b),
        ref other => match other.as_integer().map(i64::try_from) {
            Some(Ok(n)) => Attribute::I64(n),
            _ => Attribute::from(text(other)?.into_owned()),
        },
    })
}

/// Memory behind an attribute value.
pub(super) fn held(value: &Attribute) -> usize {
    match value {
        Attribute::String(text) => block(text.as_str().len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn of(values: &[Value<'static>]) -> Option<Attribute> {
        attribute(values.iter().copied())
    }

    #[test]
    fn one_value_keeps_its_type() {
        assert_eq!(of(&[Value::Bool(true)]), Some(Attribute::Bool(true)));
        assert_eq!(of(&[Value::Int32(-1)]), Some(Attribute::I64(-1)));
        assert_eq!(of(&[Value::UInt32(u32::MAX)]), Some(Attribute::I64(4_294_967_295)));
        assert_eq!(of(&[Value::Int64(i64::MIN)]), Some(Attribute::I64(i64::MIN)));
        assert_eq!(of(&[Value::UInt64(i64::MAX as u64)]), Some(Attribute::I64(i64::MAX)));
        assert_eq!(of(&[Value::UInt64(1 << 63)]), Some(Attribute::from("9223372036854775808")));
        assert_eq!(of(&[Value::Ipv4(Ipv4Addr::LOCALHOST)]), Some(Attribute::from("127.0.0.1")));
        assert_eq!(of(&[Value::Ipv6(Ipv6Addr::LOCALHOST)]), Some(Attribute::from("::1")));
        assert_eq!(of(&[Value::String(b"a\xffb")]), Some(Attribute::from("a\u{fffd}b")));
        assert_eq!(of(&[Value::Binary(b"\x00\xAB")]), Some(Attribute::from("00ab")));
    }

    #[test]
    fn no_value_null_and_several_values() {
        assert_eq!(of(&[]), Some(Attribute::from("")));
        assert_eq!(of(&[Value::Null]), None);
        assert_eq!(of(&[Value::Null, Value::Null]), None);
        assert_eq!(
            of(&[Value::String(b"HTTP/"), Value::Null, Value::Int64(2), Value::Bool(false)]),
            Some(Attribute::from("HTTP/2false"))
        );
        assert_eq!(concatenation(std::iter::empty()), Some(String::new()));
        assert_eq!(concatenation([Value::Int64(7)].into_iter()), Some("7".to_owned()));
        assert_eq!(concatenation([Value::Null].into_iter()), None);
    }
}
