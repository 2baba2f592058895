//! Frames (SPOE.txt, section 3.2): a 4-byte length, then the body: type, flags, stream-id, frame-id, payload.
//!
//! Beside the decoder of each frame type stands its encoder. An encoder writes the header when it is made, patches lengths
//! and counts as it goes, and gives the length of the whole frame (prefix included) at `finish`. A call that does not fit
//! returns [`EncodeError::NoSpace`](crate::EncodeError::NoSpace) and leaves the encoder as it was: finish the frame with
//! what is in it, or try something shorter. Reserved flags are written as 0, except by the raw [`FrameEncoder`].

mod ack;
mod capabilities;
mod disconnect;
mod encoder;
mod header;
mod hello;
mod notify;
mod scope;
mod version;

pub use ack::{ACTION_SET_VAR, ACTION_UNSET_VAR, AckEncoder, Action, Actions};
pub use capabilities::Capabilities;
pub use disconnect::{Disconnect, DisconnectEncoder};
pub use encoder::FrameEncoder;
pub use header::{
    Flags, FrameId, FrameType, Header, MAX_HEADER_LEN, MIN_BODY_LEN, MIN_MAX_FRAME_SIZE, PREFIX_LEN, StreamId, peek_len,
};
pub use hello::{AgentHello, HaproxyHello, HelloEncoder};
pub use notify::{Message, Messages, NotifyEncoder};
pub use scope::Scope;
pub use version::{Version, supports_2_0};

use crate::error::{DecodeError, DecodeReason};
use crate::kv::KvList;
use crate::reader::Reader;

/// A decoded frame that borrows its payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// What follows the header. For a fragment these bytes mean nothing alone.
    pub payload: &'a [u8],
    /// Length of the header in the body.
    pub(crate) header_len: usize,
}

impl<'a> Frame<'a> {
    /// Decodes a whole body, that is the frame without its 4-byte length. Types and flags are not judged here.
    ///
    /// # Errors
    /// [`DecodeReason::FrameTooShort`] below 7 bytes, and the errors of a varint for the ids.
    #[inline(always)]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        if body.len() < MIN_BODY_LEN {
            return reader.error(DecodeReason::FrameTooShort);
        }
        let header = Header::read(&mut reader)?;
        Ok(Frame { header, payload: reader.remaining(), header_len: reader.offset() })
    }

    /// A frame from its parts.
    pub const fn new(header: Header, payload: &'a [u8]) -> Self {
        // A varint has one encoding only, so this is what the header took.
        Frame { header, payload, header_len: header.encoded_len() }
    }

    /// The payload as a list of messages (NOTIFY).
    pub const fn messages(&self) -> Messages<'a> {
        Messages::at(self.payload_reader())
    }

    /// The payload as a list of actions (ACK).
    pub const fn actions(&self) -> Actions<'a> {
        Actions::at(self.payload_reader())
    }

    /// The payload as a KV list (HELLO, DISCONNECT).
    pub const fn kv(&self) -> KvList<'a> {
        KvList::at(self.payload_reader())
    }

    const fn payload_reader(&self) -> Reader<'a> {
        Reader::resume(self.payload, self.header_len)
    }
}
