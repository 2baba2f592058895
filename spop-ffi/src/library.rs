//! What the library says of itself, and the status codes of the protocol.

use core::ffi::{CStr, c_char};

use spop_core::Status;

use crate::error::*;

/// The version of the interface that this header describes; see spop_abi_version().
pub const SPOP_ABI_VERSION: u32 = 0x0000_0001;

/// A normal end.
pub const SPOP_STATUS_NORMAL: u32 = 0;
/// The transport failed.
pub const SPOP_STATUS_IO_ERROR: u32 = 1;
/// A timeout occurred.
pub const SPOP_STATUS_TIMEOUT: u32 = 2;
/// A frame is longer than the max-frame-size.
pub const SPOP_STATUS_FRAME_TOO_BIG: u32 = 3;
/// A frame is malformed or came out of order.
pub const SPOP_STATUS_INVALID_FRAME: u32 = 4;
/// `version` or `supported-versions` is missing.
pub const SPOP_STATUS_NO_VERSION: u32 = 5;
/// `max-frame-size` is missing.
pub const SPOP_STATUS_NO_MAX_FRAME_SIZE: u32 = 6;
/// `capabilities` is missing.
pub const SPOP_STATUS_NO_CAPABILITIES: u32 = 7;
/// No common version.
pub const SPOP_STATUS_UNSUPPORTED_VERSION: u32 = 8;
/// `max-frame-size` is too big or too small.
pub const SPOP_STATUS_BAD_MAX_FRAME_SIZE: u32 = 9;
/// A fragment came where fragmentation was not announced.
pub const SPOP_STATUS_NO_FRAGMENTATION: u32 = 10;
/// Fragments of different NOTIFYs are mixed.
pub const SPOP_STATUS_INTERLACED_FRAMES: u32 = 11;
/// An ACK names no open NOTIFY.
pub const SPOP_STATUS_FRAME_ID_NOT_FOUND: u32 = 12;
/// Out of some resource.
pub const SPOP_STATUS_RESOURCES: u32 = 13;
/// Any other error. Codes without a name here are free for agents; HAProxy reports them as they are.
pub const SPOP_STATUS_UNKNOWN: u32 = 99;

/// The version of this library, for example "0.1.0"; never NULL. Static: it is not to be freed. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// The interface of this library. The upper 16 bits are the number in its SONAME, the lower 16 grow with what is added.
/// A program fits if the upper bits equal those of SPOP_ABI_VERSION and the lower are not below. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_abi_version() -> u32 {
    SPOP_ABI_VERSION
}

/// The status of the DISCONNECT that answers an error of -100 or below; SPOP_STATUS_UNKNOWN for other codes. Safe in any
/// thread.
#[no_mangle]
pub extern "C" fn spop_error_status(error: spop_error) -> u32 {
    match error {
        SPOP_E_FRAME_TOO_BIG => SPOP_STATUS_FRAME_TOO_BIG,
        SPOP_E_NO_VERSION => SPOP_STATUS_NO_VERSION,
        SPOP_E_NO_MAX_FRAME_SIZE => SPOP_STATUS_NO_MAX_FRAME_SIZE,
        SPOP_E_NO_CAPABILITIES => SPOP_STATUS_NO_CAPABILITIES,
        SPOP_E_MALFORMED..=SPOP_E_TRUNCATED
        | SPOP_E_UNEXPECTED_FRAME
        | SPOP_E_IDS_NOT_ZERO
        | SPOP_E_ABORT_WITHOUT_FIN => SPOP_STATUS_INVALID_FRAME,
        SPOP_E_NOT_FRAGMENTABLE | SPOP_E_FRAGMENT => SPOP_STATUS_NO_FRAGMENTATION,
        SPOP_E_INTERLACED => SPOP_STATUS_INTERLACED_FRAMES,
        SPOP_E_VERSION => SPOP_STATUS_UNSUPPORTED_VERSION,
        SPOP_E_MAX_FRAME_SIZE => SPOP_STATUS_BAD_MAX_FRAME_SIZE,
        SPOP_E_UNKNOWN_ACK => SPOP_STATUS_FRAME_ID_NOT_FOUND,
        SPOP_E_IDLE_TIMEOUT..=SPOP_E_HELLO_TIMEOUT => SPOP_STATUS_TIMEOUT,
        _ => SPOP_STATUS_UNKNOWN,
    }
}

/// The text that HAProxy puts beside a status, ended by NUL; "unknown error" for a status without a name; never NULL.
/// Static: it is not to be freed. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_status_text(status: u32) -> *const c_char {
    status_text(Status(status)).as_ptr()
}

fn status_text(status: Status) -> &'static CStr {
    match status {
        Status::NORMAL => c"normal",
        Status::IO_ERROR => c"I/O error",
        Status::TIMEOUT => c"a timeout occurred",
        Status::FRAME_TOO_BIG => c"frame is too big",
        Status::INVALID_FRAME => c"invalid frame received",
        Status::NO_VERSION => c"version value not found",
        Status::NO_MAX_FRAME_SIZE => c"max-frame-size value not found",
        Status::NO_CAPABILITIES => c"capabilities value not found",
        Status::UNSUPPORTED_VERSION => c"unsupported version",
        Status::BAD_MAX_FRAME_SIZE => c"max-frame-size too big or too small",
        Status::NO_FRAGMENTATION => c"fragmentation not supported",
        Status::INTERLACED_FRAMES => c"invalid interlaced frames",
        Status::FRAME_ID_NOT_FOUND => c"frame-id not found",
        Status::RESOURCES => c"resource allocation error",
        _ => c"unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spop_core::{Frame, ProtocolError, Timer};

    #[test]
    fn texts_and_statuses_are_those_of_the_core() {
        for status in 0..200 {
            assert_eq!(status_text(Status(status)).to_str(), Ok(Status(status).reason()), "status {status}");
        }
        let too_short = Frame::decode(&[]).expect_err("no frame has 0 bytes");
        let errors = [
            ProtocolError::Malformed(too_short),
            ProtocolError::UnexpectedFrame(spop_core::FrameType::ACK),
            ProtocolError::IdsNotZero,
            ProtocolError::NotFragmentable(spop_core::FrameType::ACK),
            ProtocolError::FragmentationNotAnnounced,
            ProtocolError::AbortWithoutFin,
            ProtocolError::Interlaced,
            ProtocolError::UnsupportedVersion,
            ProtocolError::BadMaxFrameSize,
            ProtocolError::UnknownAck,
            ProtocolError::TimedOut(Timer::Hello),
            ProtocolError::TimedOut(Timer::HalfFrame),
            ProtocolError::TimedOut(Timer::Idle),
        ];
        for error in errors {
            let Code(code) = error.into();
            assert_eq!(Status(spop_error_status(code)), error.status(), "{error:?}");
        }
    }
}
