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
            ProtocolError::Malformed(e) => e.status(),
            ProtocolError::UnexpectedFrame(_) | ProtocolError::IdsNotZero | ProtocolError::AbortWithoutFin => {
                Status::INVALID_FRAME
            }
            ProtocolError::NotFragmentable(_) | ProtocolError::FragmentationNotAnnounced => Status::NO_FRAGMENTATION,
            ProtocolError::Interlaced => Status::INTERLACED_FRAMES,
            ProtocolError::UnsupportedVersion => Status::UNSUPPORTED_VERSION,
            ProtocolError::BadMaxFrameSize => Status::BAD_MAX_FRAME_SIZE,
            ProtocolError::UnknownAck => Status::FRAME_ID_NOT_FOUND,
            ProtocolError::TimedOut(_) => Status::TIMEOUT,
        }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(e: DecodeError) -> Self {
        ProtocolError::Malformed(e)
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::Malformed(e) => return fmt::Display::fmt(e, f),
            ProtocolError::UnexpectedFrame(t) => return write!(f, "unexpected frame of type {t}"),
            ProtocolError::NotFragmentable(t) => return write!(f, "a {t} frame without FIN"),
            ProtocolError::IdsNotZero => "stream-id and frame-id must be 0 in HELLO and DISCONNECT",
            ProtocolError::FragmentationNotAnnounced => "a fragment, but fragmentation was not announced",
            ProtocolError::AbortWithoutFin => "ABORT without FIN",
            ProtocolError::Interlaced => "fragments of different NOTIFYs are mixed",
            ProtocolError::UnsupportedVersion => "no common SPOP version",
            ProtocolError::BadMaxFrameSize => "max-frame-size is too big or too small",
            ProtocolError::UnknownAck => "an ACK that answers no open NOTIFY",
            ProtocolError::TimedOut(Timer::Hello) => "no HELLO in time",
            ProtocolError::TimedOut(Timer::HalfFrame) => "a frame was begun and not finished in time",
            ProtocolError::TimedOut(Timer::Idle) => "the connection was idle for too long",
        }
        .fmt(f)
    }
}

impl core::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            ProtocolError::Malformed(e) => Some(e),
            _ => None,
        }
    }
}
