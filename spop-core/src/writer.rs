//! A bounded cursor that appends to a caller's buffer. A write that does not fit leaves the length, and every byte
//! below it, as they were.

use crate::error::EncodeError;
use crate::value::Value;
use crate::varint;

/// Appends the fields of the protocol one after the other.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// Writes to the start of `buf`, at most all of it.
    pub fn new(buf: &'b mut [u8]) -> Self {
        Writer { buf, len: 0 }
    }

    /// Goes on where a writer over the same `buf` stopped, `len` bytes written.
    pub(crate) fn resume(buf: &'b mut [u8], len: usize) -> Self {
        let len = len.min(buf.len());
        Writer { buf, len }
    }

    /// The number of bytes written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len)
    }

    /// Forgets all but the first `len` bytes; no effect beyond the present length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Undoes what `write` did if it fails.
    #[inline(always)]
    pub fn transaction(&mut self, write: impl FnOnce(&mut Self) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
        let before = self.len;
        let result = write(self);
        if result.is_err() {
            self.len = before;
        }
        result
    }

    /// Appends bytes as they are.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; so in all methods here.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let room = self.buf.get_mut(self.len..).and_then(|room| room.get_mut(..bytes.len()));
        let Some(room) = room else { return Err(EncodeError::NoSpace) };
        room.copy_from_slice(bytes);
        self.len = self.len.wrapping_add(bytes.len());
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline(always)]
    pub fn u8(&mut self, byte: u8) -> Result<(), EncodeError> {
        let Some(slot) = self.buf.get_mut(self.len) else { return Err(EncodeError::NoSpace) };
        *slot = byte;
        self.len = self.len.wrapping_add(1);
        Ok(())
    }

    /// Appends a big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline(always)]
    pub fn u32_be(&mut self, value: u32) -> Result<(), EncodeError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a varint.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline(always)]
    pub fn varint(&mut self, value: u64) -> Result<(), EncodeError> {
        if value < 240 {
            return self.u8(value as u8);
        }
        let (bytes, len) = varint::encode(value);
        self.bytes(bytes.get(..len).unwrap_or(&bytes))
    }

    /// Appends a string body: length and bytes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline(always)]
    pub fn string(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        let bytes = bytes.as_ref();
        self.transaction(|w| {
            w.varint(bytes.len() as u64)?;
            w.bytes(bytes)
        })
    }

    /// Appends a typed value. Negative integers of both widths are sign-extended to 64 bits.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn value<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<(), EncodeError> {
        self.typed(&value.into())
    }

    /// Once for all types that are values, for the sake of the size.
    #[inline]
    fn typed(&mut self, value: &Value<'_>) -> Result<(), EncodeError> {
        self.transaction(|w| {
            w.u8(value.type_byte())?;
            match *value {
                Value::Null | Value::Bool(_) => Ok(()),
                Value::Int32(n) => w.varint(n as i64 as u64),
                Value::UInt32(n) => w.varint(u64::from(n)),
                Value::Int64(n) => w.varint(n as u64),
                Value::UInt64(n) => w.varint(n),
                Value::Ipv4(ip) => w.bytes(&ip.octets()),
                Value::Ipv6(ip) => w.bytes(&ip.octets()),
                Value::String(bytes) | Value::Binary(bytes) => w.string(bytes),
            }
        })
    }

    /// Appends a key and a value.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn kv<'v>(&mut self, key: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> Result<(), EncodeError> {
        self.pair(key.as_ref(), &value.into())
    }

    #[inline]
    fn pair(&mut self, key: &[u8], value: &Value<'_>) -> Result<(), EncodeError> {
        self.transaction(|w| {
            w.string(key)?;
            w.typed(value)
        })
    }

    /// Overwrites a byte that was written before; no effect beyond the present length.
    #[inline]
    pub(crate) fn patch_u8(&mut self, at: usize, byte: u8) {
        if let Some(slot) = self.buf.get_mut(at) {
            *slot = byte;
        }
    }

    /// Overwrites four bytes at the start.
    #[inline]
    pub(crate) fn patch_first_u32_be(&mut self, value: u32) {
        if let Some(slot) = self.buf.first_chunk_mut() {
            *slot = value.to_be_bytes();
        }
    }
}
