//! A direction of a connection, taken apart into frames.

use spop_core::{DecodeError, peek_len};

/// Longer than any frame that is agreed on in practice: what says it is longer passes as it is.
const LONGEST: u32 = 1 << 20;

/// The bytes of a frame that are there so far.
#[derive(Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    used: usize,
    /// Nothing more can be told apart.
    lost: bool,
}

/// What the bytes so far are.
pub(super) enum Piece<'a> {
    /// A frame with its prefix.
    Frame(&'a [u8]),
    /// No frame: these bytes, and all that follow.
    Rest(&'a [u8], Option<DecodeError>),
}

impl Frames {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.used));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next one, if it is there as a whole.
    pub(super) fn next(&mut self) -> Option<Piece<'_>> {
        let unread = self.bytes.get(self.used..).unwrap_or_default();
        if unread.is_empty() {
            return None;
        }
        let len = match peek_len(unread, LONGEST) {
            _ if self.lost => Err(None),
            Ok(None) => return None,
            Ok(Some(len)) => Ok(len),
            Err(error) => Err(Some(error)),
        };
        match len {
            Ok(len) => {
                let frame = unread.get(..len)?;
                self.used += len;
                Some(Piece::Frame(frame))
            }
            Err(error) => {
                self.lost = true;
                self.used = self.bytes.len();
                Some(Piece::Rest(unread, error))
            }
        }
    }

    /// What is left at the end: a part of a frame.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }
}
