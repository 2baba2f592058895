//! Times as options take them: `500ms`, `5s`, `2m`, `1h`; also `1m30s`.

use std::time::Duration;

/// Reads a time.
///
/// # Errors
/// A text for the user: what is wrong and what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for instance 500ms, 5s, 2m or 1h"))
}

/// Writes a time as an option's default, as [`parse`] reads it.
pub fn text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
