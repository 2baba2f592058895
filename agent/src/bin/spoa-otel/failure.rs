//! Why the program ends before its time.

use std::error::Error;

/// An error of the settings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(Box<dyn Error>);

/// An end that took too long.
#[derive(Debug, thiserror::Error)]
#[error("not all was done within --grace")]
pub struct Overdue;

pub fn misconfigured(error: impl Into<Box<dyn Error>>) -> Misconfigured {
    Misconfigured(error.into())
}
