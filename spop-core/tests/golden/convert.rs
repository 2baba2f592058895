//! Decoded things in the notation of the vectors.

use serde_json::{Value as Json, json};
use spop_core::{Action, Frame, Kv, Scope, Value};

use crate::common::hex;

/// Type name and value. `string-bytes` is the vectors' name for a STRING that is not UTF-8.
pub(super) fn value(value: &Value<'_>) -> (&'static str, Json) {
    match *value {
        Value::Null => ("null", Json::Null),
        Value::Bool(b) => ("bool", json!(b)),
        Value::Int32(n) => ("int32", json!(n.to_string())),
        Value::UInt32(n) => ("uint32", json!(n.to_string())),
        Value::Int64(n) => ("int64", json!(n.to_string())),
        Value::UInt64(n) => ("uint64", json!(n.to_string())),
        Value::Ipv4(ip) => ("ipv4", json!(ip.to_string())),
        Value::Ipv6(ip) => ("ipv6", json!(ip.to_string())),
        Value::String(bytes) => match value.as_str() {
            Some(text) => ("string", json!(text)),
            None => ("string-bytes", json!(hex(bytes))),
        },
        Value::Binary(bytes) => ("binary", json!(hex(bytes))),
    }
}

fn kv(kv: Kv<'_>) -> Json {
    let (kind, value) = value(&kv.value);
    json!([kv.key_str().unwrap(), kind, value])
}

pub(super) fn kv_list(frame: &Frame<'_>) -> Json {
    frame.kv().map(|item| kv(item.unwrap())).collect()
}

pub(super) fn messages(frame: &Frame<'_>) -> Json {
    let message = |m: Result<spop_core::Message<'_>, _>| {
        let m = m.unwrap();
        let args: Json = m.args().map(|arg| kv(arg.unwrap())).collect();
        json!({ "name": m.name_str().unwrap(), "args": args })
    };
    frame.messages().map(message).collect()
}

pub(super) fn actions(frame: &Frame<'_>) -> Json {
    let name = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    let action = |a: Result<Action<'_>, _>| match a.unwrap() {
        Action::SetVar { scope: s, name: n, value: v } => {
            let (kind, v) = value(&v);
            json!({ "action": "set-var", "scope": scope(s), "name": name(n), "value": [kind, v] })
        }
        Action::UnsetVar { scope: s, name: n } => {
            json!({ "action": "unset-var", "scope": scope(s), "name": name(n) })
        }
    };
    frame.actions().map(action).collect()
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Process => "process",
        Scope::Session => "session",
        Scope::Transaction => "transaction",
        Scope::Request => "request",
        Scope::Response => "response",
    }
}
