//! What the state machines report.

use spop_core::{AgentEvent, ClientEvent, FrameId, FrameType, Header, Negotiated, StreamId, raw};

use crate::cursor::{SPOP_LIST_ACTIONS, SPOP_LIST_MESSAGES, spop_cursor};
use crate::error::{Code, spop_error};
use crate::library::spop_error_status;
use crate::memory::spop_bytes;
use crate::payload::{capabilities_to_bits, spop_disconnect};

/// Nothing happened.
pub const SPOP_EVENT_NONE: u32 = 0;
/// The peer's HELLO was accepted: `as.hello`. An agent has its own HELLO ready in spop_agent_send().
pub const SPOP_EVENT_HELLO: u32 = 1;
/// To an agent: messages to answer by spop_ack_begin(): `as.notify`.
pub const SPOP_EVENT_NOTIFY: u32 = 2;
/// To a client: the answer to a NOTIFY: `as.ack`.
pub const SPOP_EVENT_ACK: u32 = 3;
/// To an agent: HAProxy gave up a NOTIFY that it was still sending: `as.ids`. No answer.
pub const SPOP_EVENT_ABORTED: u32 = 4;
/// To an agent: a fragmented NOTIFY went beyond the bounds and was dropped: `as.ids`. Its empty ACK is ready in
/// spop_agent_send().
pub const SPOP_EVENT_TOO_BIG: u32 = 5;
/// The peer ends the connection: `as.disconnect`. Open NOTIFYs are void. An agent has the answer ready in
/// spop_agent_send().
pub const SPOP_EVENT_DISCONNECT: u32 = 6;
/// The call failed: `as.error`.
pub const SPOP_EVENT_ERROR: u32 = 7;

/// What the two sides agreed on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_negotiated {
    /// The largest frame of both directions, its 4-byte prefix not counted.
    pub max_frame_size: u32,
    /// The capabilities in effect: SPOP_CAP_...
    pub capabilities: u32,
    /// 1 if HAProxy only checked the agent's health: the connection ends here.
    pub healthcheck: u32,
}

impl From<Negotiated> for spop_negotiated {
    fn from(negotiated: Negotiated) -> Self {
        spop_negotiated {
            max_frame_size: negotiated.max_frame_size,
            capabilities: capabilities_to_bits(negotiated.capabilities),
            healthcheck: negotiated.healthcheck.into(),
        }
    }
}

/// SPOP_EVENT_HELLO.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_hello_event {
    /// What was agreed on.
    pub negotiated: spop_negotiated,
    /// To an agent: groups the connections of one engine; `ptr` is NULL without.
    pub engine_id: spop_bytes,
}

/// SPOP_EVENT_NOTIFY. It points into the input, or into the agent's reassembly memory if it came in fragments: it holds
/// until the input is overwritten or the next spop_agent_recv().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_notify_event {
    /// Names it in spop_ack_begin(). Ids alone do not: HAProxy 2.6 and 3.0 use them again after a timeout.
    pub ticket: u64,
    /// Its stream-id.
    pub stream_id: u64,
    /// Its frame-id.
    pub frame_id: u64,
    /// The messages, for spop_message_next(). They were walked to their end already, and have no error.
    pub messages: spop_cursor,
    /// The same as bytes, for spop_cursor_init() with SPOP_LIST_MESSAGES: to copy and answer it later.
    pub payload: spop_bytes,
    /// 1 if it came in fragments.
    pub fragmented: u32,
}

/// SPOP_EVENT_ACK.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_ack_event {
    /// The NOTIFY's stream-id.
    pub stream_id: u64,
    /// The NOTIFY's frame-id.
    pub frame_id: u64,
    /// The actions, for spop_action_next(); errors show there.
    pub actions: spop_cursor,
    /// 1 if ABORT is set: the agent gave up a NOTIFY that was still being sent.
    pub aborted: u32,
}

/// SPOP_EVENT_ABORTED and SPOP_EVENT_TOO_BIG.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_ids {
    /// The stream-id.
    pub stream_id: u64,
    /// The frame-id.
    pub frame_id: u64,
}

/// SPOP_EVENT_ERROR.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_error_event {
    /// What the function returned.
    pub error: spop_error,
    /// The status of the DISCONNECT that is ready.
    pub status: u32,
    /// Of malformed bytes (above SPOP_E_UNEXPECTED_FRAME): where, in the frame's body, or in the messages of a NOTIFY that
    /// came in fragments. Else 0.
    pub offset: usize,
}

/// The content of an event; its type says which member.
#[repr(C)]
#[derive(Clone, Copy)]
pub union spop_event_content {
    /// SPOP_EVENT_HELLO.
    pub hello: spop_hello_event,
    /// SPOP_EVENT_NOTIFY.
    pub notify: spop_notify_event,
    /// SPOP_EVENT_ACK.
    pub ack: spop_ack_event,
    /// SPOP_EVENT_ABORTED and SPOP_EVENT_TOO_BIG.
    pub ids: spop_ids,
    /// SPOP_EVENT_DISCONNECT.
    pub disconnect: spop_disconnect,
    /// SPOP_EVENT_ERROR.
    pub error: spop_error_event,
}

/// What happened. It points into the input, so it holds as long as the input is not overwritten.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_event {
    /// SPOP_EVENT_...
    pub r#type: u32,
    /// The content.
    pub r#as: spop_event_content,
}

impl spop_event {
    pub(crate) fn none() -> Self {
        spop_event::ids(SPOP_EVENT_NONE, StreamId(0), FrameId(0))
    }

    fn ids(event: u32, stream_id: StreamId, frame_id: FrameId) -> Self {
        let ids = spop_ids { stream_id: stream_id.0, frame_id: frame_id.0 };
        spop_event { r#type: event, r#as: spop_event_content { ids } }
    }

    pub(crate) fn error(Code(error): Code, offset: usize) -> Self {
        let error = spop_error_event { error, status: spop_error_status(error), offset };
        spop_event { r#type: SPOP_EVENT_ERROR, r#as: spop_event_content { error } }
    }

    fn hello(negotiated: Negotiated, engine_id: Option<&[u8]>) -> Self {
        let engine_id = engine_id.map_or(spop_bytes::NONE, spop_bytes::from);
        let hello = spop_hello_event { negotiated: negotiated.into(), engine_id };
        spop_event { r#type: SPOP_EVENT_HELLO, r#as: spop_event_content { hello } }
    }

    fn disconnect(disconnect: spop_disconnect) -> Self {
        spop_event { r#type: SPOP_EVENT_DISCONNECT, r#as: spop_event_content { disconnect } }
    }
}

impl From<AgentEvent<'_>> for spop_event {
    #[inline]
    fn from(event: AgentEvent<'_>) -> Self {
        match event {
            AgentEvent::Hello { negotiated, engine_id } => spop_event::hello(negotiated, engine_id),
            AgentEvent::Notify(notify) => {
                let header = Header::new(FrameType::NOTIFY, notify.stream_id, notify.frame_id);
                let before = if notify.fragmented { 0 } else { header.encoded_len() };
                let notify = spop_notify_event {
                    ticket: notify.ticket.to_bits(),
                    stream_id: notify.stream_id.0,
                    frame_id: notify.frame_id.0,
                    messages: spop_cursor::new(SPOP_LIST_MESSAGES, raw::reader(notify.payload(), before), 0),
                    payload: notify.payload().into(),
                    fragmented: notify.fragmented.into(),
                };
                spop_event { r#type: SPOP_EVENT_NOTIFY, r#as: spop_event_content { notify } }
            }
            AgentEvent::Aborted { stream_id, frame_id } => spop_event::ids(SPOP_EVENT_ABORTED, stream_id, frame_id),
            AgentEvent::TooBig { stream_id, frame_id } => spop_event::ids(SPOP_EVENT_TOO_BIG, stream_id, frame_id),
            AgentEvent::Disconnect(disconnect) => spop_event::disconnect(disconnect.into()),
            _ => spop_event::none(),
        }
    }
}

impl From<ClientEvent<'_>> for spop_event {
    #[inline]
    fn from(event: ClientEvent<'_>) -> Self {
        match event {
            ClientEvent::Hello(negotiated) => spop_event::hello(negotiated, None),
            ClientEvent::Ack { stream_id, frame_id, aborted, actions } => {
                let ack = spop_ack_event {
                    stream_id: stream_id.0,
                    frame_id: frame_id.0,
                    actions: spop_cursor::new(SPOP_LIST_ACTIONS, raw::actions_reader(&actions), 0),
                    aborted: aborted.into(),
                };
                spop_event { r#type: SPOP_EVENT_ACK, r#as: spop_event_content { ack } }
            }
            ClientEvent::Disconnect(disconnect) => spop_event::disconnect(disconnect.into()),
            _ => spop_event::none(),
        }
    }
}
