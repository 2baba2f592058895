//! What is said beside the output.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard error. Nobody may be there to read it, which is no failure: the exit code says the rest.
pub(crate) fn say(text: impl Display) {
    let _unseen = io::stderr().write_all(format!("spop: {text}\n").as_bytes());
}
