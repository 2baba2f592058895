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

/// What numbers its lines.
#[derive(Debug)]
struct Source {
    sender: Sender,
    process: Box<[u8]>,
    frontend: Box<[u8]>,
    lowest: u64,
    highest: u64,
    received: u64,
    /// Lines of all sources when its last one came.
    touched: u64,
}

impl Source {
    fn missing(&self) -> u64 {
        (self.highest - self.lowest).saturating_add(1).saturating_sub(self.received)
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
            if number.saturating_add(ANOTHER_LIFE) < source.highest {
                // What it missed before stays in the sum.
                (source.lowest, source.highest, source.received, source.touched) = (number, number, 1, *lines);
                return 0;
            }
            let before = source.missing();
            source.lowest = source.lowest.min(number);
            source.highest = source.highest.max(number);
            source.received += 1;
            source.touched = *lines;
            let now = source.missing();
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
            lowest: number,
            highest: number,
            received: 1,
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
