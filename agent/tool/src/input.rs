//! The bytes that came from an agent and are not used yet.

use std::io::{self, Read};

/// The room of the first read, and what a buffer keeps.
const ROOM: usize = 64 * 1024;

/// Grows to the largest frame that is awaited, no further.
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        Input { bytes: Vec::new(), start: 0, end: 0 }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// One read with room for at least `want` bytes.
    pub(crate) fn read(&mut self, mut from: impl Read, want: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let needed = self.end.saturating_add(want).max(ROOM);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let n = from.read(self.bytes.get_mut(self.end..).unwrap_or_default())?;
        self.end += n;
        Ok(n)
    }
}
