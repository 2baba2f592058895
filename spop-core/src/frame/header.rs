//! What stands before the payload of a frame (SPOE.txt, section 3.2).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crate::error::{DecodeError, DecodeReason};
use crate::reader::Reader;
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
#[allow(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct FrameType(pub u8);

impl FrameType {
    /// 0: continues a fragmented frame.
    pub const UNSET: Self = Self(0);
    /// 1: HAProxy's first frame.
    pub const HAPROXY_HELLO: Self = Self(1);
    /// 2: HAProxy ends the connection.
    pub const HAPROXY_DISCONNECT: Self = Self(2);
    /// 3: messages of an event.
    pub const NOTIFY: Self = Self(3);
    /// 101: the agent's first frame.
    pub const AGENT_HELLO: Self = Self(101);
    /// 102: the agent ends the connection.
    pub const AGENT_DISCONNECT: Self = Self(102);
    /// 103: the answer to a NOTIFY.
    pub const ACK: Self = Self(103);

    /// The name of the specification, if the type is known.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNSET => "UNSET",
            Self::HAPROXY_HELLO => "HAPROXY-HELLO",
            Self::HAPROXY_DISCONNECT => "HAPROXY-DISCONNECT",
            Self::NOTIFY => "NOTIFY",
            Self::AGENT_HELLO => "AGENT-HELLO",
            Self::AGENT_DISCONNECT => "AGENT-DISCONNECT",
            Self::ACK => "ACK",
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
#[allow(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Flags(pub u32);

impl Flags {
    /// Bit 0: this is the last (or only) fragment.
    pub const FIN: Self = Self(1);
    /// Bit 1: the sender gives up the fragmented frame.
    pub const ABORT: Self = Self(2);

    /// Is FIN set?
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }

    /// Is ABORT set?
    pub const fn abort(self) -> bool {
        self.0 & Self::ABORT.0 != 0
    }

    /// The flags of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// The stream-id of a frame. 0 is a legal value: HAProxy 2.6 and 3.0 begin with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct StreamId(pub u64);

/// The frame-id of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a number and nothing else")]
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
#[allow(clippy::exhaustive_structs, reason = "the header of the wire has these fields and no other")]
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
        Self { frame_type, flags: Flags::FIN, stream_id, frame_id }
    }

    /// The header of the frame at the start of `buf`, prefix included; `None` as long as it is not all there, or if an id
    /// is malformed, which [`Frame::decode`](crate::Frame::decode) explains.
    ///
    /// ```
    /// use spop_core::{FrameType, Header};
    ///
    /// let frame = b"\0\0\0\x07\x03\0\0\0\x01\x05\x07";
    /// assert_eq!(Header::peek(frame).map(|header| header.frame_type), Some(FrameType::NOTIFY));
    /// assert_eq!(Header::peek(&frame[..9]), None);
    /// ```
    #[inline]
    pub fn peek(buf: &[u8]) -> Option<Self> {
        Self::read(&mut Reader::new(buf.get(PREFIX_LEN..)?)).ok()
    }

    /// Is this the first frame of a fragmented NOTIFY? Before it nobody needs memory to put fragments together.
    ///
    /// ```
    /// use spop_core::Header;
    ///
    /// let peek = |flags| Header::peek(&[0, 0, 0, 7, 3, 0, 0, 0, flags, 5, 7]).unwrap();
    /// assert!(peek(0).is_first_fragment() && !peek(1).is_first_fragment());
    /// ```
    #[inline]
    pub fn is_first_fragment(&self) -> bool {
        self.frame_type == FrameType::NOTIFY && !self.flags.fin()
    }

    /// The next fields of a body.
    #[inline(always)]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            frame_type: FrameType(reader.u8()?),
            flags: Flags(reader.u32_be()?),
            stream_id: StreamId(reader.varint()?),
            frame_id: FrameId(reader.varint()?),
        })
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
