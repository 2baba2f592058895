//! Values of arguments as text and as attribute values.

use std::borrow::Cow;
use std::fmt::Write;

use spop_core::Value;

use crate::ipv4;
use crate::lossy::{is_ascii, lossy};
use crate::span::proto::{NUMBER_LEN, any_value, close_len, key_value, put_lens};
use crate::span::write::{end_of, put_number_value, put_text_value};

/// The value as text; `None` for NULL.
pub(super) fn text<'a>(value: &Value<'a>) -> Option<Cow<'a, str>> {
    Some(match *value {
        Value::Null => return None,
        Value::String(bytes) => lossy(bytes),
        ref other => {
            let mut out = String::new();
            append(&mut out, other);
            Cow::Owned(out)
        }
    })
}

/// The same as bytes, which need not be decoded if they are ASCII.
fn lossy_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if is_ascii(bytes) {
        return Cow::Borrowed(bytes);
    }
    match lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The value as the bytes of its text; `None` for NULL.
pub(super) fn text_bytes<'a>(value: &Value<'a>) -> Option<Cow<'a, [u8]>> {
    match *value {
        Value::String(bytes) => Some(lossy_bytes(bytes)),
        ref other => Some(match text(other)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }),
    }
}

/// Appends the text of a value; nothing for NULL.
fn append(out: &mut impl Write, value: &Value<'_>) {
    // Writing to memory cannot fail.
    let _infallible = match *value {
        Value::Null => Ok(()),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Int32(n) => write!(out, "{n}"),
        Value::UInt32(n) => write!(out, "{n}"),
        Value::Int64(n) => write!(out, "{n}"),
        Value::UInt64(n) => write!(out, "{n}"),
        Value::Ipv4(ip) => out.write_str(ipv4::text(ip, &mut [0; 15])),
        Value::Ipv6(ip) => write!(out, "{ip}"),
        Value::String(bytes) => out.write_str(&lossy(bytes)),
        Value::Binary(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
    };
}

/// Appends the field `value` of a `KeyValue` given by any number of values: none is the empty string, one keeps its type,
/// several are concatenated as text, of at most so many characters. Says whether the text was cut; `None`, with something
/// appended perhaps, if there is nothing but NULL.
#[inline(always)]
pub(super) fn put<'a>(
    out: &mut Vec<u8>,
    mut values: impl Iterator<Item = Value<'a>>,
    max_len: Option<usize>,
) -> Option<bool> {
    match (values.next(), values.next()) {
        // Most are, and nothing is to be done about them.
        (Some(Value::String(text)), None) if is_ascii(text) && max_len.is_none_or(|max| text.len() <= max) => {
            put_text_value(out, text);
            Some(false)
        }
        (first, None) => put_one(out, first, max_len),
        (first, Some(second)) => put_all(out, first.into_iter().chain([second]).chain(values), max_len),
    }
}

#[inline(never)]
fn put_all<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Value<'a>>, max_len: Option<usize>) -> Option<bool> {
    let mut is_null = true;
    let cut = put_text(out, max_len, |out| {
        for value in values {
            is_null &= value == Value::Null;
            append(out, &value);
        }
    });
    (!is_null).then_some(cut)
}

#[inline(never)]
fn put_one(out: &mut Vec<u8>, value: Option<Value<'_>>, max_len: Option<usize>) -> Option<bool> {
    let (field, number) = match value {
        None => return Some(put_given(out, b"", max_len)),
        Some(Value::Null) => return None,
        Some(Value::String(bytes)) => return Some(put_given(out, &lossy_bytes(bytes), max_len)),
        Some(Value::Ipv4(ip)) => return Some(put_given(out, ipv4::ascii(ip, &mut [0; 15]), max_len)),
        Some(Value::Bool(b)) => (any_value::BOOL, u64::from(b)),
        Some(other) => match other.as_integer().map(i64::try_from) {
            Some(Ok(n)) => (any_value::INT, n as u64),
            _ => return Some(put_text(out, max_len, |out| append(out, &other))),
        },
    };
    put_number_value(out, field, number);
    Some(false)
}

/// Says whether it was cut.
fn put_given(out: &mut Vec<u8>, text: &[u8], max_len: Option<usize>) -> bool {
    let end = end_of(text, max_len);
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    put_text_value(out, text);
    end.is_some()
}

/// The same of a text whose length is not known before it is written.
fn put_text(out: &mut Vec<u8>, max_len: Option<usize>, write: impl FnOnce(&mut Utf8<'_>)) -> bool {
    let value = out.len();
    put_lens(out, (key_value::VALUE, 0), (any_value::STRING, 0));
    let text = out.len();
    write(&mut Utf8(out));
    let end = out.get(text..).and_then(|written| end_of(written, max_len));
    out.truncate(end.map_or(out.len(), |end| text + end));
    close_len(out, text - NUMBER_LEN);
    close_len(out, value);
    end.is_some()
}

/// Bytes to which only text is written.
struct Utf8<'a>(&'a mut Vec<u8>);

impl Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Attribute};
    use prost::Message;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// The attribute that is put behind something else.
    fn put_cut(values: &[Value<'static>], max_len: Option<usize>) -> Option<(Attribute, bool)> {
        let mut out = b"before".to_vec();
        let cut = put(&mut out, values.iter().copied(), max_len)?;
        let key_value = KeyValue::decode(out.strip_prefix(b"before").unwrap()).unwrap();
        assert_eq!(out.len(), 6 + key_value.encoded_len(), "nothing else");
        Some((key_value.value.unwrap().value.unwrap(), cut))
    }

    fn of(values: &[Value<'static>]) -> Option<Attribute> {
        put_cut(values, None).map(|(attribute, cut)| {
            assert!(!cut);
            attribute
        })
    }

    fn text(text: &str) -> Attribute {
        Attribute::StringValue(text.to_owned())
    }

    #[test]
    fn one_value_keeps_its_type() {
        assert_eq!(of(&[Value::Bool(true)]), Some(Attribute::BoolValue(true)));
        assert_eq!(of(&[Value::Int32(-1)]), Some(Attribute::IntValue(-1)));
        assert_eq!(of(&[Value::UInt32(u32::MAX)]), Some(Attribute::IntValue(4_294_967_295)));
        assert_eq!(of(&[Value::Int64(i64::MIN)]), Some(Attribute::IntValue(i64::MIN)));
        assert_eq!(of(&[Value::UInt64(i64::MAX as u64)]), Some(Attribute::IntValue(i64::MAX)));
        assert_eq!(of(&[Value::UInt64(1 << 63)]), Some(text("9223372036854775808")));
        assert_eq!(of(&[Value::Ipv4(Ipv4Addr::LOCALHOST)]), Some(text("127.0.0.1")));
        assert_eq!(of(&[Value::Ipv6(Ipv6Addr::LOCALHOST)]), Some(text("::1")));
        assert_eq!(of(&[Value::String(b"a\xffb")]), Some(text("a\u{fffd}b")));
        assert_eq!(of(&[Value::Binary(b"\x00\xAB")]), Some(text("00ab")));
    }

    #[test]
    fn no_value_null_and_several_values() {
        assert_eq!(of(&[]), Some(text("")));
        assert_eq!(of(&[Value::Null]), None);
        assert_eq!(of(&[Value::Null, Value::Null]), None);
        assert_eq!(
            of(&[Value::String(b"HTTP/"), Value::Null, Value::Int64(2), Value::Bool(false)]),
            Some(text("HTTP/2false"))
        );
        let long = Value::from("x".repeat(200).leak() as &str);
        assert_eq!(of(&[long, long]), Some(text(&"x".repeat(400))));
        assert_eq!(concatenation(std::iter::empty()), Some(String::new()));
        assert_eq!(concatenation([Value::Int64(7)].into_iter()), Some("7".to_owned()));
        assert_eq!(concatenation([Value::Null].into_iter()), None);
    }

    #[test]
    fn texts_are_cut_after_so_many_characters() {
        for (given, expected) in
            [("", ""), ("abc", "abc"), ("abcd", "abc"), ("\u{e9}\u{4e16}\u{1f600}x", "\u{e9}\u{4e16}\u{1f600}")]
        {
            let cut = given != expected;
            assert_eq!(put_cut(&[Value::from(given)], Some(3)), Some((text(expected), cut)));
            assert_eq!(put_cut(&[Value::from(given), Value::Null], Some(3)), Some((text(expected), cut)));
        }
        assert_eq!(put_cut(&[Value::Int64(123_456)], Some(3)), Some((Attribute::IntValue(123_456), false)));
        assert_eq!(put_cut(&[Value::from("x")], Some(0)), Some((text(""), true)));
        assert_eq!(put_cut(&[Value::Ipv4(Ipv4Addr::LOCALHOST)], Some(4)), Some((text("127."), true)));
        for len in 120..140 {
            let bytes = Value::Binary(&[0xab; 140][..len]);
            assert_eq!(put_cut(&[bytes], Some(250)), Some((text(&"ab".repeat(len.min(125))), len > 125)), "{len}");
        }
    }
}
