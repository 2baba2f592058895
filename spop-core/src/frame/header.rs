//! What stands before the payload of a frame (SPOE.txt, section 3.2).

use core::fmt;

use crate::error::{DecodeError, DecodeReason};
use crate::varint;

/// The smallest body: type, flags and two one-byte ids.
pub const MIN_BODY_LEN: usize = 7;
/// The bytes of the length prefix.
pub const PREFIX_LEN: usize = 4;
/// The longest header with its prefix: prefix, type, flags, two ids of 10 bytes.
pub const MAX_HEADER_LEN: usize = PREFIX_LEN + 5 + 2 * varint::MAX_LEN;
/// The smallest max-frame-size that may be negotiated.
pub const MIN_MAX_FRAME_SIZE: u32 = 256;

/// The type of a frame; unknown ones are kept as their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameType(pub u8);

impl FrameType {
    /// 0: continues a fragmented frame.
    pub const UNSET: FrameType = FrameType(0);
    /// 1: HAProxy's first frame.
    pub const HAPROXY_HELLO: FrameType = FrameType(1);
    /// 2: HAProxy ends the connection.
    pub const HAPROXY_DISCONNECT: FrameType = FrameType(2);
    /// 3: messages of an event.
    pub const NOTIFY: FrameType = FrameType(3);
    /// 101: the agent's first frame.
    pub const AGENT_HELLO: FrameType = FrameType(101);
    /// 102: the agent ends the connection.
    pub const AGENT_DISCONNECT: FrameType = FrameType(102);
    /// 103: the answer to a NOTIFY.
    pub const ACK: FrameType = FrameType(103);

    /// The name of the specification, if the type is known.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            FrameType::UNSET => "UNSET",
            FrameType::HAPROXY_HELLO => "HAPROXY-HELLO",
            FrameType::HAPROXY_DISCONNECT => "HAPROXY-DISCONNECT",
            FrameType::NOTIFY => "NOTIFY",
            FrameType::AGENT_HELLO => "AGENT-HELLO",
            FrameType::AGENT_DISCONNECT => "AGENT-DISCONNECT",
            FrameType::ACK => "ACK",
            _ => return None,
        })
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The 32 flags of a frame; reserved ones are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Bit 0: this is the last (or only) fragment.
    pub const FIN: Flags = Flags(1);
    /// Bit 1: the sender gives up the fragmented frame.
    pub const ABORT: Flags = Flags(2);

    /// Is FIN set?
    pub const fn fin(self) -> bool {
        self.0 & Flags::FIN.0 != 0
    }

    /// Is ABORT set?
    pub const fn abort(self) -> bool {
        self.0 & Flags::ABORT.0 != 0
    }

    /// The flags of both.
    pub const fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// The stream-id of a frame. 0 is a legal value: HAProxy 2.6 and 3.0 begin with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId(pub u64);

/// The frame-id of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FrameId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands before the payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The type.
    pub frame_type: FrameType,
    /// The flags.
    pub flags: Flags,
    /// The stream-id.
    pub stream_id: StreamId,
    /// The frame-id.
    pub frame_id: FrameId,
}

impl Header {
    /// A header with FIN and no other flag.
    pub const fn new(frame_type: FrameType, stream_id: StreamId, frame_id: FrameId) -> Self {
        Header { frame_type, flags: Flags::FIN, stream_id, frame_id }
    }

    /// Number of bytes of the header, without the length prefix.
    pub const fn encoded_len(&self) -> usize {
        5 + varint::len(self.stream_id.0) + varint::len(self.frame_id.0)
    }
}

/// The length of the frame at the start of `buf`, its 4-byte prefix included; `None` while the prefix is incomplete.
///
/// Only the prefix is looked at, so a hostile length is refused before anything is stored.
///
/// # Errors
/// [`DecodeReason::FrameTooShort`] (status 4) for a body below 7 bytes, [`DecodeReason::FrameTooBig`] (status 3) for
/// one above `max_frame_size`.
#[inline]
pub fn peek_len(buf: &[u8], max_frame_size: u32) -> Result<Option<usize>, DecodeError> {
    let Some(&prefix) = buf.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let len = u32::from_be_bytes(prefix);
    if len < MIN_BODY_LEN as u32 {
        return Err(DecodeError::new(DecodeReason::FrameTooShort, 0));
    }
    if len > max_frame_size {
        return Err(DecodeError::new(DecodeReason::FrameTooBig, 0));
    }
    match (len as usize).checked_add(PREFIX_LEN) {
        Some(total) => Ok(Some(total)),
        None => Err(DecodeError::new(DecodeReason::FrameTooBig, 0)),
    }
}
