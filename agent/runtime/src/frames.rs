//! Counts the frames of a stream that nobody handles any more, without keeping them.

use spop_core::{FrameType, PREFIX_LEN};

/// Where a stream is: in the length and type of a frame, or in the rest of it.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; HEAD],
    have: usize,
    skip: usize,
    notifies: u64,
}

const HEAD: usize = PREFIX_LEN + 1;

impl Frames {
    /// The next bytes; the first ones are the start of a frame.
    pub(crate) fn scan(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.head[self.have] = byte;
            self.have += 1;
            if self.have == HEAD {
                let [a, b, c, d, kind] = self.head;
                self.have = 0;
                // The type was the first byte of the frame.
                self.skip = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(1);
                self.notifies += u64::from(kind == FrameType::NOTIFY.0);
            }
        }
    }

    /// The number of NOTIFYs that began.
    pub(crate) fn notifies(&self) -> u64 {
        self.notifies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_notifys_however_they_are_cut() {
        let mut stream = Vec::new();
        for (kind, len) in [(3, 9), (2, 7), (3, 1), (0, 300), (3, 2000)] {
            stream.extend_from_slice(&u32::to_be_bytes(len));
            stream.push(kind);
            // What looks like a NOTIFY inside of a frame is none.
            stream.extend(std::iter::repeat_n(3, len as usize - 1));
        }
        for step in [1, 2, 3, 7, 4096] {
            let mut frames = Frames::default();
            stream.chunks(step).for_each(|bytes| frames.scan(bytes));
            assert_eq!(frames.notifies(), 3, "in steps of {step}");
        }
        let mut cut = Frames::default();
        cut.scan(&stream[..4]);
        assert_eq!(cut.notifies(), 0);
    }
}
