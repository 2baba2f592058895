//! The encoder of any frame, on which those of the frame types stand.

use super::header::{Header, PREFIX_LEN};
use crate::error::EncodeError;
use crate::writer::Writer;

/// A frame of any type, with any flags and any payload.
///
/// ```
/// use spop_core::{Flags, FrameEncoder, FrameId, FrameType, Header, StreamId};
///
/// let mut buf = [0; 64];
/// let header = Header {
///     frame_type: FrameType::ACK,
///     flags: Flags::FIN | Flags::ABORT,
///     stream_id: StreamId(3),
///     frame_id: FrameId(1),
/// };
/// let frame = FrameEncoder::new(&mut buf, 16380, header)?;
/// let len = frame.finish();
/// assert_eq!(buf[..len], [0, 0, 0, 7, 103, 0, 0, 0, 3, 3, 1]);
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "finish it: without its length nothing can be sent"]
pub struct FrameEncoder<'b> {
    pub(super) writer: Writer<'b>,
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
        let [f0, f1, f2, f3] = header.flags.0.to_be_bytes();
        // The length prefix is patched at the end.
        writer.bytes(&[0, 0, 0, 0, header.frame_type.0, f0, f1, f2, f3])?;
        writer.varint(header.stream_id.0)?;
        writer.varint(header.frame_id.0)?;
        Ok(FrameEncoder { writer })
    }

    /// Goes on with a frame that an encoder over a writer with the same bytes began.
    pub(crate) const fn resume(writer: Writer<'b>) -> Self {
        FrameEncoder { writer }
    }

    /// Where the payload is appended.
    pub fn payload(&mut self) -> &mut Writer<'b> {
        &mut self.writer
    }

    /// Sets the length prefix; the length of the whole frame, prefix included.
    #[must_use]
    #[inline]
    pub fn finish(mut self) -> usize {
        let len = self.writer.len();
        self.writer.patch_first_u32_be(len.wrapping_sub(PREFIX_LEN) as u32);
        len
    }
}
