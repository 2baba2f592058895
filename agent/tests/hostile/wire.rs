//! Frames by hand: everything can be wrong.

use spop_core::{Value, Writer};

pub const UNSET: u8 = 0;
pub const HELLO: u8 = 1;
pub const DISCONNECT: u8 = 2;
pub const NOTIFY: u8 = 3;
pub const AGENT_HELLO: u8 = 101;
pub const AGENT_DISCONNECT: u8 = 102;
pub const ACK: u8 = 103;

pub const FIN: u32 = 1;
pub const ABORT: u32 = 2;

/// What the cases announce, and the agents are told to take.
pub const MAX_FRAME_SIZE: u32 = 16380;

/// Bytes with a length before them, right or wrong.
pub fn prefixed(len: u32, body: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], body].concat()
}

pub fn frame(kind: u8, flags: u32, stream_id: u64, frame_id: u64, payload: &[u8]) -> Vec<u8> {
    let body = [&[kind][..], &flags.to_be_bytes(), &varint(stream_id), &varint(frame_id), payload].concat();
    prefixed(body.len() as u32, &body)
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 17];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer);
    let len = writer.len();
    bytes.truncate(len);
    bytes
}

pub fn varint(value: u64) -> Vec<u8> {
    written(|w| w.varint(value).unwrap())
}

pub fn kv(key: impl AsRef<[u8]>, value: Value<'_>) -> Vec<u8> {
    written(|w| w.kv(key.as_ref(), value).unwrap())
}

/// A message; its arguments are encoded already.
pub fn message(name: impl AsRef<[u8]>, args: &[Vec<u8>]) -> Vec<u8> {
    let head = written(|w| {
        w.string(name.as_ref()).unwrap();
        w.u8(args.len() as u8).unwrap();
    });
    [head, args.concat()].concat()
}

/// The three keys that a HELLO needs.
pub fn hello_keys() -> [Vec<u8>; 3] {
    [
        kv("supported-versions", Value::from("2.0")),
        kv("max-frame-size", Value::UInt32(MAX_FRAME_SIZE)),
        kv("capabilities", Value::from("pipelining")),
    ]
}

pub fn hello_with(keys: &[Vec<u8>]) -> Vec<u8> {
    frame(HELLO, FIN, 0, 0, &keys.concat())
}

/// A HELLO as HAProxy sends it.
pub fn hello() -> Vec<u8> {
    hello_with(&hello_keys())
}

/// A NOTIFY with one message for nobody.
pub fn notify(stream_id: u64, frame_id: u64) -> Vec<u8> {
    frame(NOTIFY, FIN, stream_id, frame_id, &message("m", &[]))
}

pub fn disconnect(status: u32) -> Vec<u8> {
    let payload = [kv("status-code", Value::UInt32(status)), kv("message", Value::from("normal"))].concat();
    frame(DISCONNECT, FIN, 0, 0, &payload)
}
