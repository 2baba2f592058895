//! The payload of HELLO and DISCONNECT, of both sides: pairs, and the texts in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spop_core::{AgentHello, Disconnect, Frame, FrameId, FrameType, HaproxyHello, Header, KvList, StreamId, Value};
use spop_fuzz::common::laws::{bytes, round_trip};
use spop_fuzz::common::raw_frame;

fuzz_target!(|payload: &[u8]| {
    bytes::pairs(payload);
    bytes::texts(payload);
    for text in KvList::new(payload).flatten().filter_map(|kv| kv.value.as_bytes()) {
        bytes::texts(text);
    }
    round_trip::decoded_bytes(&raw_frame(FrameType::HAPROXY_HELLO, 1, (0, 0), payload));
    last_key_counts(payload);
});

/// What the parsers say is what stands in the list.
fn last_key_counts(payload: &[u8]) {
    let frame = Frame::new(Header::new(FrameType::HAPROXY_HELLO, StreamId(0), FrameId(0)), payload);
    let last = |key: &[u8]| KvList::new(payload).flatten().filter(|kv| kv.key == key).last().map(|kv| kv.value);
    if let Ok(hello) = HaproxyHello::parse(&frame) {
        assert_eq!(last(b"supported-versions"), Some(Value::String(hello.supported_versions)));
        assert_eq!(last(b"engine-id"), hello.engine_id.map(Value::String));
        assert_eq!(last(b"healthcheck").unwrap_or(Value::Bool(false)), Value::Bool(hello.healthcheck));
        let size = last(b"max-frame-size").and_then(|value| value.as_integer()).expect("it is mandatory");
        assert_eq!(size.clamp(0, i128::from(u32::MAX)), i128::from(hello.max_frame_size));
    }
    if let Ok(hello) = AgentHello::parse(&frame) {
        assert_eq!(last(b"version"), Some(Value::String(hello.version)));
    }
    if let Ok(disconnect) = Disconnect::parse(&frame) {
        assert_eq!(last(b"message").unwrap_or(Value::String(b"")), Value::String(disconnect.message));
        assert_eq!(last(b"status-code").and_then(|code| code.as_integer()), disconnect.status.map(|s| s.0.into()));
    }
}
