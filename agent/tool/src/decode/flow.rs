//! One direction of a TCP connection, put in order by its sequence numbers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::lost::Lost;

/// What comes next in the stream, and when it was complete: the time of the latest packet that it or what is before it needed.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Data(Vec<u8>, Option<Duration>),
    /// So many bytes are not in the capture.
    Gap(u64, Option<Duration>),
}

/// Bytes of a packet, and how many more the capture cut off behind them.
pub(super) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) bytes: &'a [u8],
    pub(super) cut_off: u64,
    pub(super) time: Option<Duration>,
}

/// A segment that waits for those before it.
struct Waiting {
    bytes: Vec<u8>,
    cut_off: u64,
    time: Option<Duration>,
}

/// Puts segments in order, with bounded memory.
pub(super) struct Flow {
    max_pending: usize,
    /// Where the stream begins; positions are sequence numbers without wrap-around.
    start: u64,
    /// Position of the next byte.
    next: u64,
    /// When the first segment came of a stream whose beginning is not known yet: all of it waits, for an earlier one may come.
    opening: Option<Option<Duration>>,
    pending: BTreeMap<u64, Waiting>,
    pending_bytes: usize,
    /// The end of what came.
    furthest: u64,
    /// The capture cut off what is between `next` and here.
    cut_until: u64,
    /// Where it ends, once that is known.
    end: Option<u64>,
    lost: Lost,
    ready: VecDeque<Step>,
    latest: Option<Duration>,
    /// Bytes that came again.
    pub(super) repeated: u64,
    /// Bytes that came for the first time when their place was given up already.
    pub(super) late: u64,
}

/// Empty segments would not count by their bytes.
const MAX_SEGMENTS: usize = 65536;
const SEGMENT_OVERHEAD: usize = 128;
/// How much of a stream from the middle is gathered before the earliest of it is taken for its beginning.
const OPENING_BYTES: usize = 256 * 1024;
const OPENING_SEGMENTS: usize = 256;
pub(super) const OPENING_TIME: Duration = Duration::from_secs(1);
/// The largest window of TCP: what is further away belongs to another connection.
const MAX_WINDOW: u64 = 1 << 30;

impl Flow {
    /// A stream whose next byte has this sequence number.
    pub(super) fn new(seq: u32, max_pending: usize) -> Self {
        // High enough that what comes before it has a position too.
        let start = u64::from(seq) + (1 << 32);
        Flow {
            max_pending,
            start,
            next: start,
            opening: None,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            furthest: start,
            cut_until: 0,
            end: None,
            lost: Lost::default(),
            ready: VecDeque::new(),
            latest: None,
            repeated: 0,
            late: 0,
        }
    }

    /// A stream from the middle; the byte with this sequence number is near its beginning.
    pub(super) fn from_middle(seq: u32, time: Option<Duration>, max_pending: usize) -> Self {
        Flow { opening: Some(time), ..Flow::new(seq, max_pending) }
    }

    /// The nearest position to `next` with this sequence number.
    fn position(&self, seq: u32) -> u64 {
        let ahead = seq.wrapping_sub(self.next as u32) as i32;
        self.next.wrapping_add_signed(i64::from(ahead))
    }

    /// Can so many bytes not be of this connection?
    pub(super) fn is_foreign(&self, seq: u32, len: u64) -> bool {
        let at = self.position(seq);
        at.abs_diff(self.next) > MAX_WINDOW || self.end.is_some_and(|end| at.saturating_add(len) > end)
    }

    /// Takes a SYN: the first byte has this sequence number. False if it begins another connection.
    pub(super) fn begin(&mut self, seq: u32) -> bool {
        let at = self.position(seq);
        if self.opening.is_none() {
            return at == self.start;
        }
        let earliest = self.pending.first_key_value().map_or(self.next, |(&at, _)| at);
        if at > earliest || earliest - at > MAX_WINDOW {
            return false;
        }
        self.open_at(at);
        true
    }

    /// Takes a segment in any order.
    pub(super) fn add(&mut self, segment: &Segment<'_>) {
        let Segment { seq, bytes, cut_off, time } = *segment;
        if bytes.is_empty() && cut_off == 0 {
            return;
        }
        let at = self.position(seq);
        self.furthest = self.furthest.max(at.saturating_add(bytes.len() as u64).saturating_add(cut_off));
        if at <= self.next && self.opening.is_none() {
            self.deliver(at, bytes, cut_off, time);
            self.deliver_pending();
            return;
        }
        let known = self.pending.get(&at).map(|waiting| waiting.bytes.len());
        if known.is_none_or(|known| bytes.len() > known) {
            self.pending_bytes = self.pending_bytes.saturating_sub(known.unwrap_or(0)).saturating_add(bytes.len());
            self.repeated += known.unwrap_or(0) as u64;
            self.pending.insert(at, Waiting { bytes: bytes.to_vec(), cut_off, time });
        } else {
            self.repeated += bytes.len() as u64;
        }
        if self.pending_bytes > OPENING_BYTES.min(self.max_pending) || self.pending.len() > OPENING_SEGMENTS {
            self.settle();
        }
        while self.pending_bytes > self.max_pending || self.pending.len() > MAX_SEGMENTS {
            self.give_up_gap();
        }
    }

    /// Takes a FIN: the stream ends before this sequence number. What came already is not taken back.
    pub(super) fn end(&mut self, seq: u32) {
        let at = self.position(seq);
        if at.abs_diff(self.next) <= MAX_WINDOW {
            self.end = Some(at.max(self.furthest));
        }
    }

    /// Takes a RST: nothing will come behind what came already.
    pub(super) fn reset(&mut self) {
        self.end = Some(self.furthest);
    }

    /// All of it was given out.
    pub(super) fn is_done(&self) -> bool {
        self.opening.is_none() && self.end == Some(self.next)
    }

    /// The beginning is not known yet; since when.
    pub(super) fn opening(&self) -> Option<Option<Duration>> {
        self.opening
    }

    /// The earliest that came is the beginning.
    pub(super) fn settle(&mut self) {
        if self.opening.is_some() {
            let earliest = self.pending.first_key_value().map_or(self.next, |(&at, _)| at);
            self.open_at(earliest);
        }
    }

    fn open_at(&mut self, at: u64) {
        self.opening = None;
        (self.start, self.next) = (at, at);
        self.furthest = self.furthest.max(at);
        self.deliver_pending();
    }

    /// What waits behind gaps is given out.
    pub(super) fn give_up_gaps(&mut self) {
        self.settle();
        while !self.pending.is_empty() {
            self.give_up_gap();
        }
    }

    /// No more segments come.
    pub(super) fn finish(&mut self) {
        self.give_up_gaps();
        if let Some(end) = self.end {
            self.gap(end);
        }
    }

    /// The time of the latest packet of what was given out.
    pub(super) fn latest(&self) -> Option<Duration> {
        self.latest
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    /// The memory of what waits, about.
    pub(super) fn held(&self) -> usize {
        self.pending_bytes.saturating_add(self.pending.len().saturating_mul(SEGMENT_OVERHEAD))
    }

    fn give_up_gap(&mut self) {
        if let Some((&at, _)) = self.pending.first_key_value() {
            self.gap(at);
            self.deliver_pending();
        }
    }

    /// What is missing up to `to` will not come any more.
    fn gap(&mut self, to: u64) {
        if to > self.next {
            self.ready.push_back(Step::Gap(to - self.next, self.latest));
            self.lost.add(self.next..to);
            self.next = to;
        }
    }

    fn deliver_pending(&mut self) {
        loop {
            while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= self.next) {
                let (at, waiting) = entry.remove_entry();
                self.pending_bytes = self.pending_bytes.saturating_sub(waiting.bytes.len());
                self.deliver(at, &waiting.bytes, waiting.cut_off, waiting.time);
            }
            if self.cut_until <= self.next {
                return;
            }
            // Another packet may have what one was cut by.
            let waits = self.pending.first_key_value().map_or(u64::MAX, |(&at, _)| at);
            self.gap(self.cut_until.min(waits));
        }
    }

    /// A segment that begins at or before the next byte.
    fn deliver(&mut self, at: u64, bytes: &[u8], cut_off: u64, time: Option<Duration>) {
        let len = bytes.len() as u64;
        let old = self.next.saturating_sub(at).min(len);
        if old > 0 {
            // What lies before the beginning was not seen either.
            self.lost.add(at..self.start.max(at));
            self.start = self.start.min(at);
            let late = self.lost.take(at..at + old);
            self.late += late;
            self.repeated += old - late;
        }
        let new = bytes.get(old as usize..).unwrap_or_default();
        if !new.is_empty() {
            self.latest = self.latest.max(time);
            self.next += new.len() as u64;
            self.ready.push_back(Step::Data(new.to_vec(), self.latest));
        }
        if cut_off > 0 {
            self.cut_until = self.cut_until.max(at.saturating_add(len).saturating_add(cut_off));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(flow: &mut Flow) -> String {
        let part = |step: Step| match step {
            Step::Data(bytes, _) => String::from_utf8_lossy(&bytes).into_owned(),
            Step::Gap(n, _) => format!("[{n}]"),
        };
        std::iter::from_fn(|| flow.step()).map(part).collect()
    }

    fn add(flow: &mut Flow, seq: u32, bytes: &[u8], cut_off: u64) {
        flow.add(&Segment { seq, bytes, cut_off, time: None });
    }

    #[test]
    fn order_repeats_and_overlaps_across_the_wrap_of_sequence_numbers() {
        let mut flow = Flow::new(u32::MAX - 2, 1000);
        add(&mut flow, u32::MAX - 2, b"abc", 0);
        add(&mut flow, 3, b"ghi", 0);
        add(&mut flow, u32::MAX - 2, b"abc", 0);
        assert_eq!(text(&mut flow), "abc");
        add(&mut flow, u32::MAX, b"cdefgh", 0);
        add(&mut flow, 3, b"ghi", 0);
        add(&mut flow, 2, b"x", 0);
        assert_eq!(text(&mut flow), "defghi");
        assert_eq!((flow.repeated, flow.late), (3 + 1 + 2 + 3 + 1, 0));
    }

    #[test]
    fn gaps_at_the_bound_at_the_end_and_by_a_short_snapshot() {
        let mut flow = Flow::new(0, 4);
        add(&mut flow, 10, b"klm", 0);
        assert_eq!(text(&mut flow), "");
        add(&mut flow, 20, b"uv", 0);
        assert_eq!(text(&mut flow), "[10]klm");
        flow.finish();
        assert_eq!(text(&mut flow), "[7]uv");
        add(&mut flow, 22, b"w", 4);
        add(&mut flow, 27, b"x", 0);
        assert_eq!(text(&mut flow), "w[4]x");
        // What comes now comes too late, once; the second time it came again.
        add(&mut flow, 2, b"cd", 0);
        assert_eq!((flow.late, flow.repeated), (2, 0));
        add(&mut flow, 2, b"cdef", 0);
        assert_eq!((flow.late, flow.repeated), (4, 2));
    }

    #[test]
    fn what_one_packet_was_cut_by_another_has() {
        let mut flow = Flow::new(0, 100);
        add(&mut flow, 3, b"de", 0);
        add(&mut flow, 0, b"ab", 3);
        add(&mut flow, 5, b"f", 0);
        assert_eq!(text(&mut flow), "ab[1]def");
    }

    #[test]
    fn the_longer_of_two_waits() {
        let mut flow = Flow::new(0, 100);
        add(&mut flow, 1, b"b", 0);
        add(&mut flow, 1, b"bcd", 0);
        add(&mut flow, 1, b"bc", 0);
        add(&mut flow, 2, b"cde", 0);
        add(&mut flow, 0, b"a", 0);
        assert_eq!(text(&mut flow), "abcde");
    }

    #[test]
    fn the_beginning_of_a_stream_from_the_middle() {
        let mut flow = Flow::from_middle(5, None, 1000);
        add(&mut flow, 5, b"fg", 0);
        add(&mut flow, 2, b"cde", 0);
        assert_eq!((text(&mut flow), flow.opening()), (String::new(), Some(None)));
        flow.settle();
        assert_eq!(text(&mut flow), "cdefg");
        // Never seen, so not "again".
        add(&mut flow, 0, b"abc", 0);
        assert_eq!((flow.late, flow.repeated, text(&mut flow).as_str()), (2, 1, ""));
        add(&mut flow, 0, b"ab", 0);
        assert_eq!((flow.late, flow.repeated), (2, 3));

        let mut flow = Flow::from_middle(5, None, 1000);
        add(&mut flow, 5, b"fg", 0);
        assert!(!flow.begin(9), "a SYN behind what came begins another connection");
        assert!(flow.begin(3));
        add(&mut flow, 3, b"de", 0);
        assert_eq!(text(&mut flow), "defg");
        assert!(flow.begin(3) && !flow.begin(4));
        for n in 0..=OPENING_SEGMENTS as u32 {
            flow = if n == 0 { Flow::from_middle(5, None, 1000) } else { flow };
            add(&mut flow, 5 + n, b"x", 0);
        }
        assert_eq!(flow.opening(), None);
    }

    #[test]
    fn the_end_is_where_the_fin_is_not_when_it_comes() {
        let mut flow = Flow::new(0, 100);
        flow.end(4);
        add(&mut flow, 2, b"cd", 0);
        assert!(!flow.is_done() && flow.is_foreign(4, 1) && !flow.is_foreign(2, 2));
        add(&mut flow, 0, b"ab", 0);
        assert!(flow.is_done());
        assert_eq!(text(&mut flow), "abcd");
        let mut flow = Flow::new(0, 100);
        add(&mut flow, 0, b"ab", 0);
        flow.end(5);
        flow.finish();
        assert_eq!(text(&mut flow), "ab[3]");
        // A FIN or RST in the midst of what came takes nothing back.
        let mut flow = Flow::new(0, 100);
        add(&mut flow, 3, b"d", 0);
        flow.reset();
        add(&mut flow, 0, b"abc", 0);
        assert_eq!((text(&mut flow).as_str(), flow.is_done()), ("abcd", true));
    }
}
