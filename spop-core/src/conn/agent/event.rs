//! What the agent's side reports and counts.

use super::Negotiated;
use crate::frame::{Disconnect, FrameId, FrameType, StreamId};
use crate::valid;

/// What a frame brought. Borrows from the input or from the reassembly slice, never from the [`Agent`](super::Agent).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AgentEvent<'a> {
    /// HAProxy's HELLO was accepted; the AGENT-HELLO waits in `poll_transmit`.
    Hello {
        /// What was agreed on.
        negotiated: Negotiated,
        /// Groups the connections of one engine: those with the same id may exchange ACKs if `async` was agreed on.
        engine_id: Option<&'a [u8]>,
    },
    /// Messages to answer, by [`Agent::ack`](super::Agent::ack).
    Notify(Notify<'a>),
    /// HAProxy gave up a NOTIFY that it was still sending. No answer.
    Aborted {
        /// Its stream-id.
        stream_id: StreamId,
        /// Its frame-id.
        frame_id: FrameId,
    },
    /// A fragmented NOTIFY went beyond the bounds and was dropped. Its empty ACK waits in `poll_transmit`.
    TooBig {
        /// Its stream-id.
        stream_id: StreamId,
        /// Its frame-id.
        frame_id: FrameId,
    },
    /// HAProxy ends the connection; the answer waits in `poll_transmit`. Open NOTIFYs are void.
    Disconnect(Disconnect<'a>),
    /// A fragment of a NOTIFY of which more is to come. Nothing is to be done.
    Fragment {
        /// It is the first one.
        first: bool,
        /// The NOTIFY's stream-id.
        stream_id: StreamId,
        /// The NOTIFY's frame-id.
        frame_id: FrameId,
    },
    /// A frame that asks for nothing: of an unknown type, an abort of nothing, or a whole NOTIFY with ABORT, for whose
    /// answer nobody waits.
    Ignored(FrameType),
}

impl AgentEvent<'_> {
    /// The type of the frame.
    pub const fn frame_type(&self) -> FrameType {
        match self {
            AgentEvent::Hello { .. } => FrameType::HAPROXY_HELLO,
            AgentEvent::Notify(Notify { fragmented: false, .. }) | AgentEvent::Fragment { first: true, .. } => {
                FrameType::NOTIFY
            }
            AgentEvent::Notify(_)
            | AgentEvent::Fragment { .. }
            | AgentEvent::Aborted { .. }
            | AgentEvent::TooBig { .. } => FrameType::UNSET,
            AgentEvent::Disconnect(_) => FrameType::HAPROXY_DISCONNECT,
            AgentEvent::Ignored(frame_type) => *frame_type,
        }
    }

    /// Is the memory for fragments free again, until the next [first one](crate::Header::is_first_fragment), once this event was
    /// handled?
    #[inline]
    pub const fn ends_reassembly(&self) -> bool {
        match self {
            AgentEvent::Notify(notify) => notify.fragmented,
            AgentEvent::Aborted { .. } | AgentEvent::TooBig { .. } => true,
            _ => false,
        }
    }
}

/// A NOTIFY to answer.
#[derive(Clone, Debug)]
pub struct Notify<'a> {
    /// Names it in [`Agent::ack`](super::Agent::ack). Ids alone do not: HAProxy 2.6 and 3.0 use them again after a timeout.
    pub ticket: Ticket,
    /// Its stream-id.
    pub stream_id: StreamId,
    /// Its frame-id.
    pub frame_id: FrameId,
    /// It came in fragments.
    pub fragmented: bool,
    pub(super) messages: valid::Messages<'a>,
}

impl<'a> Notify<'a> {
    /// The messages. They are well-formed to their end: a NOTIFY with a broken payload is a
    /// [`ProtocolError`](crate::ProtocolError) and no event.
    #[inline]
    pub fn messages(&self) -> valid::Messages<'a> {
        self.messages.clone()
    }

    /// The bytes of the messages, put together if they came in fragments; to be kept, and read again by
    /// [`valid::Messages::kept`].
    pub const fn payload(&self) -> &'a [u8] {
        self.messages.payload()
    }
}

/// Names an open NOTIFY of one [`Agent`](super::Agent).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket(pub(super) u64);

impl Ticket {
    /// The ticket as a number, for callers that cannot keep the type.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The ticket of such a number; of any other number, a ticket that is not open or names another NOTIFY.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Why a NOTIFY cannot be answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AckError {
    /// It is not open: answered, superseded by a later NOTIFY, or the connection ended. Nothing is to be sent.
    NotOpen,
    /// The buffer cannot take an empty ACK, at most [`MAX_HEADER_LEN`](crate::MAX_HEADER_LEN) bytes. It stays open.
    NoSpace,
}

impl core::fmt::Display for AckError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "this NOTIFY is not open any more",
            Self::NoSpace => "no room for an ACK",
        })
    }
}

impl core::error::Error for AckError {}

/// What an [`Agent`](super::Agent) counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct AgentStats {
    /// NOTIFYs given out as events.
    pub notifies: u64,
    /// ACKs begun by [`Agent::ack`](super::Agent::ack) or given out by [`Agent::release`](super::Agent::release).
    pub acks: u64,
    /// NOTIFYs that a later one with the same ids, or without pipelining any later one, made void.
    pub superseded: u64,
    /// NOTIFYs that were open when the connection ended: nobody waits for their answer.
    pub voided: u64,
    /// NOTIFYs that came with FIN and ABORT at once: nobody waits for an answer.
    pub cancelled: u64,
    /// Fragmented NOTIFYs that HAProxy gave up.
    pub aborted: u64,
    /// Fragmented NOTIFYs beyond the bounds.
    pub too_big: u64,
    /// Frames of fragmented NOTIFYs received, aborts included.
    pub fragments: u64,
    /// Frames of unknown types, and aborts of nothing.
    pub ignored: u64,
}

impl AgentStats {
    pub(super) const ZERO: Self = Self {
        notifies: 0,
        acks: 0,
        superseded: 0,
        voided: 0,
        cancelled: 0,
        aborted: 0,
        too_big: 0,
        fragments: 0,
        ignored: 0,
    };
}
