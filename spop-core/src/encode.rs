//! Encoders for every frame of both sides, into a caller's buffer.
//!
//! An encoder writes the header when it is made, patches lengths and counts as it goes, and gives the length of the
//! whole frame (prefix included) at `finish`. A call that does not fit returns [`EncodeError::NoSpace`] and leaves the
//! encoder as it was: finish the frame with what is in it, or try something shorter. Reserved flags are written as 0,
//! except by the raw [`FrameEncoder`].

use crate::error::{EncodeError, Status};
use crate::frame::{Capabilities, FrameId, FrameType, Header, Scope, StreamId, Version, MAX_HEADER_LEN, PREFIX_LEN};
use crate::value::Value;
use crate::varint;
use crate::writer::Writer;

/// A frame of any type, with any flags and any payload.
///
/// ```
/// use spop_core::{Flags, FrameEncoder, FrameId, FrameType, Header, StreamId};
///
/// let mut buf = [0; 64];
/// let header = Header {
///     frame_type: FrameType::ACK,
///     flags: Flags::FIN.union(Flags::ABORT),
///     stream_id: StreamId(3),
///     frame_id: FrameId(1),
/// };
/// let frame = FrameEncoder::new(&mut buf, 16380, header)?;
/// let len = frame.finish();
/// assert_eq!(buf[..len], [0, 0, 0, 7, 103, 0, 0, 0, 3, 3, 1]);
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct FrameEncoder<'b> {
    writer: Writer<'b>,
}

impl<'b> FrameEncoder<'b> {
    /// Writes the header. The frame will fill neither more than `buf` nor more than `max_frame_size` and its prefix.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`] if the header does not fit.
    #[inline]
    pub fn new(buf: &'b mut [u8], max_frame_size: u32, header: Header) -> Result<Self, EncodeError> {
        let limit = (max_frame_size as usize).saturating_add(PREFIX_LEN).min(buf.len());
        let mut writer = Writer::new(buf.get_mut(..limit).unwrap_or_default());
        writer.bytes(&[0; PREFIX_LEN])?;
        writer.u8(header.frame_type.0)?;
        writer.u32_be(header.flags.0)?;
        writer.varint(header.stream_id.0)?;
        writer.varint(header.frame_id.0)?;
        Ok(FrameEncoder { writer })
    }

    /// Goes on with a frame that an encoder over a writer with the same bytes began.
    pub const fn resume(writer: Writer<'b>) -> Self {
        FrameEncoder { writer }
    }

    /// Where the payload is appended.
    pub fn payload(&mut self) -> &mut Writer<'b> {
        &mut self.writer
    }

    /// Sets the length prefix; the length of the whole frame, prefix included.
    #[inline]
    pub fn finish(mut self) -> usize {
        let len = self.writer.len();
        self.writer.patch_first_u32_be(len.wrapping_sub(PREFIX_LEN) as u32);
        len
    }
}

/// An ACK with its actions.
///
/// ```
/// use spop_core::{AckEncoder, FrameId, Scope, StreamId, Value};
///
/// let mut buf = [0; 64];
/// let mut ack = AckEncoder::new(&mut buf, 16380, StreamId(1), FrameId(1))?;
/// ack.set_var(Scope::Transaction, b"ok", &Value::Int64(7))?;
/// let len = ack.finish();
/// assert_eq!(buf[..len], *b"\0\0\0\x0f\x67\0\0\0\x01\x01\x01\x01\x03\x02\x02ok\x04\x07");
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
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
    pub fn set_var(&mut self, scope: Scope, name: &[u8], value: &Value<'_>) -> Result<(), EncodeError> {
        self.frame.writer.set_var(scope, name, value)
    }

    /// Adds an unset-var.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    #[inline]
    pub fn unset_var(&mut self, scope: Scope, name: &[u8]) -> Result<(), EncodeError> {
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
    #[inline]
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}

/// A NOTIFY, or the payload of one, with its messages.
///
/// ```
/// use spop_core::{FrameId, NotifyEncoder, StreamId, Value};
///
/// let mut buf = [0; 64];
/// let mut notify = NotifyEncoder::new(&mut buf, 16380, StreamId(1), FrameId(1))?;
/// notify.message(b"m0")?;
/// notify.arg(b"a", &Value::Int64(1))?;
/// let len = notify.finish();
/// assert_eq!(buf[..len], *b"\0\0\0\x0f\x03\0\0\0\x01\x01\x01\x02m0\x01\x01a\x04\x01");
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
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
    pub const fn resume(writer: Writer<'b>, framed: bool, args: Option<(usize, u8)>) -> Self {
        NotifyEncoder { writer, framed, args }
    }

    /// Position and value of the argument count of the last message; `None` before the first.
    pub const fn args(&self) -> Option<(usize, u8)> {
        self.args
    }

    /// Begins a message.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn message(&mut self, name: &[u8]) -> Result<(), EncodeError> {
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
    pub fn arg(&mut self, key: &[u8], value: &Value<'_>) -> Result<(), EncodeError> {
        let Some((at, count)) = self.args else { return Err(EncodeError::NoMessage) };
        let Some(count) = count.checked_add(1) else { return Err(EncodeError::TooManyArgs) };
        self.writer.kv(key, value)?;
        self.writer.patch_u8(at, count);
        self.args = Some((at, count));
        Ok(())
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.writer.room()
    }

    /// Completes it; the length, that of the prefix included if it is a whole frame.
    pub fn finish(self) -> usize {
        if self.framed {
            FrameEncoder { writer: self.writer }.finish()
        } else {
            self.writer.len()
        }
    }
}

/// A HELLO of either side. Each method adds one key; HAProxy wants the keys of its peer's HELLO all there, in any order.
#[derive(Debug)]
pub struct HelloEncoder<'b> {
    frame: FrameEncoder<'b>,
}

impl<'b> HelloEncoder<'b> {
    /// Begins an AGENT-HELLO.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; so in all methods here.
    pub fn agent(buf: &'b mut [u8], max_frame_size: u32) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::AGENT_HELLO)
    }

    /// Begins a HAPROXY-HELLO.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn haproxy(buf: &'b mut [u8], max_frame_size: u32) -> Result<Self, EncodeError> {
        Self::new(buf, max_frame_size, FrameType::HAPROXY_HELLO)
    }

    fn new(buf: &'b mut [u8], max_frame_size: u32, frame_type: FrameType) -> Result<Self, EncodeError> {
        let header = Header::new(frame_type, StreamId(0), FrameId(0));
        Ok(HelloEncoder { frame: FrameEncoder::new(buf, max_frame_size, header)? })
    }

    /// Goes on with a HELLO.
    pub const fn resume(frame: FrameEncoder<'b>) -> Self {
        HelloEncoder { frame }
    }

    /// The bytes that still fit.
    pub const fn room(&self) -> usize {
        self.frame.writer.room()
    }

    /// Adds `version` (agent).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn version(&mut self, version: Version) -> Result<(), EncodeError> {
        self.version_key(b"version", version)
    }

    /// Adds `supported-versions` (HAProxy) with one version.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn supported_versions(&mut self, version: Version) -> Result<(), EncodeError> {
        self.version_key(b"supported-versions", version)
    }

    fn version_key(&mut self, key: &[u8], version: Version) -> Result<(), EncodeError> {
        let mut text = [0; 21];
        let mut w = Writer::new(&mut text);
        decimal(&mut w, version.major)?;
        w.u8(b'.')?;
        decimal(&mut w, version.minor)?;
        let len = w.len();
        self.kv(key, &Value::String(text.get(..len).unwrap_or_default()))
    }

    /// Adds `max-frame-size`.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn max_frame_size(&mut self, size: u32) -> Result<(), EncodeError> {
        self.kv(b"max-frame-size", &Value::UInt32(size))
    }

    /// Adds `capabilities`, in the order pipelining, async, fragmentation.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn capabilities(&mut self, capabilities: Capabilities) -> Result<(), EncodeError> {
        let mut text = [0; 32];
        let mut w = Writer::new(&mut text);
        for name in capabilities.names() {
            if !w.is_empty() {
                w.u8(b',')?;
            }
            w.bytes(name.as_bytes())?;
        }
        let len = w.len();
        self.kv(b"capabilities", &Value::String(text.get(..len).unwrap_or_default()))
    }

    /// Adds `healthcheck` (HAProxy).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn healthcheck(&mut self, healthcheck: bool) -> Result<(), EncodeError> {
        self.kv(b"healthcheck", &Value::Bool(healthcheck))
    }

    /// Adds `engine-id` (HAProxy).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn engine_id(&mut self, id: &[u8]) -> Result<(), EncodeError> {
        self.kv(b"engine-id", &Value::String(id))
    }

    /// Adds any key. An agent must not send a key that begins with a known one: HAProxy compares prefixes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn kv(&mut self, key: &[u8], value: &Value<'_>) -> Result<(), EncodeError> {
        self.frame.writer.kv(key, value)
    }

    /// Completes the frame; its length, prefix included.
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}

fn decimal(w: &mut Writer<'_>, number: u32) -> Result<(), EncodeError> {
    let mut divisor: u32 = 1_000_000_000;
    let mut started = false;
    loop {
        let digit = number.checked_div(divisor).unwrap_or(0) % 10;
        started |= digit != 0 || divisor == 1;
        if started {
            w.u8(b'0' + digit as u8)?;
        }
        if divisor == 1 {
            return Ok(());
        }
        divisor /= 10;
    }
}

/// A DISCONNECT of either side.
#[derive(Debug)]
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
        frame.writer.kv(b"status-code", &Value::UInt32(status.0))?;
        Ok(DisconnectEncoder { frame })
    }

    /// Adds the text, for people; HAProxy 2.6 refuses more than 255 bytes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`].
    pub fn message(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        self.frame.writer.kv(b"message", &Value::String(text))
    }

    /// Completes the frame; its length, prefix included.
    pub fn finish(self) -> usize {
        self.frame.finish()
    }
}

/// Lengths of what an encoder would write, to size a buffer beforehand.
pub mod encoded_len {
    use super::*;

    /// A whole frame, prefix included, with a payload of `payload_len` bytes.
    pub const fn frame(stream_id: StreamId, frame_id: FrameId, payload_len: usize) -> usize {
        let header = Header::new(FrameType::NOTIFY, stream_id, frame_id).encoded_len();
        PREFIX_LEN.saturating_add(header).saturating_add(payload_len)
    }

    /// A string body.
    pub const fn string(bytes: &[u8]) -> usize {
        varint::len(bytes.len() as u64).saturating_add(bytes.len())
    }

    /// A key with its value: a pair of a HELLO, or an argument of a message.
    pub const fn kv(key: &[u8], value: &Value<'_>) -> usize {
        string(key).saturating_add(value.encoded_len())
    }

    /// A message without its arguments: name and count.
    pub const fn message(name: &[u8]) -> usize {
        string(name).saturating_add(1)
    }

    /// A set-var action.
    pub const fn set_var(name: &[u8], value: &Value<'_>) -> usize {
        kv(name, value).saturating_add(3)
    }

    /// An unset-var action.
    pub const fn unset_var(name: &[u8]) -> usize {
        string(name).saturating_add(3)
    }
}

// The header of an empty ACK always fits what may be negotiated.
const _: () = assert!(MAX_HEADER_LEN <= crate::frame::MIN_MAX_FRAME_SIZE as usize);
