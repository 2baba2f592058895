//! CPU time and memory of a process, from /proc.

use std::fs;
use std::io;
use std::time::Duration;

use crate::failure::Failure;

/// What a process used so far.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    /// User and system time of all its threads.
    pub(super) cpu: Duration,
    /// The most memory it ever had resident.
    pub(super) peak_bytes: u64,
    /// When it began, in ticks since the system did: another process may have the number later.
    pub(super) began: u64,
}

/// Reads what the process `pid` used; `None` is this one.
pub(super) fn usage(pid: Option<u32>) -> Result<Usage, Failure> {
    let directory = pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    let read = |file: &str| -> Result<(String, String), Failure> {
        let name = format!("{directory}/{file}");
        let text = fs::read_to_string(&name).map_err(|error| Failure::File { name: name.clone(), error })?;
        Ok((name, text))
    };
    let malformed = |name| Failure::File { name, error: io::ErrorKind::InvalidData.into() };
    let (name, stat) = read("stat")?;
    let times = times(&stat, rustix::param::clock_ticks_per_second());
    let (cpu, began) = times.ok_or_else(|| malformed(name))?;
    let (name, status) = read("status")?;
    let peak_bytes = peak_memory(&status).ok_or_else(|| malformed(name))?;
    Ok(Usage { cpu, peak_bytes, began })
}

/// Of the fields utime and stime the sum, and starttime. They are counted from the last bracket: the name before it may hold
/// blanks and brackets.
fn times(stat: &str, ticks_per_second: u64) -> Option<(Duration, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    let began = fields.nth(6)?.parse().ok()?;
    Some((Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64), began))
}

fn peak_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(times(stat, 100), Some((Duration::from_secs(2), 100)));
        assert_eq!(times("42 (x", 100), None);
        assert_eq!(peak_memory("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_memory("Name:\tkthreadd\n"), None);
    }
}
