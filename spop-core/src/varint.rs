//! The variable-length integer of SPOP (SPOE.txt, section 3.1).
//!
//! Values below 240 take one byte; each further byte adds 7 bits (4 the second), and its continuation bit is part of
//! the sum. The code is bijective: a value has exactly one encoding, so there is no overlong form to refuse.

use crate::error::{DecodeError, DecodeReason};
use crate::reader::Reader;

/// The longest encoding of a 64-bit value, in bytes.
pub const MAX_LEN: usize = 10;

/// Decodes a varint at the start of `buf`: the value and the number of bytes it took.
///
/// # Errors
/// [`DecodeReason::Truncated`] if `buf` ends first, [`DecodeReason::VarintTooLong`] beyond 10 bytes,
/// [`DecodeReason::VarintOverflow`] above 2^64-1.
pub fn decode(buf: &[u8]) -> Result<(u64, usize), DecodeError> {
    let mut reader = Reader::new(buf);
    let value = reader.varint()?;
    Ok((value, reader.offset()))
}

/// Number of bytes that `value` takes, 1 to 10.
pub const fn len(value: u64) -> usize {
    if value < 240 {
        return 1;
    }
    let mut rest = (value - 240) >> 4;
    let mut len = 2;
    while rest >= 128 {
        rest = (rest - 128) >> 7;
        len += 1;
    }
    len
}

/// Encodes `value`; the first `len` bytes of the array count.
pub fn encode(value: u64) -> ([u8; MAX_LEN], usize) {
    let mut bytes = [0; MAX_LEN];
    let mut rest = value;
    let mut len = 1;
    let mut slots = bytes.iter_mut();
    if let Some(first) = slots.next() {
        if rest < 240 {
            *first = rest as u8;
            return (bytes, len);
        }
        *first = rest as u8 | 0xF0;
        rest = (rest - 240) >> 4;
    }
    for slot in slots {
        len += 1;
        if rest < 128 {
            *slot = rest as u8;
            break;
        }
        *slot = rest as u8 | 0x80;
        rest = (rest - 128) >> 7;
    }
    (bytes, len)
}

/// The bytes after a first byte `first` of 240 or more: the value and their number.
#[inline]
pub(crate) fn decode_tail(first: u8, tail: &[u8]) -> Result<(u64, usize), DecodeReason> {
    // Bytes 2 to 9 cannot overflow: their sum stays below 2^61.
    let mut value = first as u64;
    let mut shift = 4;
    let mut used = 0;
    let mut bytes = tail.iter();
    while shift < 60 {
        let Some(&byte) = bytes.next() else { return Err(DecodeReason::Truncated) };
        used += 1;
        value += (byte as u64) << shift;
        if byte < 0x80 {
            return Ok((value, used));
        }
        shift += 7;
    }
    match bytes.next() {
        None => Err(DecodeReason::Truncated),
        Some(&byte) if byte >= 0x80 => Err(DecodeReason::VarintTooLong),
        Some(&byte) => {
            let high = (byte as u64) << 60;
            if byte > 0x0F {
                return Err(DecodeReason::VarintOverflow);
            }
            match value.checked_add(high) {
                Some(sum) => Ok((sum, used + 1)),
                None => Err(DecodeReason::VarintOverflow),
            }
        }
    }
}
