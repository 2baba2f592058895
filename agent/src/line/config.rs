//! Options of what is made of lines.

use spop_agent::duration;
use std::time::Duration;

/// What is made of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct LineConfig {
    /// Give each request of a line spans of its parts too: the wait in the queue, the connect, the wait for the
    /// response's headers
    #[arg(long = "log-phases")]
    pub phases: bool,

    /// Keep the spans of a line's request that is not sampled but failed; what is downstream is missing
    #[arg(long)]
    pub keep_errors: bool,

    /// Keep the spans of a line's request that is not sampled but took so long; what is downstream is missing
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub keep_slower_than: Option<Duration>,
}
