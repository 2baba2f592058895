//! Lines that did not come: those that HAProxy numbered, less those that are there.
//!
//! Numbers of HAProxy with several threads may come twice, but none is left out: what is missing is told by counts, never
//! by which numbers are missing. A process that begins anew counts anew, in a container often under the same number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::sink::Sender;

/// Frontends of processes that are told apart; one for each frontend, and again after each reload.
const MAX_SOURCES: usize = 1024;
/// Bytes of a frontend's name, or of a process's, that are looked at.
const MAX_NAME: usize = 128;

/// A number that is so far below the highest one is that of another life of the process. Threads and datagrams overtake each
/// other by much less.
const ANOTHER_LIFE: u64 = 1000;
/// So many lines come before those that they are behind, or under one number at the same time.
const AT_ONCE: u64 = 100;
/// HAProxy's first number.
const FIRST: u64 = 0;

/// What came of one life of a process.
#[derive(Debug)]
struct Life {
    lowest: u64,
    highest: u64,
    received: u64,
}

impl Life {
    fn begin(number: u64) -> Self {
        Self { lowest: number, highest: number, received: 1 }
    }

    fn line(&mut self, number: u64) {
        self.lowest = self.lowest.min(number);
        self.highest = self.highest.max(number);
        // More than come at once are of a life that nobody saw begin: they must not hide what is lost later.
        self.received = (self.received + 1).min(self.span().saturating_add(AT_ONCE));
    }

    fn span(&self) -> u64 {
        (self.highest - self.lowest).saturating_add(1)
    }

    fn missing(&self) -> u64 {
        self.span().saturating_sub(self.received)
    }

    fn is_near(&self, number: u64) -> bool {
        number.abs_diff(self.highest) <= ANOTHER_LIFE
    }
}

/// What numbers its lines.
#[derive(Debug)]
struct Source {
    sender: Sender,
    process: Box<[u8]>,
    frontend: Box<[u8]>,
    life: Life,
    /// The one before, of which lines still come: late ones, or those of another process that cannot be told apart.
    earlier: Option<Life>,
    /// Lines of all sources when its last one came.
    touched: u64,
}

impl Source {
    /// The life that this number is of; `None` if another one begins with it.
    fn life_of(&mut self, number: u64) -> Option<&mut Life> {
        if number == FIRST && self.life.highest > AT_ONCE {
            return None;
        }
        // Also after a loss that ends there by chance: what was lost counts as little as it is from there.
        if !self.life.is_near(number)
            && let Some(earlier) = self.earlier.as_mut().filter(|earlier| earlier.is_near(number))
        {
            return Some(earlier);
        }
        (number.saturating_add(ANOTHER_LIFE) >= self.life.highest).then_some(&mut self.life)
    }
}

/// All that number their lines.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    sources: HashTable<Source>,
    /// Its seed is random: who sends lines does not know which names collide.
    hasher: DefaultHashBuilder,
    lines: u64,
    /// Of those that are there, and of all that were.
    missing: u64,
    forgotten: u64,
}

impl Gaps {
    /// A line with this number came; how many more are missing than before it, if they are.
    pub(super) fn line(&mut self, sender: Sender, process: &[u8], frontend: &str, number: u64) -> u64 {
        let process = process.get(..MAX_NAME).unwrap_or(process);
        let frontend = frontend.as_bytes().get(..MAX_NAME).unwrap_or(frontend.as_bytes());
        self.lines += 1;
        let Gaps { sources, hasher, lines, missing, .. } = self;
        let hash = hasher.hash_one((sender, process, frontend));
        let is_it = |of: &Source| of.sender == sender && *of.process == *process && *of.frontend == *frontend;
        if let Some(source) = sources.find_mut(hash, is_it) {
            source.touched = *lines;
            let Some(life) = source.life_of(number) else {
                // What the one before the last missed stays in the sum.
                source.earlier = Some(std::mem::replace(&mut source.life, Life::begin(number)));
                return 0;
            };
            let before = life.missing();
            life.line(number);
            let now = life.missing();
            *missing = missing.saturating_add(now).saturating_sub(before);
            return now.saturating_sub(before);
        }
        if self.sources.len() >= MAX_SOURCES {
            self.forget_half();
        }
        let source = Source {
            sender,
            process: process.into(),
            frontend: frontend.into(),
            life: Life::begin(number),
            earlier: None,
            touched: self.lines,
        };
        let hasher = &self.hasher;
        self.sources.insert_unique(hash, source, |of| hasher.hash_one((of.sender, &*of.process, &*of.frontend)));
        0
    }

    /// Forgets those whose last lines are the oldest, all but what they miss.
    fn forget_half(&mut self) {
        let mut touched: Vec<_> = self.sources.iter().map(|source| source.touched).collect();
        touched.sort_unstable();
        let oldest = touched.get(touched.len() / 2).copied().unwrap_or(0);
        self.forgotten += touched.iter().filter(|at| **at < oldest).count() as u64;
        self.sources.retain(|source| source.touched >= oldest);
    }

    /// Lines that are missing, of all processes so far.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// Frontends of processes that are known now.
    pub(super) fn sources(&self) -> u64 {
        self.sources.len() as u64
    }

    /// Those that were forgotten, to keep the bound.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_by_counts() {
        let mut gaps = Gaps::default();
        let mut line = |process: &str, frontend: &str, number| {
            let more = gaps.line(Sender::Local, process.as_bytes(), frontend, number);
            (more, gaps.missing())
        };
        // The first one may be any: the agent began later.
        assert_eq!(line("1", "a", 7), (0, 0));
        assert_eq!(line("1", "a", 8), (0, 0));
        assert_eq!(line("1", "a", 11), (2, 2));
        // Out of order, twice by two threads, and another one twice.
        assert_eq!(line("1", "a", 9), (0, 1));
        assert_eq!(line("1", "a", 9), (0, 0));
        assert_eq!(line("1", "a", 9), (0, 0));
        assert_eq!(line("1", "b", 100), (0, 0));
        // A reload begins anew.
        assert_eq!(line("2", "a", 0), (0, 0));
        assert_eq!(line("2", "a", 3), (2, 2));
        assert_eq!(gaps.sources(), 3);
    }

    #[test]
    fn another_life_under_the_same_number_begins_anew() {
        let mut gaps = Gaps::default();
        let mut line = |number| {
            let more = gaps.line(Sender::Local, b"8", "www", number);
            (more, gaps.missing())
        };
        assert_eq!(line(1_000_000), (0, 0));
        assert_eq!(line(1_000_003), (2, 2));
        // As far behind as threads and datagrams may be.
        assert_eq!(line(1_000_003 - ANOTHER_LIFE), (ANOTHER_LIFE - 4, ANOTHER_LIFE - 2));
        // Nothing of what was missing is forgotten, nothing is made up, and what is missing later is seen.
        assert_eq!(line(0), (0, ANOTHER_LIFE - 2));
        assert_eq!(line(1), (0, ANOTHER_LIFE - 2));
        assert_eq!(line(5), (3, ANOTHER_LIFE + 1));
    }

    #[test]
    fn a_late_line_of_an_earlier_life_is_no_gap() {
        let mut gaps = Gaps::default();
        let mut line = |process: &str, number| {
            let more = gaps.line(Sender::Local, process.as_bytes(), "www", number);
            (more, gaps.missing())
        };
        for number in [1_000_000, 5000, 1_000_001, 5001] {
            assert_eq!(line("8", number), (0, 0), "{number}");
        }
        // What either of them misses is seen.
        assert_eq!(line("8", 1_000_004), (2, 2));
        assert_eq!(line("8", 5003), (1, 3));
        // The later one goes past the other.
        assert_eq!(line("8", 2_000_000), (1_994_996, 1_994_999));
        assert_eq!(line("8", 1_000_005), (0, 1_994_999));
        assert_eq!(line("8", 2_000_001), (0, 1_994_999));
        // HAProxy's counter has 32 bits.
        for number in [4_294_967_294, 0, 4_294_967_295, 1] {
            assert_eq!(line("9", number), (0, 1_994_999), "{number}");
        }
    }

    #[test]
    fn a_life_that_begins_early_neither_finds_nor_hides_lines() {
        let mut gaps = Gaps::default();
        let mut line = |process: &str, number| {
            gaps.line(Sender::Local, process.as_bytes(), "www", number);
            gaps.missing()
        };
        for number in (0..400).chain(450..=900).chain(0..50) {
            line("8", number);
        }
        assert_eq!(line("8", 50), 50);
        assert_eq!(line("8", 53), 52);
        // Its first line was lost.
        for number in (0..400).chain(1..400) {
            line("9", number);
        }
        assert_eq!(line("9", 400 + AT_ONCE + 10), 52 + 10);
    }

    #[test]
    fn sources_are_bounded_and_what_they_missed_stays() {
        let mut gaps = Gaps::default();
        for process in 0..5 * MAX_SOURCES as u64 {
            // A name ends within a character, or goes on for long.
            let frontend = ["x".repeat(MAX_NAME - 1), "é".repeat(1000), process.to_string()].concat();
            for number in [0, 2] {
                gaps.line(Sender::Local, &process.to_le_bytes(), &frontend, number);
            }
            assert!(gaps.sources() <= MAX_SOURCES as u64);
        }
        assert_eq!(gaps.missing(), 5 * MAX_SOURCES as u64);
        assert_eq!(gaps.sources() + gaps.forgotten(), 5 * MAX_SOURCES as u64);
        assert!(gaps.sources.iter().all(|source| source.frontend.len() == MAX_NAME && source.process.len() == 8));
    }
}
