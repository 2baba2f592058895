//! Lists of key and value: the payload of HELLO and DISCONNECT, and the arguments of a message.

use crate::error::{DecodeError, DecodeReason};
use crate::reader::Reader;
use crate::value::Value;
use crate::varint;

/// A key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a pair and nothing else")]
pub struct Kv<'a> {
    /// The key; empty for an unnamed argument.
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Kv<'a> {
    #[inline(never)]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Kv { key: reader.string()?, value: Value::decode(reader)? })
    }

    /// Takes the pair at the start of `bytes`; `None` for any error.
    #[inline(always)]
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        Some(Kv { key: varint::take_string(bytes)?, value: Value::take(bytes)? })
    }

    /// Why there is no pair at `reader`.
    #[cold]
    #[inline(never)]
    fn error(mut reader: Reader<'a>) -> DecodeError {
        // A fallback that cannot be reached: `take` and `decode` agree.
        Self::decode(&mut reader).err().unwrap_or(DecodeError::new(DecodeReason::Truncated, reader.offset()))
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
    pub(crate) const fn at(reader: Reader<'a>) -> Self {
        KvList { reader }
    }

    /// Where the next pair begins.
    pub(crate) const fn reader(&self) -> Reader<'a> {
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
    left: usize,
}

impl<'a> Args<'a> {
    /// The next `count` pairs from `reader` on; a message has at most 255.
    pub(crate) const fn at(reader: Reader<'a>, count: usize) -> Self {
        Args { reader, left: count }
    }

    /// The number of pairs that are left, as announced.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        self.left
    }

    /// Where the next pair begins.
    pub(crate) const fn reader(&self) -> Reader<'a> {
        self.reader
    }

    /// Passes over all that is left; the cursor behind it.
    #[inline(always)]
    pub(crate) fn skip_all(self) -> Result<Reader<'a>, DecodeError> {
        let bytes = self.reader.remaining();
        match skip(bytes, 0, self.left).and_then(|at| bytes.get(at..)) {
            Some(rest) => Ok(self.reader.advanced_to(rest)),
            None => self.decode_all(),
        }
    }

    /// The same with the error.
    #[cold]
    pub(crate) fn decode_all(mut self) -> Result<Reader<'a>, DecodeError> {
        for _ in 0..self.left {
            Kv::decode(&mut self.reader)?;
        }
        Ok(self.reader)
    }
}

/// The position behind the `count` pairs from `at` on, maybe beyond the end of `bytes`; `None` if one is malformed otherwise.
#[inline(always)]
pub(crate) fn skip(bytes: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        at = varint::skip_string(bytes, at)?;
        at = Value::skip(bytes, at)?;
    }
    Some(at)
}

impl<'a> Iterator for Args<'a> {
    type Item = Result<Kv<'a>, DecodeError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut rest = self.reader.remaining();
        match Kv::take(&mut rest) {
            Some(kv) => {
                self.reader = self.reader.advanced_to(rest);
                Some(Ok(kv))
            }
            None => {
                let broken = core::mem::replace(self, Args::at(Reader::new(&[]), 0));
                Some(Err(Kv::error(broken.reader)))
            }
        }
    }
}

impl core::iter::FusedIterator for Args<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs without a key whose value has up to 11 of these bytes, in bulk: the fast way and the careful one agree.
    #[test]
    fn skipping_finds_what_decoding_finds() {
        const BYTES: [u8; 6] = [0x00, 0x0F, 0x10, 0x7F, 0xF0, 0xFF];
        let mut found = [0_u32; 2];
        for value_type in (0..16).chain([0x11, 0x31, 0x86, 0xF8]) {
            for case in 0..BYTES.len().pow(3) {
                for run in 0..9 {
                    let mut bytes = [0x80; 14];
                    bytes[0] = 0;
                    bytes[1] = value_type;
                    bytes[2] = BYTES[case % 6];
                    bytes[3 + run] = BYTES[case / 6 % 6];
                    bytes[4 + run] = BYTES[case / 36];
                    for len in 0..bytes.len() {
                        let args = Args::at(Reader::new(&bytes[..len]), 1);
                        let mut decoding = args.clone();
                        let decoded = decoding.try_for_each(|kv| kv.map(drop)).map(|()| decoding.reader.offset());
                        assert!(
                            decoding.next().is_none() && (decoded.is_ok() || decoding.reader.remaining().is_empty())
                        );
                        let skipped = args.skip_all().map(|reader| reader.offset());
                        assert_eq!(skipped, decoded, "{:x?}", &bytes[..len]);
                        let fast = skip(&bytes[..len], 0, 1).filter(|&at| at <= len);
                        assert_eq!(fast.is_some(), decoded.is_ok(), "{:x?}", &bytes[..len]);
                        found[usize::from(decoded.is_ok())] += 1;
                    }
                }
            }
        }
        assert!(found.iter().all(|&n| n > 10_000), "both outcomes are common: {found:?}");
    }
}
