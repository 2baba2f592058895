//! What the client's side reports and counts.

use super::Negotiated;
use crate::frame::{Actions, Disconnect, FrameId, FrameType, StreamId};

/// What happened. Borrows from the input, never from the [`Client`](super::Client).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The agent accepted; NOTIFYs may go out, unless this was a health check.
    Hello(Negotiated),
    /// The answer to a NOTIFY.
    Ack {
        /// The NOTIFY's stream-id.
        stream_id: StreamId,
        /// The NOTIFY's frame-id.
        frame_id: FrameId,
        /// ABORT is set: the agent gave up a NOTIFY that was still being sent. On a whole one HAProxy ignores it.
        aborted: bool,
        /// What to do. HAProxy applies the actions up to the first error and says nothing of it.
        actions: Actions<'a>,
    },
    /// The agent ends the connection; nothing is to be answered.
    Disconnect(Disconnect<'a>),
    /// A frame that asks for nothing: of an unknown type, an ACK of nothing, or whatever came after our DISCONNECT.
    Ignored(FrameType),
}

impl ClientEvent<'_> {
    /// The type of the frame.
    pub const fn frame_type(&self) -> FrameType {
        match self {
            ClientEvent::Hello(_) => FrameType::AGENT_HELLO,
            ClientEvent::Ack { .. } => FrameType::ACK,
            ClientEvent::Disconnect(_) => FrameType::AGENT_DISCONNECT,
            ClientEvent::Ignored(frame_type) => *frame_type,
        }
    }
}

/// Why a NOTIFY cannot be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotifyError {
    /// No HELLO yet, or the connection ended.
    NotRunning,
    /// As many are in flight as the table, or synchronous mode (one), allows.
    TooManyInFlight,
    /// A NOTIFY with these ids is in flight.
    IdsInUse,
    /// A fragmented NOTIFY is being sent; nothing may come between its fragments.
    Fragmenting,
    /// The agent did not announce `fragmentation`.
    NoFragmentation,
    /// The buffer has no room for the header.
    NoSpace,
}

impl core::fmt::Display for NotifyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotRunning => "the connection is not running",
            Self::TooManyInFlight => "too many NOTIFYs are in flight",
            Self::IdsInUse => "a NOTIFY with these ids is in flight",
            Self::Fragmenting => "a fragmented NOTIFY is being sent",
            Self::NoFragmentation => "the agent does not take fragments",
            Self::NoSpace => "no room for the header",
        })
    }
}

impl core::error::Error for NotifyError {}

/// What a [`Client`](super::Client) counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ClientStats {
    /// NOTIFYs begun.
    pub notifies: u64,
    /// ACKs that answered one.
    pub acks: u64,
    /// NOTIFYs that were in flight when the connection ended.
    pub voided: u64,
    /// ACKs that answered nothing, and frames of unknown types.
    pub ignored: u64,
}
