//! Messages and values as the command line writes them.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use spop_core::encoded_len;
use spop_core::{EncodeError, NotifyEncoder, Scope, Value};

use crate::show::{Name, scope_name};

/// What the help of a command says about arguments.
pub(crate) const GRAMMAR: &str = "\
Arguments of a message are KEY=TYPE:VALUE, or =TYPE:VALUE without a name; keys may come twice. Types:
  null                            no value:            referer=null
  bool                            true or false:       ssl=bool:true
  int32 uint32 int64 uint64       HAProxy sends int64: src_port=int64:50594
  ipv4 ipv6 ip                    ip takes both:       ip=ip:192.0.2.17
  string                          any text:            path=string:/a?b=c
  binary                          hex digits:          hdrs=binary:00ff
  string@FILE binary@FILE         the bytes of a file: body=binary@request.bin
A second message, and every further one, stands behind a `--`.";

/// The largest file that an argument may name; a NOTIFY cannot be larger.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A value with its own bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OwnedValue {
    Plain(Value<'static>),
    String(Vec<u8>),
    Binary(Vec<u8>),
}

impl OwnedValue {
    pub(crate) fn as_value(&self) -> Value<'_> {
        match self {
            OwnedValue::Plain(value) => *value,
            OwnedValue::String(bytes) => Value::String(bytes),
            OwnedValue::Binary(bytes) => Value::Binary(bytes),
        }
    }

    /// A copy.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => OwnedValue::Plain(Value::Null),
            Value::Bool(b) => OwnedValue::Plain(Value::Bool(b)),
            Value::Int32(n) => OwnedValue::Plain(Value::Int32(n)),
            Value::UInt32(n) => OwnedValue::Plain(Value::UInt32(n)),
            Value::Int64(n) => OwnedValue::Plain(Value::Int64(n)),
            Value::UInt64(n) => OwnedValue::Plain(Value::UInt64(n)),
            Value::Ipv4(ip) => OwnedValue::Plain(Value::Ipv4(ip)),
            Value::Ipv6(ip) => OwnedValue::Plain(Value::Ipv6(ip)),
            Value::String(bytes) => OwnedValue::String(bytes.to_vec()),
            Value::Binary(bytes) => OwnedValue::Binary(bytes.to_vec()),
        }
    }

    /// Reads `TYPE:VALUE`, `TYPE@FILE` or `null`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        if text == b"null" {
            return Ok(OwnedValue::Plain(Value::Null));
        }
        let Some(at) = text.iter().position(|b| matches!(b, b':' | b'@')) else {
            return Err(format!("{} has no type: write TYPE:VALUE, as in string:{}", Name(text), Name(text)));
        };
        let (kind, rest) = text.split_at(at);
        let (from_file, value) = (rest.first() == Some(&b'@'), rest.get(1..).unwrap_or_default());
        match (kind, from_file) {
            (b"string", false) => Ok(OwnedValue::String(value.to_vec())),
            (b"string", true) => Ok(OwnedValue::String(read_file(value)?)),
            (b"binary", false) => hex(value).map(OwnedValue::Binary),
            (b"binary", true) => Ok(OwnedValue::Binary(read_file(value)?)),
            (_, true) => Err(format!("only string@FILE and binary@FILE take a file, not {}", Name(kind))),
            (kind, false) => plain(kind, value).map(OwnedValue::Plain),
        }
    }
}

fn plain(kind: &[u8], value: &[u8]) -> Result<Value<'static>, String> {
    let bad = |what: &str| format!("{} is not {what}", Name(value));
    let text = std::str::from_utf8(value).map_err(|_| bad("text"))?;
    Ok(match kind {
        b"bool" => Value::Bool(text.parse().map_err(|_| bad("true or false"))?),
        b"int32" => Value::Int32(text.parse().map_err(|_| bad("a signed integer of 32 bits"))?),
        b"uint32" => Value::UInt32(text.parse().map_err(|_| bad("an unsigned integer of 32 bits"))?),
        b"int64" => Value::Int64(text.parse().map_err(|_| bad("a signed integer of 64 bits"))?),
        b"uint64" => Value::UInt64(text.parse().map_err(|_| bad("an unsigned integer of 64 bits"))?),
        b"ipv4" => Value::Ipv4(text.parse().map_err(|_| bad("an IPv4 address"))?),
        b"ipv6" => Value::Ipv6(text.parse().map_err(|_| bad("an IPv6 address"))?),
        b"ip" => match text.parse().map_err(|_| bad("an IP address"))? {
            IpAddr::V4(ip) => Value::Ipv4(ip),
            IpAddr::V6(ip) => Value::Ipv6(ip),
        },
        b"null" => return Err("null takes no value".to_owned()),
        other => {
            let known = "null, bool, int32, uint32, int64, uint64, ipv4, ipv6, ip, string or binary";
            return Err(format!("unknown type {}: {known}", Name(other)));
        }
    })
}

/// Reads hex digits in pairs.
pub(crate) fn hex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |&b: &u8| char::from(b).to_digit(16).ok_or_else(|| format!("{} is not hex", Name(digits)));
    if digits.len() % 2 != 0 {
        return Err(format!("{} has an odd number of hex digits", Name(digits)));
    }
    digits
        .chunks_exact(2)
        .map(|pair| Ok((pair.iter().map(digit).try_fold(0, |sum, d| d.map(|d| sum * 16 + d))?) as u8))
        .collect()
}

fn read_file(name: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let path = Path::new(OsStr::from_bytes(name));
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(n) if n as u64 > MAX_FILE => Err(format!("{} is larger than {MAX_FILE} bytes", path.display())),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Reads `SCOPE.NAME`.
pub(crate) fn variable(text: &str) -> Result<(Scope, Vec<u8>), String> {
    let (scope, name) = text.split_once('.').ok_or_else(|| format!("{text:?} is no variable: SCOPE.NAME"))?;
    let scope = (0..=4)
        .filter_map(Scope::from_u8)
        .find(|s| s.prefix() == scope || scope_name(*s) == scope)
        .ok_or_else(|| format!("unknown scope {scope:?}: proc, sess, txn, req or res"))?;
    Ok((scope, name.as_bytes().to_vec()))
}

/// A message with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnedMessage {
    name: Vec<u8>,
    args: Vec<(Vec<u8>, OwnedValue)>,
}

impl OwnedMessage {
    pub(crate) fn new(name: &str, args: Vec<(&str, OwnedValue)>) -> Self {
        let args = args.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect();
        OwnedMessage { name: name.as_bytes().to_vec(), args }
    }

    /// The same with a text put in place of another in all strings.
    pub(crate) fn replace(&self, from: &str, to: &str) -> Self {
        let replace = |value: &OwnedValue| match value {
            OwnedValue::String(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => OwnedValue::String(text.replace(from, to).into_bytes()),
                Err(_) => value.clone(),
            },
            other => other.clone(),
        };
        OwnedMessage { name: self.name.clone(), args: self.args.iter().map(|(k, v)| (k.clone(), replace(v))).collect() }
    }

    fn parse(words: &[OsString]) -> Result<Self, String> {
        let (name, args) = words.split_first().ok_or("a message needs a name")?;
        let args = args.iter().map(|word| {
            let word = word.as_bytes();
            let shown = || Name(word).to_string();
            let at =
                word.iter().position(|&b| b == b'=').ok_or_else(|| format!("{}: write KEY=TYPE:VALUE", shown()))?;
            let (key, value) = (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default());
            Ok((key.to_vec(), OwnedValue::parse(value).map_err(|error| format!("{}: {error}", shown()))?))
        });
        Ok(OwnedMessage { name: name.as_bytes().to_vec(), args: args.collect::<Result<_, String>>()? })
    }
}

/// The messages of a command line: `first` stands before the first `--`, `more` behind it.
pub(crate) fn parse_all(first: &[OsString], more: &[OsString]) -> Result<Vec<OwnedMessage>, String> {
    let mut messages = vec![OwnedMessage::parse(first)?];
    if !more.is_empty() {
        for words in more.split(|word| word == "--") {
            messages.push(OwnedMessage::parse(words)?);
        }
    }
    Ok(messages)
}

/// The encoded messages, without a frame around them.
pub(crate) fn encode_all(messages: &[OwnedMessage]) -> Result<Vec<u8>, EncodeError> {
    let len = |message: &OwnedMessage| {
        let args = message.args.iter().map(|(key, value)| encoded_len::kv(key, &value.as_value()));
        encoded_len::message(&message.name) + args.sum::<usize>()
    };
    let mut payload = vec![0; messages.iter().map(len).sum()];
    let mut encoder = NotifyEncoder::payload(&mut payload);
    for message in messages {
        encoder.message(&message.name)?;
        for (key, value) in &message.args {
            encoder.arg(key, value.as_value())?;
        }
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn all_types_unnamed_and_repeated_keys() {
        let line = "m n=null b=bool:true i=int32:-1 u=uint32:1 I=int64:-9 U=uint64:18446744073709551615 a=ipv4:192.0.2.1 \
                    a=ip:2001:db8::1 =string:x=y:z@ h=binary:00fF";
        let messages = parse_all(&words(line), &words("second -- third x=string:")).unwrap();
        assert_eq!(messages.len(), 3);
        let values: Vec<_> = messages[0].args.iter().map(|(key, value)| (&key[..], value.as_value())).collect();
        assert_eq!(values[0], (&b"n"[..], Value::Null));
        assert_eq!(values[5], (&b"U"[..], Value::UInt64(u64::MAX)));
        assert_eq!(values[7], (&b"a"[..], Value::Ipv6("2001:db8::1".parse().unwrap())));
        assert_eq!(values[8], (&b""[..], Value::String(b"x=y:z@")));
        assert_eq!(values[9], (&b"h"[..], Value::Binary(&[0, 255])));
        let payload = encode_all(&messages).unwrap();
        let again: Vec<_> = spop_core::Messages::new(&payload).map(|m| m.unwrap()).collect();
        assert_eq!(
            again[0].args().map(|kv| kv.unwrap().value).collect::<Vec<_>>(),
            values.iter().map(|v| v.1).collect::<Vec<_>>()
        );
        assert_eq!(again[2].name, b"third");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, says) in [
            ("m x", "KEY=TYPE:VALUE"),
            ("m x=1", "no type"),
            ("m x=int:1", "unknown type int"),
            ("m x=int32:2147483648", "32 bits"),
            ("m x=ipv4:::1", "IPv4"),
            ("m x=binary:0", "odd"),
            ("m x=binary:0g", "not hex"),
            ("m x=bool:1", "true or false"),
            ("m x=null:", "no value"),
            ("m x=int64@f", "take a file"),
            ("m x=string@/nonexistent/file", "No such file"),
        ] {
            let error = parse_all(&words(line), &[]).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
        assert!(parse_all(&words("m"), &words("--")).is_err());
        let many = (0..256).map(|_| "=null").collect::<Vec<_>>().join(" ");
        let messages = parse_all(&words(&format!("m {many}")), &[]).unwrap();
        assert_eq!(encode_all(&messages), Err(EncodeError::TooManyArgs));
    }
}
