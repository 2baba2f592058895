//! Cuts a stream of bytes into frames, and finds the way back after bytes that are none.

use spop_core::{PREFIX_LEN, Status};

use super::frame::is_plausible;

/// A spent beginning is cut off once it is so long.
const SPENT: usize = 256 * 1024;

/// Holds one frame of the largest size and what came with its end, no more.
pub(crate) struct Splitter {
    max_frame_size: u32,
    buf: Vec<u8>,
    pos: usize,
    /// Offset of `buf[0]` in the stream.
    base: u64,
    /// Where the search for a frame began, if one is on.
    lost_at: Option<u64>,
    /// Bytes that the search decoded in vain.
    effort: usize,
}

/// So much may be decoded in vain for each byte that the search passes over, and at first. Beyond, what has the header of a
/// frame is one: hostile bytes can hold a long frame without an end at every tenth byte.
const EFFORT: usize = 64;
const FIRST_EFFORT: usize = 4 * 1024 * 1024;

/// What comes next in a stream.
pub(crate) enum Piece<'a> {
    /// A whole frame, prefix included.
    Frame { offset: u64, bytes: &'a [u8] },
    /// No frame can have this length; the search for the next one begins.
    Bad { offset: u64, length: u32, status: Status },
    /// Bytes that the search passed over.
    Skipped { offset: u64, len: u64 },
    /// The stream ends inside a frame.
    Cut { offset: u64, have: usize, need: Option<usize> },
}

impl Splitter {
    /// A stream that begins with a frame.
    pub(crate) fn new(max_frame_size: u32) -> Self {
        Splitter { max_frame_size, buf: Vec::new(), pos: 0, base: 0, lost_at: None, effort: 0 }
    }

    /// A stream that may begin anywhere.
    pub(crate) fn searching(max_frame_size: u32) -> Self {
        Splitter { lost_at: Some(0), ..Splitter::new(max_frame_size) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.pos == self.buf.len() || self.pos > SPENT {
            self.buf.drain(..self.pos);
            self.base += self.pos as u64;
            self.pos = 0;
        }
        if self.buf.is_empty() && self.buf.capacity() > SPENT {
            self.buf = Vec::new();
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Its memory.
    pub(crate) fn held(&self) -> usize {
        self.buf.capacity()
    }

    /// The bytes that are not used yet.
    pub(crate) fn waiting(&self) -> usize {
        self.buf.len().saturating_sub(self.pos)
    }

    /// If nothing more came: is a frame in what is searched? One may wait behind bytes that looked like the beginning of a
    /// longer one.
    pub(crate) fn holds_frame(&mut self) -> bool {
        self.lost_at.is_none() || self.search(true)
    }

    /// Bytes of the stream are missing here; what was pushed and not used is of no use without them.
    pub(crate) fn jump(&mut self, missing: u64) {
        self.base = self.seen() + missing;
        self.pos = 0;
        self.buf = Vec::new();
        self.lost_at = self.lost_at.or(Some(self.base));
    }

    /// The bytes of the stream so far, gaps included.
    pub(crate) fn seen(&self) -> u64 {
        self.base + self.buf.len() as u64
    }

    fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The next piece, `None` if more bytes are needed for it; `end` tells that none will come.
    pub(crate) fn next(&mut self, end: bool) -> Option<Piece<'_>> {
        if self.lost_at.is_some() {
            if !self.search(end) {
                return if end { self.cut() } else { None };
            }
            let offset = self.lost_at.take().unwrap_or_default();
            let len = self.offset() - offset;
            if len > 0 {
                return Some(Piece::Skipped { offset, len });
            }
        }
        let offset = self.offset();
        let rest = self.buf.get(self.pos..).unwrap_or_default();
        match spop_core::peek_len(rest, self.max_frame_size) {
            Err(error) => {
                let length = rest.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default();
                self.lost_at = Some(offset);
                self.pos += 1;
                Some(Piece::Bad { offset, length, status: error.status() })
            }
            Ok(Some(total)) if rest.len() >= total => {
                let start = self.pos;
                self.pos += total;
                self.buf.get(start..start + total).map(|bytes| Piece::Frame { offset, bytes })
            }
            Ok(_) if end => self.cut(),
            Ok(_) => None,
        }
    }

    /// Moves to where a frame may begin; false if that takes more bytes.
    fn search(&mut self, end: bool) -> bool {
        let offset = self.offset();
        let passed = self.lost_at.map_or(0, |at| usize::try_from(offset - at).unwrap_or(usize::MAX));
        let mut limit = passed.saturating_mul(EFFORT).saturating_add(FIRST_EFFORT);
        while let Some(rest) = self.buf.get(self.pos..).filter(|rest| !rest.is_empty()) {
            match is_plausible(rest, self.max_frame_size, self.effort < limit) {
                Some(Ok(())) => {
                    self.effort = 0;
                    return true;
                }
                None if !end => return false,
                decoded => {
                    self.effort = self.effort.saturating_add(decoded.and_then(Result::err).unwrap_or(0));
                    limit = limit.saturating_add(EFFORT);
                    self.pos += 1;
                }
            }
        }
        false
    }

    /// What is left at the end, all of it.
    fn cut(&mut self) -> Option<Piece<'_>> {
        if let Some(offset) = self.lost_at.take() {
            self.pos = self.buf.len();
            let len = self.offset() - offset;
            return (len > 0).then_some(Piece::Skipped { offset, len });
        }
        let offset = self.offset();
        let rest = self.buf.get(self.pos..).unwrap_or_default();
        let need = spop_core::peek_len(rest, self.max_frame_size).ok().flatten();
        let have = rest.len();
        self.pos = self.buf.len();
        (have > 0).then_some(Piece::Cut { offset, have, need: need.filter(|&n| n > PREFIX_LEN) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: &[u8] = b"\0\0\0\x07\x67\0\0\0\x01\x01\x01";

    /// The pieces of a stream that comes in steps of `step` bytes.
    fn pieces(stream: &[u8], step: usize, mut splitter: Splitter) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |splitter: &mut Splitter, end| {
            while let Some(piece) = splitter.next(end) {
                found.push(match piece {
                    Piece::Frame { offset, bytes } => format!("frame {offset}+{}", bytes.len()),
                    Piece::Bad { offset, length, status } => format!("bad {offset} {length} {}", status.0),
                    Piece::Skipped { offset, len } => format!("skipped {offset}+{len}"),
                    Piece::Cut { offset, have, need } => format!("cut {offset}+{have} of {need:?}"),
                });
            }
        };
        for bytes in stream.chunks(step) {
            splitter.push(bytes);
            note(&mut splitter, false);
        }
        note(&mut splitter, true);
        found
    }

    #[test]
    fn the_same_pieces_however_the_bytes_come() {
        let stream = [ACK, ACK, b"GET / HTTP/1.1\r\n\r\n", ACK, &[0, 0, 0, 3], ACK, &ACK[..9]].concat();
        let expected = [
            "frame 0+11",
            "frame 11+11",
            "bad 22 1195725856 3",
            "skipped 22+18",
            "frame 40+11",
            "bad 51 3 4",
            "skipped 51+4",
            "frame 55+11",
            "cut 66+9 of Some(11)",
        ];
        for step in [1, 2, 7, 1000] {
            assert_eq!(pieces(&stream, step, Splitter::new(16380)), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_stream_from_the_middle() {
        let stream = [&ACK[5..], ACK].concat();
        assert_eq!(pieces(&stream, 1, Splitter::searching(16380)), ["skipped 0+6", "frame 6+11"]);
        assert_eq!(
            pieces(&[ACK, &ACK[..3]].concat(), 4, Splitter::searching(16380)),
            ["frame 0+11", "cut 11+3 of None"]
        );
        assert_eq!(pieces(&[7; 50], 9, Splitter::searching(16380)), ["skipped 0+50"]);
        assert!(pieces(&[], 1, Splitter::searching(16380)).is_empty());
    }

    /// Bytes of which every 20th begins a frame that is only broken at its end, a MiB later.
    #[test]
    fn a_search_that_is_led_on_ends() {
        let unit = b"\0\x0f\0\0\x01\0\0\0\x01\x01\x01";
        // A key of as many bytes as the next header has, NULL, and a key that brings both readings together again.
        let stream: Vec<u8> = (0..60_000)
            .flat_map(|_| [&[unit.len() as u8][..], unit, &[8, 8, 0, 0, 0, 0, 0, 0, 0, 0]].concat())
            .collect();
        let mut splitter = Splitter::searching(1024 * 1024);
        splitter.push(&stream);
        let mut frames = 0;
        while let Some(piece) = splitter.next(true) {
            frames += usize::from(matches!(piece, Piece::Frame { .. }));
        }
        assert!(splitter.waiting() == 0 && frames <= 2, "{frames}");
    }

    #[test]
    fn memory_is_bounded_by_the_frame_size() {
        let mut splitter = Splitter::new(16380);
        for _ in 0..1000 {
            splitter.push(&[0xFF; 4096]);
            while splitter.next(false).is_some() {}
            assert!(splitter.buf.len() < SPENT + 3 * 16380);
        }
        for _ in 0..100_000 {
            splitter.push(ACK);
            while splitter.next(false).is_some() {}
        }
        assert!(splitter.buf.capacity() < 4 * SPENT);
    }
}
