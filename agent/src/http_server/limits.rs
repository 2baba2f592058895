//! What a listener of HTTP may hold.

use std::time::Duration;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    /// Most open connections. If none of them is idle, more are closed at once.
    pub(crate) max_connections: usize,
    /// Most open connections of one peer.
    pub(crate) max_per_peer: usize,
    /// File descriptors that its connections leave to others; further ones are closed at once.
    pub(crate) reserved_files: u64,
    /// Time within which a connection must send the head of its next request.
    pub(crate) head_timeout: Duration,
    /// Time for which the client may take nothing of a response.
    pub(crate) write_timeout: Duration,
}
