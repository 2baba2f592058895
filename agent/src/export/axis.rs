//! The time axis of a trace.

use super::tree::Node;

/// The time from the first start to the last end of a trace.
pub(crate) struct Axis {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Axis {
    pub(crate) fn of(spans: &[Node]) -> Self {
        // 0 is OTLP's "unknown": it would push all others to the right edge.
        let known = |time: &u64| *time != 0;
        let start = spans.iter().map(|span| span.start).filter(known).min();
        let start = start.unwrap_or(0);
        let end = spans.iter().map(|span| span.end).max().unwrap_or(0);
        Self { start, end: end.max(start) }
    }

    pub(crate) fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Where a time is on the axis: 0 at its start, 1 at its end. What is outside is moved to the nearer end.
    pub(crate) fn position(&self, time: u64) -> f64 {
        (time.clamp(self.start, self.end) - self.start) as f64 / self.length().max(1) as f64
    }

    /// A span's bar in `columns` columns, at the precision of half a column:
    /// blank columns before it, the bar, blank columns after it.
    pub(crate) fn bar(&self, span: &Node, columns: usize) -> (usize, String, usize) {
        let halves = columns * 2;
        let at = |time: u64, round_up: u64| {
            let length = u128::from(self.length().max(1));
            let offset = u128::from(time.clamp(self.start, self.end) - self.start);
            let rounding = u128::from(round_up) * (length - 1);
            ((offset * halves as u128 + rounding) / length) as usize
        };
        let from = at(span.start, 0).min(halves - 1);
        let to = at(span.end, 1).clamp(from + 1, halves);
        let cells = (from / 2)..to.div_ceil(2);
        let (lead, tail) = (cells.start, columns - cells.end);
        let bar = cells.map(|cell| match (from <= cell * 2, to > cell * 2 + 1) {
            (true, true) => '━',
            (true, false) => '╸',
            (false, _) => '╺',
        });
        (lead, bar.collect(), tail)
    }
}
