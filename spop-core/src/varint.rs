//! The variable-length integer of SPOP (SPOE.txt, section 3.1).
//!
//! Values below 240 take one byte; each further byte adds 7 bits (4 the second), and its continuation bit is part of
//! the sum. The code is bijective: a value has exactly one encoding, so there is no overlong form to refuse.

use core::num::NonZeroUsize;

use crate::error::{DecodeError, DecodeReason};

/// The longest encoding of a 64-bit value, in bytes.
pub const MAX_LEN: usize = 10;

/// Decodes a varint at the start of `buf`: the value and the number of bytes it took.
///
/// # Errors
/// [`DecodeReason::Truncated`] if `buf` ends first, [`DecodeReason::VarintTooLong`] beyond 10 bytes,
/// [`DecodeReason::VarintOverflow`] above 2^64-1.
pub fn decode(buf: &[u8]) -> Result<(u64, usize), DecodeError> {
    read(buf, 0).ok_or_else(|| DecodeError::new(error(buf), 0))
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
#[inline(never)]
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

/// The varint at the start of `bytes` and what follows it; `None` for any error.
#[inline(always)]
pub(crate) fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 240 {
        return Some((first as u64, rest));
    }
    let (value, used) = decode_tail(first, rest);
    Some((value, rest.get(used?.get()..)?))
}

/// Takes the varint at the start of `bytes`; `None` for any error.
#[inline(always)]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, rest) = split(bytes)?;
    *bytes = rest;
    Some(value)
}

/// Takes the string body at the start of `bytes`; `None` for any error.
#[inline(always)]
pub(crate) fn take_string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = split(bytes)?;
    let (string, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(string)
}

/// The varint at `at` and the position behind it; `None` for any error.
#[inline(always)]
pub(crate) fn read(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    let at = at + 1;
    if first < 240 {
        return Some((first as u64, at));
    }
    let (value, used) = decode_tail(first, bytes.get(at..)?);
    Some((value, at + used?.get()))
}

/// The position behind the string body at `at`, maybe beyond the end of `bytes`; `None` if its length is broken.
#[inline(always)]
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    if first < 240 {
        return Some(at + 1 + usize::from(first));
    }
    let (len, at) = read(bytes, at)?;
    at.checked_add(usize::try_from(len).ok()?)
}

/// The bytes after a first byte of 240 or more: the value, and how many they were, `None` for any error. A pair of
/// integers, so that it comes back in registers.
#[cold] // Most varints are one byte.
#[inline(never)]
fn decode_tail(first: u8, tail: &[u8]) -> (u64, Option<NonZeroUsize>) {
    match tail.first_chunk::<{ MAX_LEN - 1 }>() {
        // The same with a length that the compiler knows: no check for the end at each byte.
        Some(tail) => sum_tail(first, tail),
        None => sum_tail(first, tail),
    }
}

#[inline(always)]
fn sum_tail(first: u8, tail: &[u8]) -> (u64, Option<NonZeroUsize>) {
    // The first eight cannot overflow: their sum stays below 2^61.
    let mut value = first as u64;
    for (at, &byte) in tail.iter().take(MAX_LEN - 2).enumerate() {
        value += (byte as u64) << (4 + 7 * at);
        if byte < 0x80 {
            return (value, NonZeroUsize::new(at + 1));
        }
    }
    match tail.get(MAX_LEN - 2) {
        Some(&last) if last <= 0x0F => match value.checked_add((last as u64) << 60) {
            Some(value) => (value, NonZeroUsize::new(MAX_LEN - 1)),
            None => (0, None),
        },
        _ => (0, None),
    }
}

/// Why there is no varint at the start of `bytes`.
#[cold]
pub(crate) fn error(bytes: &[u8]) -> DecodeReason {
    match bytes.get(MAX_LEN - 1) {
        None => DecodeReason::Truncated,
        Some(&last) if last >= 0x80 => DecodeReason::VarintTooLong,
        Some(_) => DecodeReason::VarintOverflow,
    }
}
