//! Lengths of what an encoder would write, to size a buffer beforehand.

use crate::frame::{FrameId, FrameType, Header, PREFIX_LEN, StreamId};
use crate::value::Value;
use crate::varint;

/// A whole frame, prefix included, with a payload of `payload_len` bytes.
pub const fn frame(stream_id: StreamId, frame_id: FrameId, payload_len: usize) -> usize {
    let header = Header::new(FrameType::NOTIFY, stream_id, frame_id).encoded_len();
    PREFIX_LEN.saturating_add(header).saturating_add(payload_len)
}

/// A string body.
pub const fn string(bytes: &[u8]) -> usize {
    varint::len(bytes.len() as u64).saturating_add(bytes.len())
}

/// A key with its value: a pair of a HELLO, or an argument of a message.
pub const fn kv(key: &[u8], value: &Value<'_>) -> usize {
    string(key).saturating_add(value.encoded_len())
}

/// A message without its arguments: name and count.
pub const fn message(name: &[u8]) -> usize {
    string(name).saturating_add(1)
}

/// A set-var action.
pub const fn set_var(name: &[u8], value: &Value<'_>) -> usize {
    kv(name, value).saturating_add(3)
}

/// An unset-var action.
pub const fn unset_var(name: &[u8]) -> usize {
    string(name).saturating_add(3)
}
