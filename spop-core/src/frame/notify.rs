//! NOTIFY: a list of messages (SPOE.txt, sections 3.1 and 3.2.6).

use super::encoder::FrameEncoder;
use super::header::{FrameId, FrameType, Header, StreamId};
use crate::error::{DecodeError, EncodeError};
use crate::kv::Args;
use crate::reader::Reader;
use crate::valid;
use crate::value::Value;
use crate::writer::Writer;

/// A message with its arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The name, as in the `spoe-message` line of HAProxy's configuration.
    pub name: &'a [u8],
    /// The arguments, in the order of the configuration; keys may be empty or come twice.
    pub args: Args<'a>,
}

impl<'a> Message<'a> {
    /// The arguments again from the first one.
    pub fn args(&self) -> Args<'a> {
        self.args.clone()
    }

    /// The value of the first argument of that name; `None` if there is none.
    ///
    /// # Errors
    /// Those of the arguments before it.
    pub fn arg(&self, name: impl AsRef<[u8]>) -> Result<Option<Value<'a>>, DecodeError> {
        let name = name.as_ref();
        for kv in self.args() {
            let kv = kv?;
            if kv.key == name {
                return Ok(Some(kv.value));
            }
        }
        Ok(None)
    }

    /// The name as text, if it is UTF-8.
    pub fn name_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.name).ok()
    }
}

/// The messages of a NOTIFY, to the end of the payload. The list may be empty.
///
/// A fused iterator: after an error it ends. A broken argument shows both in its message's arguments and here, at the
/// next message, so that a walk over the messages alone, [`validate`](Self::validate), finds every error.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    /// The arguments of the last message, passed over when the next one is asked for.
    pending: Args<'a>,
}

impl<'a> Messages<'a> {
    /// The messages in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Messages::at(Reader::new(payload))
    }

    pub(crate) const fn at(reader: Reader<'a>) -> Self {
        Messages::after(Args::at(reader, 0))
    }

    /// The messages that follow these arguments: goes on where another walk stopped.
    pub(crate) const fn after(args: Args<'a>) -> Self {
        Messages { pending: args }
    }

    /// The arguments of the last message, all of them; the next message follows.
    pub(crate) fn pending(&self) -> Args<'a> {
        self.pending.clone()
    }

    /// Continues behind `args`, the arguments of the last message as far as they were walked, which spares the next
    /// message the way through them. Their errors come up in them alone then, and end the list.
    ///
    /// ```
    /// # let payload = b"\x05first\x01\x01k\x04\x07\x06second\0";
    /// let mut messages = spop_core::Messages::new(payload);
    /// while let Some(message) = messages.next() {
    ///     let mut args = message?.args;
    ///     for arg in &mut args {
    ///         println!("{:?}", arg?);
    ///     }
    ///     messages.resume(args);
    /// }
    /// # Ok::<(), spop_core::DecodeError>(())
    /// ```
    #[inline]
    pub fn resume(&mut self, args: Args<'a>) {
        self.pending = args;
    }

    /// Looks at all that is left: the same messages, in which no error comes up any more.
    ///
    /// # Errors
    /// The first error of the payload.
    pub fn validate(self) -> Result<valid::Messages<'a>, DecodeError> {
        let rest = self.pending.clone().skip_all()?.remaining();
        valid::Messages::parse(rest).ok_or_else(|| self.first_error())
    }

    /// Why this is nothing that [`valid::Messages::parse`] takes.
    #[cold]
    #[inline(never)]
    pub(crate) fn first_error(self) -> DecodeError {
        let mut args = self.pending;
        loop {
            let next = args.decode_all().and_then(|mut reader| {
                reader.string()?;
                let count = usize::from(reader.u8()?);
                Ok(Args::at(reader, count))
            });
            match next {
                Ok(next) => args = next,
                Err(error) => return error,
            }
        }
    }

    #[inline(always)]
    fn step(&mut self) -> Result<Option<Message<'a>>, DecodeError> {
        let mut reader = self.pending.clone().skip_all()?;
        if reader.is_empty() {
            self.pending = Args::at(reader, 0);
            return Ok(None);
        }
        let name = reader.string()?;
        let count = usize::from(reader.u8()?);
        self.pending = Args::at(reader, count);
        Ok(Some(Message { name, args: self.pending.clone() }))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.pending = Args::at(Reader::new(&[]), 0);
        }
        step.transpose()
    }
}

impl core::iter::FusedIterator for Messages<'_> {}

/// A NOTIFY, or the payload of one, with its messages.
///
/// ```
/// use spop_core::{FrameId, NotifyEncoder, StreamId};
///
/// let mut buf = [0; 64];
/// let mut notify = NotifyEncoder::new(&mut buf, 16380, StreamId(1), FrameId(1))?;
/// notify.message("m0")?;
/// notify.arg("a", 1_i64)?;
/// let len = notify.finish();
/// assert_eq!(buf[..len], *b"\0\0\0\x0f\x03\0\0\0\x01\x01\x01\x02m0\x01\x01a\x04\x01");
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "finish it: without its length nothing can be sent"]
pub struct NotifyEncoder<'b> {
    writer: Writer<'b>,
    /// A whole frame with a prefix to patch, not a payload alone.
    framed: bool,
    /// Position and value of the argument count of the last message.
    args: Option<(usize, u8)>,
}

impl<'b> NotifyEncoder<'b> {
    /// Begins a whole NOTIFY.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`] if the header does not fit.
    pub fn new(
        buf: &'b mut [u8],
        max_frame_size: u32,
        stream_id: StreamId,
        frame_id: FrameId,
    ) -> Result<Self, EncodeError> {
        let frame = FrameEncoder::new(buf, max_frame_size, Header::new(FrameType::NOTIFY, stream_id, frame_id))?;
        Ok(NotifyEncoder { writer: frame.writer, framed: true, args: None })
    }

    /// Begins a payload without a frame around it, for [`Client::notify_fragment`](crate::Client::notify_fragment).
    pub fn payload(buf: &'b mut [u8]) -> Self {
        NotifyEncoder { writer: Writer::new(buf), framed: false, args: None }
    }

    /// Goes on with what a `NotifyEncoder` over a writer with the same bytes began. `framed`: it is a whole NOTIFY.
    /// `args`: what [`args`](Self::args) was then.
    pub(crate) const fn resume(writer: Writer<'b>, framed: bool, args: Option<(usize, u8)>) -> Self {
        NotifyEncoder { writer, framed, args }
    }

    /// Position and value of the argument count of the last message; `None` before the first.
    pub(crate) const fn args(&self) -> Option<(usize, u8)> {
        self.args
    }

    /// Begins a message.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn message(&mut self, name: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.args = None; // If it does not fit, arguments must not go to the message before.
        self.writer.transaction(|w| {
            w.string(name)?;
            w.u8(0)
        })?;
        self.args = Some((self.writer.len().wrapping_sub(1), 0));
        Ok(())
    }

    /// Adds an argument to the last message; an empty key makes it unnamed.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; [`EncodeError::TooManyArgs`] beyond 255 arguments; [`EncodeError::NoMessage`] before
    /// the first message.
    pub fn arg<'v>(&mut self, key: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> Result<(), EncodeError> {
        let Some((at, count)) = self.args else { return Err(EncodeError::NoMessage) };
        let Some(count) = count.checked_add(1) else { return Err(EncodeError::TooManyArgs) };
        self.writer.kv(key, value)?;
        self.writer.patch_u8(at, count);
        self.args = Some((at, count));
        Ok(())
    }

    /// Adds messages that are encoded already, by an encoder made by [`payload`](Self::payload). No argument can be added
    /// to them.
    ///
    /// ```
    /// use spop_core::{EncodeError, FrameId, NotifyEncoder, StreamId, Value};
    ///
    /// let mut payload = [0; 16];
    /// let mut messages = NotifyEncoder::payload(&mut payload);
    /// messages.message(b"m0")?;
    /// let len = messages.finish();
    ///
    /// let mut buf = [0; 32];
    /// let mut notify = NotifyEncoder::new(&mut buf, 16380, StreamId(1), FrameId(1))?;
    /// notify.encoded(&payload[..len])?;
    /// assert_eq!(notify.arg(b"a", &Value::Null), Err(EncodeError::NoMessage));
    /// let len = notify.finish();
    /// assert_eq!(buf[..len], *b"\0\0\0\x0b\x03\0\0\0\x01\x01\x01\x02m0\0");
    /// # Ok::<(), EncodeError>(())
    /// ```
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn encoded(&mut self, messages: &[u8]) -> Result<(), EncodeError> {
        self.writer.bytes(messages)?;
        self.args = None;
        Ok(())
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.writer.room()
    }

    /// Completes it; the length, that of the prefix included if it is a whole frame.
    #[must_use]
    pub fn finish(self) -> usize {
        if self.framed { FrameEncoder::resume(self.writer).finish() } else { self.writer.len() }
    }
}
