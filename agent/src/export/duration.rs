//! Durations as text for people.

/// A duration in nanoseconds with three significant digits.
pub(crate) fn duration(nanos: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    if nanos >= 60_000_000_000 {
        let seconds = nanos / 1_000_000_000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        return match hours {
            0 => format!("{minutes} min {seconds:02} s"),
            _ => format!("{hours} h {minutes:02} min"),
        };
    }
    for (unit, name) in UNITS {
        if nanos >= unit {
            let value = nanos as f64 / unit as f64;
            let digits = match value {
                v if v < 9.995 => 2,
                v if v < 99.95 => 1,
                _ => 0,
            };
            return format!("{value:.digits$} {name}");
        }
    }
    format!("{nanos} ns")
}
