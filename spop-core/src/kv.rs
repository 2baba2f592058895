//! Lists of key and value: the payload of HELLO and DISCONNECT, and the arguments of a message.

use crate::error::DecodeError;
use crate::reader::Reader;
use crate::value::Value;

/// A key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Kv<'a> {
    /// The key; empty for an unnamed argument.
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Kv<'a> {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Kv { key: reader.string()?, value: Value::decode(reader)? })
    }

    /// The key as text, if it is UTF-8.
    pub fn key_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.key).ok()
    }
}

/// The pairs of a KV list, to the end of its bytes (SPOE.txt, section 3.1). Order and duplicates are kept.
///
/// A fused iterator: after an error it ends.
#[derive(Clone, Debug)]
pub struct KvList<'a> {
    reader: Reader<'a>,
}

impl<'a> KvList<'a> {
    /// The pairs in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        KvList { reader: Reader::new(bytes) }
    }

    /// The pairs from `reader` on.
    pub const fn at(reader: Reader<'a>) -> Self {
        KvList { reader }
    }

    /// Where the next pair begins.
    pub const fn reader(&self) -> Reader<'a> {
        self.reader
    }
}

impl<'a> Iterator for KvList<'a> {
    type Item = Result<Kv<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let item = Kv::decode(&mut self.reader);
        if item.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(item)
    }
}

impl core::iter::FusedIterator for KvList<'_> {}

/// The arguments of a message: as many pairs as its count byte announces. Order and duplicates are kept.
///
/// A fused iterator: after an error it ends.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    reader: Reader<'a>,
    left: u8,
}

impl<'a> Args<'a> {
    /// The next `count` pairs from `reader` on.
    pub const fn at(reader: Reader<'a>, count: u8) -> Self {
        Args { reader, left: count }
    }

    /// The number of pairs that are left, as announced.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        self.left as usize
    }

    /// Where the next pair begins.
    pub const fn reader(&self) -> Reader<'a> {
        self.reader
    }

    /// Passes over all that is left; the cursor behind it.
    #[inline]
    pub(crate) fn skip_all(mut self) -> Result<Reader<'a>, DecodeError> {
        while self.left > 0 {
            self.left -= 1;
            self.reader.string()?;
            Value::skip(&mut self.reader)?;
        }
        Ok(self.reader)
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = Result<Kv<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = Kv::decode(&mut self.reader);
        if item.is_err() {
            self.left = 0;
        }
        Some(item)
    }
}

impl core::iter::FusedIterator for Args<'_> {}
