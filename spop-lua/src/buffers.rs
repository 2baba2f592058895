//! What a connection has received and not used yet, and what it has to send.

use spop_core::{EncodeError, MAX_TRANSMIT_LEN};

use crate::raw::Misuse;

/// The most bytes that a connection takes beyond one frame while nobody reads its output or answers its NOTIFYs.
const MAX_INPUT: usize = 256 * 1024;
/// The output beyond which nothing more is read.
const MAX_OUTPUT: usize = 256 * 1024;
/// An empty buffer above this is given back.
const KEPT: usize = 64 * 1024;

/// Received bytes: the half of a frame, or what must wait.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// What lies before it was used. It is cut off once it is the larger part, so that no byte is moved again and again.
    start: usize,
}

impl Input {
    /// Refuses what would be too much, beyond a frame of `frame` bytes.
    pub(crate) fn check(&self, more: usize, frame: u32) -> Result<(), Misuse> {
        let limit = MAX_INPUT.saturating_add(frame as usize);
        let waiting = self.unread().len();
        if waiting > 0 && waiting.saturating_add(more) > limit {
            return Err(Misuse::plain("too many bytes fed while want() is 0: send output(), answer the open NOTIFYs"));
        }
        Ok(())
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets the first `used` bytes.
    pub(crate) fn consume(&mut self, used: usize) {
        self.start = self.start.saturating_add(used).min(self.bytes.len());
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }
}

/// Frames to send.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// The bytes of whole frames; what follows is room.
    len: usize,
}

impl Output {
    /// True if so much waits that nothing more is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.len > MAX_OUTPUT
    }

    /// `len` bytes behind the last frame, for the next one.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.len.saturating_add(len);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.len..end).unwrap_or_default()
    }

    /// Adds the frame of `len` bytes that is in the room now.
    pub(crate) fn commit(&mut self, len: usize) {
        self.len = self.len.saturating_add(len).min(self.bytes.len());
    }

    /// Adds the frames that a state machine has to send; true if there was one.
    pub(crate) fn transmit(&mut self, mut poll: impl FnMut(&mut [u8]) -> Result<Option<usize>, EncodeError>) -> bool {
        let mut any = false;
        while let Ok(Some(len)) = poll(self.room(MAX_TRANSMIT_LEN)) {
            self.commit(len);
            any = true;
        }
        any
    }

    /// The frames to send.
    pub(crate) fn frames(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Forgets the frames: they were handed over.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        if self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
    }

    /// Gives all of the memory back once the frames were handed over.
    pub(crate) fn release_if_empty(&mut self) {
        if self.len == 0 {
            self.bytes = Vec::new();
        }
    }
}
