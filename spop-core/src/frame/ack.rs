//! ACK: a list of actions (SPOE.txt, sections 3.1 and 3.4).

use super::encoder::FrameEncoder;
use super::header::{FrameId, FrameType, Header, MAX_HEADER_LEN, MIN_MAX_FRAME_SIZE, StreamId};
use super::scope::Scope;
use crate::error::{DecodeError, DecodeReason, EncodeError};
use crate::reader::Reader;
use crate::value::Value;
use crate::writer::Writer;

/// The type number of set-var.
pub const ACTION_SET_VAR: u8 = 1;
/// The type number of unset-var.
pub const ACTION_UNSET_VAR: u8 = 2;

/// What HAProxy is to do with a variable. HAProxy puts the scope and the engine's prefix before the name; together
/// they may have 63 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action<'a> {
    /// Set a variable.
    SetVar {
        /// Its scope.
        scope: Scope,
        /// Its name.
        name: &'a [u8],
        /// Its value; [`Value::Null`] unsets it.
        value: Value<'a>,
    },
    /// Unset a variable.
    UnsetVar {
        /// Its scope.
        scope: Scope,
        /// Its name.
        name: &'a [u8],
    },
}

/// The actions of an ACK, to the end of the payload. The list may be empty.
///
/// A fused iterator: after an error it ends. HAProxy applies the actions before an error and drops the rest.
#[derive(Clone, Debug)]
pub struct Actions<'a> {
    reader: Reader<'a>,
}

impl<'a> Actions<'a> {
    /// The actions in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Actions::at(Reader::new(payload))
    }

    /// The actions from `reader` on.
    pub(crate) const fn at(reader: Reader<'a>) -> Self {
        Actions { reader }
    }

    /// Where the next action begins.
    pub(crate) const fn reader(&self) -> Reader<'a> {
        self.reader
    }

    #[inline]
    fn step(&mut self) -> Result<Action<'a>, DecodeError> {
        let start = self.reader;
        let action_type = self.reader.u8()?;
        let expected = match action_type {
            ACTION_SET_VAR => 3,
            ACTION_UNSET_VAR => 2,
            other => return start.error(DecodeReason::UnknownAction(other)),
        };
        let arg_count = self.reader;
        let count = self.reader.u8()?;
        if count != expected {
            return arg_count.error(DecodeReason::BadArgCount(count));
        }
        let scope_at = self.reader;
        let scope = self.reader.u8()?;
        let Some(scope) = Scope::from_u8(scope) else { return scope_at.error(DecodeReason::BadScope(scope)) };
        let name = self.reader.string()?;
        Ok(if action_type == ACTION_SET_VAR {
            Action::SetVar { scope, name, value: Value::decode(&mut self.reader)? }
        } else {
            Action::UnsetVar { scope, name }
        })
    }
}

impl<'a> Iterator for Actions<'a> {
    type Item = Result<Action<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(step)
    }
}

impl core::iter::FusedIterator for Actions<'_> {}

/// An ACK with its actions.
///
/// ```
/// use spop_core::{AckEncoder, FrameId, Scope, StreamId};
///
/// let mut buf = [0; 64];
/// let mut ack = AckEncoder::new(&mut buf, 16380, StreamId(1), FrameId(1))?;
/// ack.set_var(Scope::Transaction, "ok", 7_i64)?;
/// let len = ack.finish();
/// assert_eq!(buf[..len], *b"\0\0\0\x0f\x67\0\0\0\x01\x01\x01\x01\x03\x02\x02ok\x04\x07");
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "finish it: without its length nothing can be sent"]
pub struct AckEncoder<'b> {
    frame: FrameEncoder<'b>,
    header_len: usize,
}

impl<'b> AckEncoder<'b> {
    /// Begins the ACK of the NOTIFY with these ids.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`] if `buf` cannot even take an empty ACK, at most [`MAX_HEADER_LEN`] bytes.
    #[inline]
    pub fn new(
        buf: &'b mut [u8],
        max_frame_size: u32,
        stream_id: StreamId,
        frame_id: FrameId,
    ) -> Result<Self, EncodeError> {
        let frame = FrameEncoder::new(buf, max_frame_size, Header::new(FrameType::ACK, stream_id, frame_id))?;
        let header_len = frame.writer.len();
        Ok(AckEncoder { frame, header_len })
    }

    /// Adds a set-var.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn set_var<'v>(
        &mut self,
        scope: Scope,
        name: impl AsRef<[u8]>,
        value: impl Into<Value<'v>>,
    ) -> Result<(), EncodeError> {
        self.frame.writer.set_var(scope, name, value)
    }

    /// Adds an unset-var.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn unset_var(&mut self, scope: Scope, name: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.frame.writer.unset_var(scope, name)
    }

    /// Takes all actions out again.
    pub fn clear(&mut self) {
        self.frame.writer.truncate(self.header_len);
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.frame.writer.room()
    }

    /// Completes the frame; its length, prefix included.
    #[must_use]
    #[inline]
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}

// The header of an empty ACK always fits what may be negotiated.
const _: () = assert!(MAX_HEADER_LEN <= MIN_MAX_FRAME_SIZE as usize);

impl Writer<'_> {
    /// Appends a set-var action.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn set_var<'v>(
        &mut self,
        scope: Scope,
        name: impl AsRef<[u8]>,
        value: impl Into<Value<'v>>,
    ) -> Result<(), EncodeError> {
        self.transaction(|w| {
            w.bytes(&[ACTION_SET_VAR, 3, scope as u8])?;
            w.kv(name, value)
        })
    }

    /// Appends an unset-var action.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn unset_var(&mut self, scope: Scope, name: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.transaction(|w| {
            w.bytes(&[ACTION_UNSET_VAR, 2, scope as u8])?;
            w.string(name)
        })
    }
}
