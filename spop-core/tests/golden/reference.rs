//! The two NOTIFYs of the benchmarks and the ACK that answers both.

use serde::Deserialize;
use serde_json::{Value as Json, json};
use spop_core::{Capabilities, Scope, Value};

use super::{MAX_FRAME_SIZE, assert_all, convert, load, running_agent};
use crate::common::{decode, hex, unhex, walk};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    id: String,
    len: usize,
    hex: String,
    stream_id: String,
    frame_id: String,
    messages: Json,
    ack: Ack,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    scope: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
    hex: String,
}

#[test]
fn reference_notifies() {
    let vectors: Vec<Reference> = load("reference.json");
    for v in &vectors {
        let id = &v.id;
        let bytes = unhex(&v.hex);
        assert_eq!(bytes.len(), v.len, "{id}");
        let frame = decode(&bytes);
        assert_eq!(frame.header.stream_id.0.to_string(), v.stream_id, "{id}");
        assert_eq!(frame.header.frame_id.0.to_string(), v.frame_id, "{id}");
        assert_eq!(convert::messages(&frame), v.messages, "{id}");
        assert_eq!(hex(&walk::reencode(&frame).unwrap()), v.hex, "{id}");

        let mut side = running_agent(MAX_FRAME_SIZE, Capabilities::PIPELINING);
        side.feed(&bytes);
        let ticket = side.tickets()[0];
        assert_eq!((v.ack.scope.as_str(), v.ack.kind.as_str()), ("session", "int64"), "{id}");
        let value = Value::Int64(v.ack.value.parse().unwrap());
        side.ack_with(ticket, |ack| ack.set_var(Scope::Session, v.ack.name.as_bytes(), value).unwrap()).unwrap();
        let sent = side.take_sent();
        assert_eq!(hex(&sent[0]), v.ack.hex, "{id}");
        let action = json!({
            "action": "set-var", "scope": v.ack.scope, "name": v.ack.name, "value": [v.ack.kind, v.ack.value],
        });
        assert_eq!(convert::actions(&decode(&sent[0])), json!([action]), "{id}");
    }
    assert_all(vectors.iter().map(|v| &v.id), 2);
    println!("vectors: reference {} NOTIFYs and their ACKs", vectors.len());
}
