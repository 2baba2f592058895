//! Valid frames of every type: decoded, compared, written again.

use serde::Deserialize;
use serde_json::Value as Json;
use spop_core::{
    AckEncoder, Action, Flags, FrameEncoder, FrameId, FrameType, Header, HelloEncoder, NotifyEncoder, StreamId,
};

use super::{assert_all, convert, load};
use crate::common::{decode, hex, unhex, walk};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    id: String,
    sender: String,
    hex: String,
    #[serde(rename = "type")]
    frame_type: u8,
    flags: u32,
    stream_id: String,
    frame_id: String,
    payload: Payload,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Payload {
    Kv { items: Json },
    Messages { items: Json },
    Actions { items: Json },
    Fragment { hex: String },
}

#[test]
fn frames() {
    let vectors: Vec<Vector> = load("frames_valid.json");
    for v in &vectors {
        let id = &v.id;
        let bytes = unhex(&v.hex);
        let frame = decode(&bytes);
        let header = Header {
            frame_type: FrameType(v.frame_type),
            flags: Flags(v.flags),
            stream_id: StreamId(v.stream_id.parse().unwrap()),
            frame_id: FrameId(v.frame_id.parse().unwrap()),
        };
        assert_eq!(frame.header, header, "{id}");
        match v.sender.as_str() {
            "agent" => assert!(v.frame_type > 100, "{id}"),
            "haproxy" => assert!(v.frame_type < 100, "{id}"),
            other => panic!("{id}: sender {other}"),
        }
        match &v.payload {
            Payload::Kv { items } => assert_eq!(&convert::kv_list(&frame), items, "{id}"),
            Payload::Messages { items } => {
                assert_eq!(&convert::messages(&frame), items, "{id}");
                assert_eq!(frame.messages().validate().unwrap().len(), items.as_array().unwrap().len(), "{id}");
            }
            Payload::Actions { items } => assert_eq!(&convert::actions(&frame), items, "{id}"),
            Payload::Fragment { hex: bytes } => assert_eq!(&hex(frame.payload), bytes, "{id}"),
        }
        assert_eq!(hex(&walk::reencode(&frame).unwrap()), v.hex, "{id}");
        if header.flags == Flags::FIN {
            assert_eq!(hex(&by_its_own_encoder(&bytes)), v.hex, "{id}");
        }
    }
    assert_all(vectors.iter().map(|v| &v.id), 41);
    println!("vectors: frames {} valid", vectors.len());
}

/// The frame written again by the encoder of its type, in a buffer of its exact length.
fn by_its_own_encoder(bytes: &[u8]) -> Vec<u8> {
    let frame = decode(bytes);
    let Header { stream_id, frame_id, .. } = frame.header;
    let mut buf = vec![0; bytes.len()];
    let max = bytes.len() as u32 - 4;
    let len = match frame.header.frame_type {
        FrameType::NOTIFY => {
            let mut notify = NotifyEncoder::new(&mut buf, max, stream_id, frame_id).unwrap();
            for message in frame.messages().flatten() {
                notify.message(message.name).unwrap();
                for arg in message.args.flatten() {
                    notify.arg(arg.key, arg.value).unwrap();
                }
            }
            assert_eq!(notify.room(), 0);
            notify.finish()
        }
        FrameType::ACK => {
            let mut ack = AckEncoder::new(&mut buf, max, stream_id, frame_id).unwrap();
            for action in frame.actions().flatten() {
                match action {
                    Action::SetVar { scope, name, value } => ack.set_var(scope, name, value).unwrap(),
                    Action::UnsetVar { scope, name } => ack.unset_var(scope, name).unwrap(),
                }
            }
            assert_eq!(ack.room(), 0);
            ack.finish()
        }
        FrameType::HAPROXY_HELLO | FrameType::AGENT_HELLO => {
            let mut hello = if frame.header.frame_type == FrameType::AGENT_HELLO {
                HelloEncoder::agent(&mut buf, max).unwrap()
            } else {
                HelloEncoder::haproxy(&mut buf, max).unwrap()
            };
            for pair in frame.kv().flatten() {
                hello.kv(pair.key, pair.value).unwrap();
            }
            hello.finish()
        }
        _ => {
            let mut raw = FrameEncoder::new(&mut buf, max, frame.header).unwrap();
            raw.payload().bytes(frame.payload).unwrap();
            raw.finish()
        }
    };
    assert_eq!(len, buf.len());
    buf
}
