//! Frames as they arrive.

use core::ffi::{c_char, c_void};

use spop_core::{Flags, Frame, FrameId, FrameType, Header, StreamId, peek_len};

use crate::error::{Code, SPOP_AGAIN, spop_error};
use crate::memory::{Out, input, run, spop_bytes};

/// Continues a fragmented NOTIFY.
pub const SPOP_FRAME_UNSET: u32 = 0;
/// HAProxy's first frame.
pub const SPOP_FRAME_HAPROXY_HELLO: u32 = 1;
/// HAProxy ends the connection.
pub const SPOP_FRAME_HAPROXY_DISCONNECT: u32 = 2;
/// The messages of an event.
pub const SPOP_FRAME_NOTIFY: u32 = 3;
/// The agent's first frame.
pub const SPOP_FRAME_AGENT_HELLO: u32 = 101;
/// The agent ends the connection.
pub const SPOP_FRAME_AGENT_DISCONNECT: u32 = 102;
/// The answer to a NOTIFY.
pub const SPOP_FRAME_ACK: u32 = 103;

/// Flag: the last fragment, or the only one.
pub const SPOP_FLAG_FIN: u32 = 1;
/// Flag: the sender gives up the fragmented frame.
pub const SPOP_FLAG_ABORT: u32 = 2;

/// The bytes of the length before a frame.
pub const SPOP_PREFIX_LEN: usize = 4;
/// The most bytes that a frame without payload takes, its length included: room for this is room for an empty ACK.
pub const SPOP_MAX_HEADER_LEN: usize = 29;
/// The smallest max-frame-size.
pub const SPOP_MIN_MAX_FRAME_SIZE: u32 = 256;

/// A decoded frame.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_frame {
    /// SPOP_FRAME_..., or any other number below 256: unknown types are no error.
    pub r#type: u32,
    /// SPOP_FLAG_...; reserved flags are kept.
    pub flags: u32,
    /// The stream-id; 0 is a legal value in NOTIFY and ACK.
    pub stream_id: u64,
    /// The frame-id.
    pub frame_id: u64,
    /// What follows the header, inside the bytes that were decoded.
    pub payload: spop_bytes,
}

impl spop_frame {
    /// The frame as the core has it.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn to_core<'a>(self) -> Result<Frame<'a>, Code> {
        // SAFETY: the rules of the crate.
        let payload = unsafe { input(self.payload.ptr.cast(), self.payload.len)? };
        Ok(Frame::new(self.header(), payload))
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            frame_type: FrameType(self.r#type as u8),
            flags: Flags(self.flags),
            stream_id: StreamId(self.stream_id),
            frame_id: FrameId(self.frame_id),
        }
    }
}

/// The length of the frame at the start of `data`, its 4-byte prefix included, into `*total`.
///
/// Only the prefix is looked at, so a hostile length is refused before anything is stored. SPOP_AGAIN while the prefix is
/// incomplete. SPOP_E_FRAME_TOO_SHORT, SPOP_E_FRAME_TOO_BIG.
#[no_mangle]
pub unsafe extern "C" fn spop_peek_len(
    data: *const c_void,
    len: usize,
    max_frame_size: u32,
    total: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (data, total) = unsafe { (input(data, len)?, Out::new(total)?) };
        total.set(peek_len(data, max_frame_size)?.ok_or(Code(SPOP_AGAIN))?);
        Ok(())
    })
}

/// Decodes the body of a frame, that is all but its 4-byte prefix, into `*frame`, which then points into `body`. Types and
/// flags are not judged. SPOP_E_FRAME_TOO_SHORT, and the errors of a varint for the ids.
#[no_mangle]
pub unsafe extern "C" fn spop_frame_decode(body: *const c_void, len: usize, frame: *mut spop_frame) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (body, out) = unsafe { (input(body, len)?, Out::new(frame)?) };
        let frame = Frame::decode(body)?;
        out.set(spop_frame {
            r#type: frame.header.frame_type.0.into(),
            flags: frame.header.flags.0,
            stream_id: frame.header.stream_id.0,
            frame_id: frame.header.frame_id.0,
            payload: frame.payload.into(),
        });
        Ok(())
    })
}

/// The name of a frame type as the specification has it, ended by NUL; "unknown" for an unknown type; never NULL. Static:
/// it is not to be freed. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_frame_type_name(r#type: u32) -> *const c_char {
    match r#type {
        SPOP_FRAME_UNSET => c"UNSET",
        SPOP_FRAME_HAPROXY_HELLO => c"HAPROXY-HELLO",
        SPOP_FRAME_HAPROXY_DISCONNECT => c"HAPROXY-DISCONNECT",
        SPOP_FRAME_NOTIFY => c"NOTIFY",
        SPOP_FRAME_AGENT_HELLO => c"AGENT-HELLO",
        SPOP_FRAME_AGENT_DISCONNECT => c"AGENT-DISCONNECT",
        SPOP_FRAME_ACK => c"ACK",
        _ => c"unknown",
    }
    .as_ptr()
}
