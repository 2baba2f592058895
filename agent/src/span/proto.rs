//! Protobuf, as far as OTLP's spans need it: field numbers, and fields appended to bytes.
//!
//! A span is written field by field while it is open, so the generated types, which want the whole message first, would
//! cost a structure for each of its parts.

/// Fields of `ExportTraceServiceRequest`.
pub(crate) mod request {
    pub(crate) const RESOURCE_SPANS: u32 = 1;
}

/// Fields of `ResourceSpans`.
pub(crate) mod resource_spans {
    pub(crate) const SCOPE_SPANS: u32 = 2;
}

/// Fields of `ScopeSpans`.
pub(crate) mod scope_spans {
    pub(crate) const SPANS: u32 = 2;
}

/// Fields of `Span`.
pub(crate) mod span {
    pub(crate) const TRACE_ID: u32 = 1;
    pub(crate) const SPAN_ID: u32 = 2;
    pub(crate) const TRACE_STATE: u32 = 3;
    pub(crate) const PARENT_SPAN_ID: u32 = 4;
    pub(crate) const NAME: u32 = 5;
    pub(crate) const KIND: u32 = 6;
    pub(crate) const START: u32 = 7;
    pub(crate) const END: u32 = 8;
    pub(crate) const ATTRIBUTES: u32 = 9;
    pub(crate) const DROPPED_ATTRIBUTES: u32 = 10;
    pub(crate) const EVENTS: u32 = 11;
    pub(crate) const DROPPED_EVENTS: u32 = 12;
    pub(crate) const LINKS: u32 = 13;
    pub(crate) const DROPPED_LINKS: u32 = 14;
    pub(crate) const STATUS: u32 = 15;
    pub(crate) const FLAGS: u32 = 16;
}

/// Fields of `Span.Event`.
pub(crate) mod event {
    pub(crate) const TIME: u32 = 1;
    pub(crate) const NAME: u32 = 2;
    pub(crate) const ATTRIBUTES: u32 = 3;
    pub(crate) const DROPPED_ATTRIBUTES: u32 = 4;
}

/// Fields of `Span.Link`.
pub(crate) mod link {
    pub(crate) const TRACE_ID: u32 = 1;
    pub(crate) const SPAN_ID: u32 = 2;
    pub(crate) const TRACE_STATE: u32 = 3;
    pub(crate) const ATTRIBUTES: u32 = 4;
    pub(crate) const DROPPED_ATTRIBUTES: u32 = 5;
    pub(crate) const FLAGS: u32 = 6;
}

/// Fields of `Status`.
pub(crate) mod status {
    pub(crate) const MESSAGE: u32 = 2;
    pub(crate) const CODE: u32 = 3;
}

/// Fields of `KeyValue`.
pub(crate) mod key_value {
    pub(crate) const KEY: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
}

/// Fields of `AnyValue`.
pub(crate) mod any_value {
    pub(crate) const STRING: u32 = 1;
    pub(crate) const BOOL: u32 = 2;
    pub(crate) const INT: u32 = 3;
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LEN: u32 = 2;
const FIXED32: u32 = 5;

/// Bytes of a field of fixed length with a number below 16.
pub(crate) const FIXED64_LEN: usize = 1 + 8;
/// The same of a shorter one.
pub(crate) const FIXED32_LEN: usize = 1 + 4;
/// Bytes of a varint below 128 in such a field.
pub(crate) const NUMBER_LEN: usize = 1 + 1;

/// Bytes of a varint.
#[inline(always)]
pub(crate) fn varint_len(value: usize) -> usize {
    // Nearly all.
    if value < 0x80 { 1 } else { prost::encoding::encoded_len_varint(value as u64) }
}

/// Bytes of a field whose content is so long.
pub(crate) fn field_len(field: u32, len: usize) -> usize {
    prost::encoding::key_len(field) + varint_len(len) + len
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    put_varint(out, u64::from(field << 3 | wire_type));
}

/// The beginning of a field with a content of so many bytes, which follow.
#[inline(always)]
pub(crate) fn put_len(out: &mut Vec<u8>, field: u32, len: usize) {
    if field < 16 && len < 0x80 {
        // Nearly all, and at once.
        out.extend_from_slice(&[(field << 3 | LEN) as u8, len as u8]);
    } else {
        put_long_len(out, field, len);
    }
}

/// The beginnings of two fields, the second within the first.
#[inline(always)]
pub(crate) fn put_lens(out: &mut Vec<u8>, outer: (u32, usize), inner: (u32, usize)) {
    if outer.0 < 16 && inner.0 < 16 && outer.1 < 0x80 && inner.1 < 0x80 {
        // Room is looked for once.
        let [outer_key, inner_key] = [outer.0, inner.0].map(|field| (field << 3 | LEN) as u8);
        out.extend_from_slice(&[outer_key, outer.1 as u8, inner_key, inner.1 as u8]);
    } else {
        put_len(out, outer.0, outer.1);
        put_len(out, inner.0, inner.1);
    }
}

#[cold]
fn put_long_len(out: &mut Vec<u8>, field: u32, len: usize) {
    put_key(out, field, LEN);
    put_varint(out, len as u64);
}

/// Ends a field that began at `head` by [`put_len`] with a length of 0, as most are so short that their length takes a byte:
/// its content goes to the end of `out`.
#[inline(always)]
pub(crate) fn close_len(out: &mut Vec<u8>, head: usize) {
    let len = out.len() - (head + NUMBER_LEN);
    match out.get_mut(head + 1) {
        Some(slot) if len < 0x80 => *slot = len as u8,
        _ => close_long_len(out, head, len),
    }
}

#[cold]
fn close_long_len(out: &mut Vec<u8>, head: usize, len: usize) {
    let (from, more) = (head + NUMBER_LEN, varint_len(len) - 1);
    // Not twice what there is: a span may stay open for long, among very many.
    out.reserve_exact(more);
    out.resize(from + len + more, 0);
    out.copy_within(from..from + len, from + more);
    if let Some(mut varint) = out.get_mut(head + 1..from + more) {
        prost::encoding::encode_varint(len as u64, &mut varint);
    }
}

/// A text, bytes or a message.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    put_len(out, field, content.len());
    out.extend_from_slice(content);
}

/// A text; the empty one is what an absent field means.
pub(crate) fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, field, text.as_bytes());
    }
}

/// Bytes of a text.
pub(crate) fn text_len(field: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { field_len(field, text.len()) }
}

/// A number; 0 is what an absent field means.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_member(out, field, value);
    }
}

/// A number that is a member of a `oneof`: it says something even if it is 0.
pub(crate) fn put_member(out: &mut Vec<u8>, field: u32, value: u64) {
    put_key(out, field, VARINT);
    put_varint(out, value);
}

pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_key(out, field, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub(crate) fn put_fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    if value != 0 {
        put_key(out, field, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}
