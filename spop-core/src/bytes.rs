//! Feature `bytes`: frames out of any [`Buf`] and into [`BufMut`], owned without a copy. The crate `bytes` allocates.
//!
//! ```
//! use bytes::BytesMut;
//! use spop_core::bytes::{append, FrameDecoder};
//! use spop_core::{AckEncoder, FrameType, Scope};
//!
//! let mut input = BytesMut::from(&b"\0\0\0\x20\x03\0\0\0\x01\x05\x07\x0fcheck-client-ip\x01\x02ip\x06\xc0\0\x02\x11"[..]);
//! let mut decoder = FrameDecoder::new(16380);
//! let notify = decoder.decode(&mut input)?.expect("a whole frame");
//! assert_eq!(notify.header().frame_type, FrameType::NOTIFY);
//!
//! let mut output = BytesMut::new();
//! let ids = (notify.header().stream_id, notify.header().frame_id);
//! append(&mut output, 128, |room| {
//!     let mut ack = AckEncoder::new(room, 16380, ids.0, ids.1)?;
//!     ack.set_var(Scope::Session, "ip_score", 42_i64)?;
//!     Ok::<_, spop_core::EncodeError>(ack.finish())
//! }).expect("128 bytes are enough");
//! assert!(output.ends_with(b"\x08ip_score\x04\x2a"));
//! # Ok::<(), spop_core::DecodeError>(())
//! ```

use ::bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::frame::{Frame, FrameEncoder, Header, MAX_HEADER_LEN, PREFIX_LEN, peek_len};

/// A frame that shares the memory it was received in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedFrame {
    header: Header,
    body: Bytes,
    header_len: usize,
}

impl OwnedFrame {
    /// Decodes a whole body, as [`Frame::decode`].
    ///
    /// # Errors
    /// As [`Frame::decode`].
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let Frame { header, header_len, .. } = Frame::decode(&body)?;
        Ok(Self { header, body, header_len })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The frame, to look at its messages, actions or pairs.
    pub fn frame(&self) -> Frame<'_> {
        let payload = self.body.get(self.header_len..).unwrap_or_default();
        Frame { header: self.header, payload, header_len: self.header_len }
    }

    /// A part of the frame, such as the value of an argument, that shares its memory; `None` if `part` is none.
    pub fn share(&self, part: &[u8]) -> Option<Bytes> {
        let from = (part.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize)?;
        let to = from.checked_add(part.len()).filter(|&to| to <= self.body.len())?;
        Some(self.body.slice(from..to))
    }
}

/// Takes frame after frame from any [`Buf`]: from [`BytesMut`] and [`Bytes`] without a copy.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    max_frame_size: u32,
    /// The length of the body whose prefix was taken already.
    body_len: Option<usize>,
}

impl FrameDecoder {
    /// A decoder that refuses bodies above `max_frame_size`.
    pub const fn new(max_frame_size: u32) -> Self {
        Self { max_frame_size, body_len: None }
    }

    /// Another bound, after the handshake, from the next frame on.
    pub fn set_max_frame_size(&mut self, max_frame_size: u32) {
        self.max_frame_size = max_frame_size;
    }

    /// The bytes that are still missing in `buf` to end the length prefix or the frame.
    pub fn missing(&self, buf: &impl Buf) -> usize {
        self.body_len.unwrap_or(PREFIX_LEN).saturating_sub(buf.remaining())
    }

    /// The next frame; `None` until `buf` has all of it. A complete length prefix is taken at once.
    ///
    /// # Errors
    /// Those of [`peek_len`], before the body is there, and of [`Frame::decode`]. After one of the former nobody knows
    /// where the next frame begins.
    pub fn decode(&mut self, buf: &mut impl Buf) -> Result<Option<OwnedFrame>, DecodeError> {
        let body_len = match self.body_len {
            Some(len) => len,
            None if buf.remaining() < PREFIX_LEN => return Ok(None),
            None => {
                let mut prefix = [0; PREFIX_LEN];
                buf.copy_to_slice(&mut prefix);
                let total = peek_len(&prefix, self.max_frame_size)?.unwrap_or_default();
                total.saturating_sub(PREFIX_LEN)
            }
        };
        if buf.remaining() < body_len {
            self.body_len = Some(body_len);
            return Ok(None);
        }
        self.body_len = None;
        OwnedFrame::decode(buf.copy_to_bytes(body_len)).map(Some)
    }
}

/// Appends what `encode` writes into `room` more bytes, all of it or nothing: the number of bytes.
///
/// # Errors
/// Those of `encode`; `out` is then as it was.
pub fn append<E>(
    out: &mut BytesMut,
    room: usize,
    encode: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, E> {
    let before = out.len();
    out.put_bytes(0, room);
    let result = encode(out.get_mut(before..).unwrap_or_default());
    let len = *result.as_ref().unwrap_or(&0);
    out.truncate(before.saturating_add(len));
    result
}

/// Writes a frame with a ready payload: the number of bytes.
///
/// # Errors
/// [`EncodeError::NoSpace`] if the frame is longer than `max_frame_size` or than the room in `out`, which then stays as
/// it was.
pub fn put_frame(
    out: &mut impl BufMut,
    max_frame_size: u32,
    header: Header,
    payload: &[u8],
) -> Result<usize, EncodeError> {
    let mut head = [0; MAX_HEADER_LEN];
    let head_len = FrameEncoder::new(&mut head, max_frame_size, header)?.finish();
    let body_len = (head_len - PREFIX_LEN).checked_add(payload.len()).and_then(|len| u32::try_from(len).ok());
    let Some(body_len) = body_len.filter(|&len| len <= max_frame_size) else { return Err(EncodeError::NoSpace) };
    let total = PREFIX_LEN.saturating_add(body_len as usize);
    if total > out.remaining_mut() {
        return Err(EncodeError::NoSpace);
    }
    out.put_u32(body_len);
    out.put_slice(head.get(PREFIX_LEN..head_len).unwrap_or_default());
    out.put_slice(payload);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeReason;
    use crate::frame::{FrameId, FrameType, StreamId};
    use crate::value::Value;

    const NOTIFY: &[u8] = b"\0\0\0\x10\x03\0\0\0\x01\x05\x07\x01a\x01\x01k\x08\x02hi";

    #[test]
    fn frames_cut_anywhere_come_out_whole() {
        let stream = [NOTIFY, NOTIFY].concat();
        for cut in 0..=stream.len() {
            let (mut decoder, mut buf, mut frames) = (FrameDecoder::new(256), BytesMut::new(), 0);
            for part in [&stream[..cut], &stream[cut..]] {
                buf.extend_from_slice(part);
                while let Some(frame) = decoder.decode(&mut buf).expect("valid") {
                    assert_eq!(frame.frame(), Frame::decode(&NOTIFY[4..]).expect("valid"));
                    frames += 1;
                }
                assert_ne!(decoder.missing(&buf), 0);
            }
            assert_eq!((frames, buf.len()), (2, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_chain_of_buffers_is_one_stream() {
        let (left, right) = NOTIFY.split_at(2);
        let mut chain = left.chain(right);
        let frame = FrameDecoder::new(256).decode(&mut chain).expect("valid").expect("whole");
        assert_eq!(frame.frame().messages().validate().map(|messages| messages.len()), Ok(1));
    }

    #[test]
    fn bounds_are_checked_before_the_body_comes() {
        let mut decoder = FrameDecoder::new(15);
        let refused = decoder.decode(&mut &NOTIFY[..4]).expect_err("16 bytes");
        assert_eq!(refused.reason, DecodeReason::FrameTooBig);
        decoder.set_max_frame_size(16);
        assert!(decoder.decode(&mut &NOTIFY[..]).expect("16 bytes").is_some());
    }

    #[test]
    fn parts_share_the_memory_of_their_frame() {
        let body = Bytes::copy_from_slice(&NOTIFY[4..]);
        let frame = OwnedFrame::decode(body.clone()).expect("valid");
        let message = frame.frame().messages().next().expect("one").expect("valid");
        let Ok(Some(Value::String(text))) = message.arg("k") else { panic!("k is a string") };
        let shared = frame.share(text).expect("a part");
        assert_eq!((&shared[..], shared.as_ptr()), (&b"hi"[..], text.as_ptr()));
        assert_eq!(frame.share(b"hi"), None);
        assert_eq!(frame.share(&[&body[..], b"longer"].concat()), None);
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let header = Header::new(FrameType::NOTIFY, StreamId(5), FrameId(7));
        let payload = &NOTIFY[11..];
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(put_frame(&mut out, 15, header, payload), Err(EncodeError::NoSpace));
        assert_eq!(put_frame(&mut (&mut out).limit(19), 256, header, payload), Err(EncodeError::NoSpace));
        assert_eq!(append(&mut out, 8, |_| Err::<usize, _>(EncodeError::NoSpace)), Err(EncodeError::NoSpace));
        assert_eq!(out, "before");
        assert_eq!(put_frame(&mut out, 16, header, payload), Ok(20));
        assert_eq!(out[6..], *NOTIFY);
        let encode = |room: &mut [u8]| Ok::<_, EncodeError>(FrameEncoder::new(room, 256, header)?.finish());
        assert_eq!(append(&mut out, 64, encode), Ok(11));
        assert_eq!(out.len(), 6 + 20 + 11);
    }
}
