//! How a peer breaks the protocol.

use core::fmt;

use crate::error::{DecodeError, Status};
use crate::frame::FrameType;

/// How the peer broke the protocol. The state machine that reports it has a DISCONNECT with
/// [`status`](Self::status) ready in `poll_transmit`; send it, then close.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame is malformed.
    Malformed(DecodeError),
    /// This frame type may not come from this peer, or not now.
    UnexpectedFrame(FrameType),
    /// A HELLO or DISCONNECT has a stream-id or frame-id other than 0.
    IdsNotZero,
    /// A HELLO, DISCONNECT or ACK without FIN: they cannot be fragmented.
    NotFragmentable(FrameType),
    /// A fragment, although fragmentation was not announced.
    FragmentationNotAnnounced,
    /// A fragment with ABORT but without FIN.
    AbortWithoutFin,
    /// Another NOTIFY, or a fragment with other ids, inside a fragmented NOTIFY; or a continuation of nothing.
    Interlaced,
    /// No offered version has major 2, or the agent answered another one than 2.0.
    UnsupportedVersion,
    /// The max-frame-size is below 256, or the agent's is above HAProxy's.
    BadMaxFrameSize,
    /// Synchronous mode: an ACK that names no open NOTIFY.
    UnknownAck,
    /// A timeout ran out: no HELLO, half a frame, or an idle connection.
    TimedOut(Timer),
}

/// Which timeout ran out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// The peer's HELLO did not come.
    Hello,
    /// A frame, or a fragmented NOTIFY, was begun and not finished.
    HalfFrame,
    /// Nothing came and nothing was open.
    Idle,
}

impl ProtocolError {
    /// The status of the DISCONNECT to send.
    pub const fn status(&self) -> Status {
        match self {
            Self::Malformed(e) => e.status(),
            Self::UnexpectedFrame(_) | Self::IdsNotZero | Self::AbortWithoutFin => Status::INVALID_FRAME,
            Self::NotFragmentable(_) | Self::FragmentationNotAnnounced => Status::NO_FRAGMENTATION,
            Self::Interlaced => Status::INTERLACED_FRAMES,
            Self::UnsupportedVersion => Status::UNSUPPORTED_VERSION,
            Self::BadMaxFrameSize => Status::BAD_MAX_FRAME_SIZE,
            Self::UnknownAck => Status::FRAME_ID_NOT_FOUND,
            Self::TimedOut(_) => Status::TIMEOUT,
        }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(e: DecodeError) -> Self {
        Self::Malformed(e)
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(e) => return fmt::Display::fmt(e, f),
            Self::UnexpectedFrame(t) => return write!(f, "unexpected frame of type {t}"),
            Self::NotFragmentable(t) => return write!(f, "a {t} frame without FIN"),
            Self::IdsNotZero => "stream-id and frame-id must be 0 in HELLO and DISCONNECT",
            Self::FragmentationNotAnnounced => "a fragment, but fragmentation was not announced",
            Self::AbortWithoutFin => "ABORT without FIN",
            Self::Interlaced => "fragments of different NOTIFYs are mixed",
            Self::UnsupportedVersion => "no common SPOP version",
            Self::BadMaxFrameSize => "max-frame-size is too big or too small",
            Self::UnknownAck => "an ACK that answers no open NOTIFY",
            Self::TimedOut(Timer::Hello) => "no HELLO in time",
            Self::TimedOut(Timer::HalfFrame) => "a frame was begun and not finished in time",
            Self::TimedOut(Timer::Idle) => "the connection was idle for too long",
        }
        .fmt(f)
    }
}

impl core::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(e) => Some(e),
            _ => None,
        }
    }
}
