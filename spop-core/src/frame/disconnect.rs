//! The payload of both DISCONNECT frames (SPOE.txt, sections 3.2.8 and 3.2.9).

use crate::error::{DecodeError, DecodeReason, Status};
use crate::frame::Frame;
use crate::value::Value;

/// Why the peer ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
