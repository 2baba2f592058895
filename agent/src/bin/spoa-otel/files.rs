//! The limit of open files, which every connection counts against.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the soft limit as far as `connections` and what they leave to others need it and the system allows.
pub fn make_room(connections: usize, reserved: u64) {
    let needed = (connections as u64).saturating_add(reserved);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Without a value there is no limit.
    let Some(soft) = current.filter(|&soft| soft < needed) else { return };
    let raised = maximum.map_or(needed, |hard| hard.min(needed));
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(error) => {
            debug!(%error, "the limit of open files stays as it is");
            soft
        }
    };
    if limit < needed {
        warn!(
            limit,
            needed,
            "the limit of open files (ulimit -n) is too low for {connections} connections (--max-connections, --receiver-max-connections, --log-max-connections)"
        );
    }
}
