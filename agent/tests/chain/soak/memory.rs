//! What the agent's process takes, seen again and again.

use std::fs;
use std::time::Duration;

/// Memory in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the start of the run.
    pub at: Duration,
    /// VmRSS, and the part that is no file's.
    pub rss: u64,
    pub anon: u64,
    /// What the allocator gave back and the system has not taken yet.
    pub lazy_free: u64,
    pub files: usize,
    pub threads: u64,
}

impl Sample {
    pub fn take(pid: u32, at: Duration) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // Not every kernel has it.
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Sample {
            at,
            rss: figure(&status, "VmRSS:"),
            anon: figure(&status, "RssAnon:"),
            lazy_free: figure(&rollup, "LazyFree:"),
            files,
            threads: figure(&status, "Threads:"),
        }
    }
}

fn figure(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The one in the middle; 0 of none.
pub fn median<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
