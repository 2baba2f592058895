//! Log lines that a peer can cause are limited: one for each cause in a while, with the number of those left out.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a cause stays silent after a line.
const SILENCE: Duration = Duration::from_secs(10);

/// The gate of one cause of log lines.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Since the last line.
    untold: u64,
}

impl LogLimit {
    /// An open gate.
    pub const fn new() -> Self {
        Self(Mutex::new(State { last: None, untold: 0 }))
    }

    /// May a line be written now? If so, how many were left out since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.occurred(1).map(|occurred| occurred - 1)
    }

    /// Something happened so many times. May a line be written now? If so, how many times since the last one.
    pub fn occurred(&self, count: u64) -> Option<u64> {
        self.occurred_at(count, Instant::now())
    }

    fn occurred_at(&self, count: u64, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.untold = state.untold.saturating_add(count);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < SILENCE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

/// The most bytes of a peer's text in a line.
const EXCERPT: usize = 255;

/// The beginning of a peer's text. Log it with `?`, which escapes what would be a line of its own or move the cursor.
pub fn excerpt(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text.get(..EXCERPT).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while_with_the_number_left_out() {
        let limit = LogLimit::new();
        let start = Instant::now();
        assert_eq!(limit.occurred_at(2, start), Some(2));
        assert_eq!(limit.occurred_at(1, start + SILENCE / 2), None);
        assert_eq!(limit.occurred_at(3, start + SILENCE / 2), None);
        assert_eq!(limit.occurred_at(1, start + SILENCE), Some(5));
        assert_eq!(LogLimit::new().pass(), Some(0));
    }
}
