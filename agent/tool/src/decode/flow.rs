//! One direction of a TCP connection, put in order by its sequence numbers.

use std::collections::{BTreeMap, VecDeque};

/// What comes next in the stream.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Data(Vec<u8>),
    /// So many bytes are not in the capture.
    Gap(u64),
}

/// Bytes of a packet, and how many more the capture cut off behind them.
struct Segment {
    bytes: Vec<u8>,
    cut_off: u64,
}

/// Puts segments in order, with bounded memory.
pub(super) struct Flow {
    max_pending: usize,
    /// Position of the next byte: a sequence number without wrap-around.
    next: u64,
    pending: BTreeMap<u64, Segment>,
    pending_bytes: usize,
    ready: VecDeque<Step>,
    /// Bytes that came again.
    pub(super) repeated: u64,
}

impl Flow {
    /// A stream whose next byte has this sequence number.
    pub(super) fn new(seq: u32, max_pending: usize) -> Self {
        Flow {
            max_pending,
            // High enough that what comes before it has a position too.
            next: u64::from(seq) + (1 << 32),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            ready: VecDeque::new(),
            repeated: 0,
        }
    }

    /// Takes a segment in any order.
    pub(super) fn add(&mut self, seq: u32, bytes: &[u8], cut_off: u64) {
        // The nearest position to `next` with this sequence number.
        let ahead = seq.wrapping_sub(self.next as u32) as i32;
        let at = self.next.wrapping_add_signed(i64::from(ahead));
        if bytes.is_empty() && cut_off == 0 {
            return;
        }
        if at <= self.next {
            self.deliver(at, bytes, cut_off);
            self.deliver_pending();
            return;
        }
        let known = self.pending.get(&at).map_or(0, |segment| segment.bytes.len());
        if bytes.len() > known || known == 0 {
            self.pending_bytes = self.pending_bytes.saturating_sub(known).saturating_add(bytes.len());
            self.repeated += known as u64;
            self.pending.insert(at, Segment { bytes: bytes.to_vec(), cut_off });
        } else {
            self.repeated += bytes.len() as u64;
        }
        while self.pending_bytes > self.max_pending || self.pending.len() > MAX_SEGMENTS {
            self.give_up_gap();
        }
    }

    /// No more segments come: what waits behind gaps is given out.
    pub(super) fn finish(&mut self) {
        while !self.pending.is_empty() {
            self.give_up_gap();
        }
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    fn give_up_gap(&mut self) {
        if let Some((&at, _)) = self.pending.first_key_value() {
            let missing = at.saturating_sub(self.next);
            if missing > 0 {
                self.ready.push_back(Step::Gap(missing));
                self.next = at;
            }
            self.deliver_pending();
        }
    }

    fn deliver_pending(&mut self) {
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= self.next) {
            let (at, segment) = entry.remove_entry();
            self.pending_bytes = self.pending_bytes.saturating_sub(segment.bytes.len());
            self.deliver(at, &segment.bytes, segment.cut_off);
        }
    }

    /// A segment that begins at or before the next byte.
    fn deliver(&mut self, at: u64, bytes: &[u8], cut_off: u64) {
        let old = self.next.saturating_sub(at);
        let new = usize::try_from(old).ok().and_then(|old| bytes.get(old..)).unwrap_or_default();
        self.repeated += (bytes.len() - new.len()) as u64;
        if !new.is_empty() {
            self.next += new.len() as u64;
            self.ready.push_back(Step::Data(new.to_vec()));
        }
        let end = at.saturating_add(bytes.len() as u64).saturating_add(cut_off);
        if cut_off > 0 && end > self.next {
            self.ready.push_back(Step::Gap(end - self.next));
            self.next = end;
        }
    }
}

/// Empty segments would not count by their bytes.
const MAX_SEGMENTS: usize = 65536;

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(flow: &mut Flow) -> Vec<Step> {
        std::iter::from_fn(|| flow.step()).collect()
    }

    fn text(steps: &[Step]) -> String {
        let part = |step: &Step| match step {
            Step::Data(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Step::Gap(n) => format!("[{n}]"),
        };
        steps.iter().map(part).collect()
    }

    #[test]
    fn order_repeats_and_overlaps_across_the_wrap_of_sequence_numbers() {
        let mut flow = Flow::new(u32::MAX - 2, 1000);
        flow.add(u32::MAX - 2, b"abc", 0);
        flow.add(3, b"ghi", 0);
        flow.add(u32::MAX - 2, b"abc", 0);
        assert_eq!(text(&steps(&mut flow)), "abc");
        flow.add(u32::MAX, b"cdefgh", 0);
        flow.add(3, b"ghi", 0);
        flow.add(2, b"x", 0);
        assert_eq!(text(&steps(&mut flow)), "defghi");
        assert_eq!(flow.repeated, 3 + 1 + 2 + 3 + 1);
    }

    #[test]
    fn gaps_at_the_bound_at_the_end_and_by_a_short_snapshot() {
        let mut flow = Flow::new(0, 4);
        flow.add(10, b"klm", 0);
        assert_eq!(steps(&mut flow), []);
        flow.add(20, b"uv", 0);
        assert_eq!(text(&steps(&mut flow)), "[10]klm");
        flow.finish();
        assert_eq!(text(&steps(&mut flow)), "[7]uv");
        flow.add(22, b"w", 4);
        flow.add(27, b"x", 0);
        assert_eq!(text(&steps(&mut flow)), "w[4]x");
    }

    #[test]
    fn the_longer_of_two_waits() {
        let mut flow = Flow::new(0, 100);
        flow.add(1, b"b", 0);
        flow.add(1, b"bcd", 0);
        flow.add(1, b"bc", 0);
        flow.add(2, b"cde", 0);
        flow.add(0, b"a", 0);
        assert_eq!(text(&steps(&mut flow)), "abcde");
    }
}
