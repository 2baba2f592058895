//! Why a command failed, and with which exit code.

use std::io;
use std::time::Duration;

use spop_core::ProtocolError;
use thiserror::Error;

/// Each kind has its exit code.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The answer, the run or the input is not what was expected.
    #[error("{0}")]
    Unexpected(String),
    /// The command line is wrong in a way that only shows in use.
    #[error("{0}")]
    Usage(String),
    /// No connection.
    #[error("cannot connect to {addr}: {reason}")]
    Connect { addr: String, reason: String },
    /// The agent broke the protocol, refused or disconnected.
    #[error("{0}")]
    Agent(String),
    /// No answer in time.
    #[error("no {awaited} within {}{hint}", spop_agent::duration::text(*.limit))]
    Timeout { awaited: &'static str, limit: Duration, hint: String },
    /// A file, the input or the output failed.
    #[error("{name}: {error}")]
    File { name: String, error: io::Error },
    /// Standard output failed.
    #[error("cannot write the output: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Unexpected(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Connect { .. } => 3,
            Failure::Agent(_) => 4,
            Failure::Timeout { .. } => 5,
            Failure::File { .. } | Failure::Io(_) => 6,
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Failure::Agent(format!("the agent broke the protocol: {error}; status {}", error.status()))
    }
}
