//! What the packets of a capture have.

use std::time::Duration;

/// A packet as the file has it.
pub(super) struct Packet<'a> {
    pub(super) link_type: i32,
    pub(super) time: Option<Duration>,
    pub(super) data: &'a [u8],
    /// Bytes that the capture cut off.
    pub(super) cut_off: u64,
}
