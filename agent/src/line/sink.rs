//! Where listeners bring lines to.

use std::net::IpAddr;

/// Who sent a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A host.
    Ip(IpAddr),
    /// A process of this machine, over a unix socket.
    Local,
}

/// Takes log lines.
pub trait LineSink: Send + Sync {
    /// Takes a whole message of syslog, without what frames it and without the end of its line. Called from threads that
    /// read: must neither block nor wait for I/O.
    fn take(&self, sender: Sender, line: &[u8]);
}
