//! Reassembly of a fragmented NOTIFY in the caller's memory (SPOE.txt, section 3.2.3).

use crate::frame::{FrameId, StreamId};

/// Gathers the fragments of one NOTIFY at a time.
///
/// The bytes go into a slice that the caller gives at every call, always the same one; its length bounds them.
/// A NOTIFY beyond a bound is not kept: its further fragments are passed over until the last one.
///
/// ```
/// use spop_core::{FrameId, Reassembler, Reassembled, StreamId};
///
/// let mut memory = [0; 16];
/// let mut reassembler = Reassembler::new(8);
/// let ids = (StreamId(3), FrameId(1));
/// reassembler.start(ids, b"first ", &mut memory);
/// assert!(reassembler.is_open(ids));
/// reassembler.push(b"second", &mut memory);
/// assert_eq!(reassembler.finish(), Reassembled::Whole(12));
/// assert_eq!(&memory[..12], b"first second");
/// ```
#[derive(Clone, Debug)]
pub struct Reassembler {
    max_fragments: u32,
    open: Option<(StreamId, FrameId)>,
    fragments: u32,
    len: usize,
    too_big: bool,
}

/// What became of the fragments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reassembled {
    /// The payload is complete: so many bytes at the start of the caller's slice.
    Whole(usize),
    /// There were more bytes or more fragments than the bounds allow.
    TooBig,
}

impl Reassembler {
    /// Nothing gathered yet; at most `max_fragments` fragments for each NOTIFY.
    pub const fn new(max_fragments: u32) -> Self {
        Self { max_fragments, open: None, fragments: 0, len: 0, too_big: false }
    }

    /// Is a NOTIFY begun and not finished?
    pub const fn in_progress(&self) -> bool {
        self.open.is_some()
    }

    /// Is this the NOTIFY that is in progress?
    pub fn is_open(&self, ids: (StreamId, FrameId)) -> bool {
        self.open == Some(ids)
    }

    /// Begins a NOTIFY with its first fragment; what was in progress is dropped.
    pub fn start(&mut self, ids: (StreamId, FrameId), fragment: &[u8], memory: &mut [u8]) {
        *self = Self { open: Some(ids), ..Self::new(self.max_fragments) };
        self.push(fragment, memory);
    }

    /// Adds a fragment to the NOTIFY in progress; without one, nothing happens.
    pub fn push(&mut self, fragment: &[u8], memory: &mut [u8]) {
        if self.open.is_none() || self.too_big {
            return;
        }
        self.fragments = self.fragments.saturating_add(1);
        let room = memory.get_mut(self.len..).and_then(|room| room.get_mut(..fragment.len()));
        match room {
            Some(room) if self.fragments <= self.max_fragments => {
                room.copy_from_slice(fragment);
                self.len = self.len.saturating_add(fragment.len());
            }
            _ => self.too_big = true,
        }
    }

    /// Ends the NOTIFY in progress; without one, it is `Whole(0)`.
    pub fn finish(&mut self) -> Reassembled {
        let whole = if self.too_big { Reassembled::TooBig } else { Reassembled::Whole(self.len) };
        self.abort();
        whole
    }

    /// Drops the NOTIFY in progress.
    pub fn abort(&mut self) {
        self.open = None;
        self.len = 0;
        self.too_big = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: (StreamId, FrameId) = (StreamId(3), FrameId(1));

    #[test]
    fn without_a_notify_in_progress_there_are_no_bytes() {
        let mut memory = [0; 8];
        let mut reassembler = Reassembler::new(8);
        assert_eq!(reassembler.finish(), Reassembled::Whole(0));
        reassembler.start(IDS, b"old", &mut memory);
        reassembler.abort();
        reassembler.push(b"more", &mut memory);
        assert_eq!(reassembler.finish(), Reassembled::Whole(0));
        reassembler.start(IDS, b"old", &mut memory);
        assert_eq!(reassembler.finish(), Reassembled::Whole(3));
        assert_eq!(reassembler.finish(), Reassembled::Whole(0));
        reassembler.start(IDS, b"more than memory", &mut memory);
        assert_eq!(reassembler.finish(), Reassembled::TooBig);
        assert_eq!(reassembler.finish(), Reassembled::Whole(0));
        reassembler.start(IDS, b"more than memory", &mut memory);
        reassembler.abort();
        assert_eq!(reassembler.finish(), Reassembled::Whole(0));
    }
}
