//! Values and actions as text and as JSON.
//!
//! Text is what `spop notify` takes: `key=type:value`. In JSON a STRING is text, or `{"hex": …}` if it is not UTF-8; a
//! BINARY is hex.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use spop_core::{Action, Kv, Scope, Value};

/// The name of a value's type.
pub(crate) fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int32(_) => "int32",
        Value::UInt32(_) => "uint32",
        Value::Int64(_) => "int64",
        Value::UInt64(_) => "uint64",
        Value::Ipv4(_) => "ipv4",
        Value::Ipv6(_) => "ipv6",
        Value::String(_) => "string",
        Value::Binary(_) => "binary",
    }
}

/// The name of a scope in the specification; HAProxy's configuration has the shorter [`Scope::prefix`].
pub(crate) fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Process => "process",
        Scope::Session => "session",
        Scope::Transaction => "transaction",
        Scope::Request => "request",
        Scope::Response => "response",
    }
}

/// Bytes as hex digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A STRING: in quotes, with escapes.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// A name: bare if it is one word, else in quotes.
pub(crate) struct Name<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-/:".contains(byte);
        match std::str::from_utf8(self.0) {
            Ok(word) if self.0.iter().all(plain) => f.pad(word),
            _ => Quoted(self.0).fmt(f),
        }
    }
}

/// A value without its type.
pub(crate) struct Bare<'a>(pub(crate) &'a Value<'a>);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Value::Null => Ok(()),
            Value::Bool(b) => b.fmt(f),
            Value::Int32(n) => n.fmt(f),
            Value::UInt32(n) => n.fmt(f),
            Value::Int64(n) => n.fmt(f),
            Value::UInt64(n) => n.fmt(f),
            Value::Ipv4(ip) => ip.fmt(f),
            Value::Ipv6(ip) => ip.fmt(f),
            Value::String(bytes) => Quoted(bytes).fmt(f),
            Value::Binary(bytes) => Hex(bytes).fmt(f),
        }
    }
}

/// A value with its type.
pub(crate) struct Typed<'a>(pub(crate) &'a Value<'a>);

impl fmt::Display for Typed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(type_name(self.0))?;
        match self.0 {
            Value::Null => Ok(()),
            value => write!(f, ":{}", Bare(value)),
        }
    }
}

/// A pair of key and value.
pub(crate) struct Pair<'a>(pub(crate) &'a Kv<'a>);

impl fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Name(self.0.key), Typed(&self.0.value))
    }
}

/// An action as `set-var sess.name=type:value` or `unset-var sess.name`.
pub(crate) struct Deed<'a>(pub(crate) &'a Action<'a>);

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::SetVar { scope, name, value } => {
                write!(f, "set-var {}.{}={}", scope.prefix(), Name(name), Typed(value))
            }
            Action::UnsetVar { scope, name } => write!(f, "unset-var {}.{}", scope.prefix(), Name(name)),
        }
    }
}

/// Bytes that are text as a rule.
pub(crate) struct JsonText<'a>(pub(crate) &'a [u8]);

impl Serialize for JsonText<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("hex", &JsonHex(self.0))?;
                map.end()
            }
        }
    }
}

/// Bytes as hex digits.
pub(crate) struct JsonHex<'a>(pub(crate) &'a [u8]);

impl Serialize for JsonHex<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Hex(self.0))
    }
}

struct JsonBare<'a>(&'a Value<'a>);

impl Serialize for JsonBare<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match *self.0 {
            Value::Null => s.serialize_none(),
            Value::Bool(b) => s.serialize_bool(b),
            Value::Int32(n) => s.serialize_i32(n),
            Value::UInt32(n) => s.serialize_u32(n),
            Value::Int64(n) => s.serialize_i64(n),
            Value::UInt64(n) => s.serialize_u64(n),
            Value::Ipv4(ip) => s.collect_str(&ip),
            Value::Ipv6(ip) => s.collect_str(&ip),
            Value::String(bytes) => JsonText(bytes).serialize(s),
            Value::Binary(bytes) => JsonHex(bytes).serialize(s),
        }
    }
}

/// `{"key", "type", "value"}`.
pub(crate) struct JsonPair<'a>(pub(crate) &'a Kv<'a>);

impl Serialize for JsonPair<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(3))?;
        map.serialize_entry("key", &JsonText(self.0.key))?;
        map.serialize_entry("type", type_name(&self.0.value))?;
        map.serialize_entry("value", &JsonBare(&self.0.value))?;
        map.end()
    }
}

/// `{"action", "scope", "name"}`, with `"type"` and `"value"` for set-var.
pub(crate) struct JsonAction<'a>(pub(crate) &'a Action<'a>);

impl Serialize for JsonAction<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let (action, scope, name, value) = match self.0 {
            Action::SetVar { scope, name, value } => ("set-var", scope, name, Some(value)),
            Action::UnsetVar { scope, name } => ("unset-var", scope, name, None),
        };
        map.serialize_entry("action", action)?;
        map.serialize_entry("scope", scope_name(*scope))?;
        map.serialize_entry("name", &JsonText(name))?;
        if let Some(value) = value {
            map.serialize_entry("type", type_name(value))?;
            map.serialize_entry("value", &JsonBare(value))?;
        }
        map.end()
    }
}
