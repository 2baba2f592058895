//! The state machines of a connection, without I/O: the [`Agent`] is the server's side, the [`Client`] HAProxy's.
//!
//! Both are driven in the same way. Bytes that arrived go to `handle_input`, which tells how many it used and what
//! happened; frames that the machine itself sends come out of `poll_transmit`; time comes in as ticks of any unit by
//! `handle_timeout`. The answer to a NOTIFY, and the NOTIFY of a client, are written by an encoder straight into the
//! caller's output.

mod agent;
mod builders;
mod client;
mod error;
mod open;

pub use agent::{AckError, Agent, AgentConfig, AgentEvent, AgentStats, Notify, Ticket};
pub use client::{Client, ClientConfig, ClientEvent, ClientStats, EngineId, NotifyError};
pub use error::{ProtocolError, Timer};

use crate::frame::{Capabilities, Frame};

/// The output that `poll_transmit` needs at most, in bytes.
pub const MAX_TRANSMIT_LEN: usize = 256;

/// What the two sides agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Negotiated {
    /// The largest frame body of both directions, in bytes.
    pub max_frame_size: u32,
    /// The capabilities in effect. `fragmentation` is the agent's alone to announce.
    pub capabilities: Capabilities,
    /// HAProxy only checked the agent's health: the connection ends here.
    pub healthcheck: bool,
}

/// What a transport should do next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Want {
    /// Read at least so many bytes more (1 or more): exactly those end the next step, the length prefix or the frame.
    Read(usize),
    /// Read nothing now: first send what `poll_transmit` has, or answer an open NOTIFY.
    Pause,
    /// Read nothing more: send what `poll_transmit` has, then close.
    Close,
}

impl Want {
    /// The number of bytes to read, 0 for none.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Read(n) => n,
            Self::Pause | Self::Close => 0,
        }
    }
}

/// The missing bytes of the frame that `buffered` begins with; 1 for a prefix that the next call will refuse.
fn missing(buffered: &[u8], max_frame_size: u32) -> usize {
    let target = match crate::frame::peek_len(buffered, max_frame_size) {
        Ok(Some(total)) => total,
        Ok(None) => crate::frame::PREFIX_LEN,
        Err(_) => 0,
    };
    target.saturating_sub(buffered.len()).max(1)
}

/// HELLO and DISCONNECT: whole, and with ids 0.
fn control_frame(frame: &Frame<'_>) -> Result<(), ProtocolError> {
    if !frame.header.flags.fin() {
        return Err(ProtocolError::NotFragmentable(frame.header.frame_type));
    }
    if frame.header.stream_id.0 != 0 || frame.header.frame_id.0 != 0 {
        return Err(ProtocolError::IdsNotZero);
    }
    Ok(())
}
