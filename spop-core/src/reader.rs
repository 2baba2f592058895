//! A cursor over borrowed bytes. Every read is bounded by what is left; nothing is copied and nothing panics.

use crate::error::{DecodeError, DecodeReason};
use crate::varint;

/// Reads the fields of the protocol one after the other.
///
/// After an error the position is unspecified within the input; the iterators of this crate stop there.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Offset of the end of `rest` in the bytes that errors refer to.
    end: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, end: bytes.len() }
    }

    /// A cursor over `bytes` that stand at `offset` in what errors refer to: goes on where another one stopped.
    pub(crate) const fn resume(bytes: &'a [u8], offset: usize) -> Self {
        Reader { rest: bytes, end: offset.wrapping_add(bytes.len()) }
    }

    /// The same cursor further on, where only `rest`, the end of what is left now, remains.
    #[inline(always)]
    pub(crate) const fn advanced_to(self, rest: &'a [u8]) -> Self {
        Reader { rest, end: self.end }
    }

    /// Offset of the next byte.
    pub const fn offset(&self) -> usize {
        self.end.wrapping_sub(self.rest.len())
    }

    /// The bytes that are left.
    pub const fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// True if no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(crate) fn error<T>(&self, reason: DecodeReason) -> Result<T, DecodeError> {
        Err(DecodeError::new(reason, self.offset()))
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeReason::Truncated`] at the end.
    #[inline(always)]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else { return self.error(DecodeReason::Truncated) };
        self.rest = rest;
        Ok(byte)
    }

    /// A big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`DecodeReason::Truncated`] if fewer than 4 bytes are left.
    #[inline(always)]
    pub fn u32_be(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeReason::Truncated`] if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((&array, rest)) = self.rest.split_first_chunk() else { return self.error(DecodeReason::Truncated) };
        self.rest = rest;
        Ok(array)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeReason::Truncated`] if fewer are left, whatever `len` is.
    #[inline(always)]
    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        if len > self.rest.len() as u64 {
            return self.error(DecodeReason::Truncated);
        }
        let Some((bytes, rest)) = self.rest.split_at_checked(len as usize) else {
            return self.error(DecodeReason::Truncated);
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// A varint, as [`varint::decode`].
    ///
    /// # Errors
    /// Those of [`varint::decode`].
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let Some((value, rest)) = varint::split(self.rest) else { return self.error(varint::error(self.rest)) };
        self.rest = rest;
        Ok(value)
    }

    /// A string body: a varint length and as many bytes.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint) and [`bytes`](Self::bytes).
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        varint::take_string(&mut self.rest).ok_or_else(|| string_error(self.rest, self.end))
    }
}

/// Why there is no string body at the start of `bytes`: its length is broken, or goes past the end.
#[cold]
#[inline(never)]
fn string_error(bytes: &[u8], end: usize) -> DecodeError {
    let mut reader = Reader { rest: bytes, end };
    let length = reader.varint();
    length.err().unwrap_or_else(|| DecodeError::new(DecodeReason::Truncated, reader.offset()))
}
