//! File descriptors that connections leave to others.

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit};

/// Does this descriptor, just opened, leave so many to others? The system gives the lowest free number, so at least as
/// many are in use as its number tells. Of a limit (`ulimit -n`) that is very low only a quarter is kept.
pub fn leaves(opened: &impl AsFd, reserved: u64) -> bool {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return true };
    let number = u64::try_from(opened.as_fd().as_raw_fd()).unwrap_or_default();
    number < limit - reserved.min(limit / 4)
}
