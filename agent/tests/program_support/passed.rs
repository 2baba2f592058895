//! Programs that get sockets as from systemd.

use std::os::fd::OwnedFd;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};

/// Passes sockets under these names, from descriptor 3 on.
pub fn pass(command: &mut Command, sockets: Vec<(&str, OwnedFd)>) {
    let (names, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
    // Without LISTEN_PID, which nobody knows before the process is there, whoever is started takes them.
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let mappings = sockets.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).unwrap();
}
