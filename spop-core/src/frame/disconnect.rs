//! Both DISCONNECT frames (SPOE.txt, sections 3.2.8 and 3.2.9).

use super::Frame;
use super::encoder::FrameEncoder;
use super::header::{FrameId, FrameType, Header, StreamId};
use crate::error::{DecodeError, DecodeReason, EncodeError, Status};
use crate::value::Value;

/// Why the peer ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Disconnect<'a> {
    /// `status-code`; `None` if it is missing.
    pub status: Option<Status>,
    /// `message`; empty if it is missing.
    pub message: &'a [u8],
}

impl<'a> Disconnect<'a> {
    /// Reads the payload. Unknown keys are skipped; of a repeated key the last one counts.
    ///
    /// # Errors
    /// Those of the KV list, an empty key, a known key with a value of another type.
    pub fn parse(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut disconnect = Disconnect { status: None, message: &[] };
        let mut list = frame.kv();
        let mut at = list.reader().offset();
        while let Some(kv) = list.next() {
            let kv = kv?;
            match (kv.key, kv.value) {
                (b"", _) => return Err(DecodeError::new(DecodeReason::EmptyKey, at)),
                (b"status-code", value) => match value.as_integer().map(u32::try_from) {
                    Some(Ok(code)) => disconnect.status = Some(Status(code)),
                    _ => return Err(DecodeError::new(DecodeReason::WrongValueType, at)),
                },
                (b"message", Value::String(text)) => disconnect.message = text,
                (b"message", _) => return Err(DecodeError::new(DecodeReason::WrongValueType, at)),
                _ => {}
            }
            at = list.reader().offset();
        }
        Ok(disconnect)
    }

    /// The message as text, if it is UTF-8.
    pub fn message_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.message).ok()
    }
}

/// A DISCONNECT of either side.
#[derive(Debug)]
#[must_use = "finish it: without its length nothing can be sent"]
pub struct DisconnectEncoder<'b> {
    frame: FrameEncoder<'b>,
}

impl<'b> DisconnectEncoder<'b> {
    /// An AGENT-DISCONNECT with its status; [`message`](Self::message) must follow.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; so in all methods here.
    pub fn agent(buf: &'b mut [u8], max_frame_size: u32, status: Status) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::AGENT_DISCONNECT, status)
    }

    /// A HAPROXY-DISCONNECT with its status; [`message`](Self::message) must follow.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn haproxy(buf: &'b mut [u8], max_frame_size: u32, status: Status) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::HAPROXY_DISCONNECT, status)
    }

    fn new(buf: &'b mut [u8], max_frame_size: u32, frame_type: FrameType, status: Status) -> Result<Self, EncodeError> {
        let header = Header::new(frame_type, StreamId(0), FrameId(0));
        let mut frame = FrameEncoder::new(buf, max_frame_size, header)?;
        frame.writer.kv(b"status-code", Value::UInt32(status.0))?;
        Ok(DisconnectEncoder { frame })
    }

    /// Adds the text, for people; HAProxy 2.6 refuses more than 255 bytes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn message(&mut self, text: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.frame.writer.kv(b"message", Value::String(text.as_ref()))
    }

    /// Completes the frame; its length, prefix included.
    #[must_use]
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}
