//! What of a stream is known never to have come.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of positions, at most [`MAX_RANGES`]: beyond, the lowest is forgotten, and what is below it is not known.
#[derive(Default)]
pub(super) struct Lost {
    ranges: BTreeMap<u64, u64>,
    known_from: u64,
}

const MAX_RANGES: usize = 64;

impl Lost {
    pub(super) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.ranges.insert(range.start, range.end);
        while self.ranges.len() > MAX_RANGES {
            self.known_from = self.ranges.pop_first().map_or(self.known_from, |(_, end)| end);
        }
    }

    /// How many bytes of the range never came before; they count as having come now.
    pub(super) fn take(&mut self, range: Range<u64>) -> u64 {
        let unknown = self.known_from.min(range.end).saturating_sub(range.start);
        let mut sum = unknown;
        let from = range.start.saturating_add(unknown);
        // The ranges do not overlap, so only the last that begins before `from` may reach into it.
        let first = self.ranges.range(..=from).next_back().map_or(from, |(&start, _)| start);
        let touched: Vec<_> = self.ranges.range(first..range.end.max(first)).map(|(&s, &e)| s..e).collect();
        for lost in touched {
            let (start, end) = (lost.start.max(from), lost.end.min(range.end));
            if start < end {
                self.ranges.remove(&lost.start);
                self.add(lost.start..start);
                self.add(end..lost.end);
                sum += end - start;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_missed_once() {
        let mut lost = Lost::default();
        lost.add(10..20);
        lost.add(30..40);
        assert_eq!(lost.take(0..10), 0);
        assert_eq!(lost.take(12..14), 2);
        assert_eq!(lost.take(12..14), 0);
        assert_eq!(lost.take(0..35), 8 + 5);
        assert_eq!(lost.take(0..100), 5);
        assert_eq!(lost.take(0..100), 0);
    }

    #[test]
    fn what_was_forgotten_is_not_called_known() {
        let mut lost = Lost::default();
        for n in 0..=MAX_RANGES as u64 {
            lost.add(10 * n..10 * n + 5);
        }
        assert!(lost.ranges.len() <= MAX_RANGES);
        assert_eq!(lost.take(0..5), 5);
        assert_eq!(lost.take(10..20), 5);
    }
}
