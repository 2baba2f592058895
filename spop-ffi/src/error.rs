//! The codes that functions return.

use core::ffi::{CStr, c_char};

use spop_core::{DecodeError, DecodeReason, EncodeError, ProtocolError, Timer};

/// What a function returns: SPOP_OK, a positive code that is no error, or a negative one.
///
/// -1 to -99: the call had no effect (where a function says otherwise, it says so) and the connection goes on. -100 and
/// below: the bytes are malformed or the peer broke the protocol; a connection is over then, and spop_error_status() is
/// the status of the DISCONNECT to send, which spop_agent_send() and spop_client_send() have ready.
pub type spop_error = i32;

/// Done.
pub const SPOP_OK: spop_error = 0;
/// More bytes are needed first, or it is not known yet.
pub const SPOP_AGAIN: spop_error = 1;
/// There is no more: the end of a list, no frame to send, the end of a connection.
pub const SPOP_END: spop_error = 2;
/// No argument has this name.
pub const SPOP_NOT_FOUND: spop_error = 3;

/// A pointer is NULL that must not be.
pub const SPOP_E_NULL: spop_error = -1;
/// An argument is out of its range: an unknown type, list, scope or capability, a length above half the address space,
/// misaligned memory.
pub const SPOP_E_ARGUMENT: spop_error = -2;
/// No room for it in the buffer or in the max-frame-size.
pub const SPOP_E_NO_SPACE: spop_error = -3;
/// A message has 255 arguments already.
pub const SPOP_E_TOO_MANY_ARGS: spop_error = -4;
/// An argument came before any message.
pub const SPOP_E_NO_MESSAGE: spop_error = -5;
/// This writer is not for that, or is finished.
pub const SPOP_E_WRITER: spop_error = -6;
/// The `size` of a struct is less than in the first version, or it has members, other than 0, that this library does not
/// know.
pub const SPOP_E_SIZE: spop_error = -7;
/// This NOTIFY is not open: answered, superseded by a later one, or the connection ended. Nothing is to be sent.
pub const SPOP_E_NOT_OPEN: spop_error = -8;
/// No HELLO yet, or the connection ended.
pub const SPOP_E_NOT_RUNNING: spop_error = -9;
/// As many NOTIFYs are in flight as may be: 128, or one without `pipelining`.
pub const SPOP_E_IN_FLIGHT: spop_error = -10;
/// A NOTIFY with these ids is in flight.
pub const SPOP_E_IDS_IN_USE: spop_error = -11;
/// A fragmented NOTIFY is being sent; nothing may come between its fragments.
pub const SPOP_E_FRAGMENTING: spop_error = -12;
/// The agent did not announce `fragmentation`.
pub const SPOP_E_NO_FRAGMENTATION: spop_error = -13;

/// The bytes end inside a field, or a length goes past their end.
pub const SPOP_E_TRUNCATED: spop_error = -100;
/// A varint has more than 10 bytes.
pub const SPOP_E_VARINT_LENGTH: spop_error = -101;
/// A varint is above 64 bits.
pub const SPOP_E_VARINT_RANGE: spop_error = -102;
/// A value has one of the reserved types 10 to 15, whose length is unknown.
pub const SPOP_E_RESERVED_TYPE: spop_error = -103;
/// The value of an INT32 or UINT32 does not fit 32 bits.
pub const SPOP_E_INTEGER_RANGE: spop_error = -104;
/// A frame is shorter than the smallest header, 7 bytes.
pub const SPOP_E_FRAME_TOO_SHORT: spop_error = -105;
/// A frame is longer than the max-frame-size.
pub const SPOP_E_FRAME_TOO_BIG: spop_error = -106;
/// An action is neither set-var nor unset-var.
pub const SPOP_E_UNKNOWN_ACTION: spop_error = -107;
/// An action has another number of arguments than its type.
pub const SPOP_E_ARG_COUNT: spop_error = -108;
/// A scope above 4.
pub const SPOP_E_SCOPE: spop_error = -109;
/// A key of a HELLO or DISCONNECT is empty.
pub const SPOP_E_EMPTY_KEY: spop_error = -110;
/// A known key of a HELLO or DISCONNECT has a value of another type.
pub const SPOP_E_VALUE_TYPE: spop_error = -111;
/// A HELLO has no version.
pub const SPOP_E_NO_VERSION: spop_error = -112;
/// A HELLO has no max-frame-size.
pub const SPOP_E_NO_MAX_FRAME_SIZE: spop_error = -113;
/// A HELLO has no capabilities.
pub const SPOP_E_NO_CAPABILITIES: spop_error = -114;
/// Malformed in another way.
pub const SPOP_E_MALFORMED: spop_error = -119;

/// This frame type may not come from this peer, or not now.
pub const SPOP_E_UNEXPECTED_FRAME: spop_error = -120;
/// A HELLO or DISCONNECT with a stream-id or frame-id other than 0.
pub const SPOP_E_IDS_NOT_ZERO: spop_error = -121;
/// A HELLO, DISCONNECT or ACK without FIN.
pub const SPOP_E_NOT_FRAGMENTABLE: spop_error = -122;
/// A fragment, although fragmentation was not announced.
pub const SPOP_E_FRAGMENT: spop_error = -123;
/// A fragment with ABORT and without FIN.
pub const SPOP_E_ABORT_WITHOUT_FIN: spop_error = -124;
/// Fragments of different NOTIFYs are mixed.
pub const SPOP_E_INTERLACED: spop_error = -125;
/// No common version.
pub const SPOP_E_VERSION: spop_error = -126;
/// The max-frame-size is below 256, or the agent's is above HAProxy's.
pub const SPOP_E_MAX_FRAME_SIZE: spop_error = -127;
/// An ACK for no open NOTIFY, without `pipelining`.
pub const SPOP_E_UNKNOWN_ACK: spop_error = -128;
/// The peer's HELLO did not come in time.
pub const SPOP_E_HELLO_TIMEOUT: spop_error = -129;
/// A frame, or a fragmented NOTIFY, was begun and not finished in time.
pub const SPOP_E_HALF_FRAME_TIMEOUT: spop_error = -130;
/// The connection was idle for too long.
pub const SPOP_E_IDLE_TIMEOUT: spop_error = -131;
/// The peer broke the protocol in another way.
pub const SPOP_E_PROTOCOL: spop_error = -139;

/// A code on its way to the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Code(pub(crate) spop_error);

impl From<DecodeError> for Code {
    fn from(error: DecodeError) -> Self {
        Code(match error.reason {
            DecodeReason::Truncated => SPOP_E_TRUNCATED,
            DecodeReason::VarintTooLong => SPOP_E_VARINT_LENGTH,
            DecodeReason::VarintOverflow => SPOP_E_VARINT_RANGE,
            DecodeReason::ReservedType(_) => SPOP_E_RESERVED_TYPE,
            DecodeReason::IntegerOutOfRange => SPOP_E_INTEGER_RANGE,
            DecodeReason::FrameTooShort => SPOP_E_FRAME_TOO_SHORT,
            DecodeReason::FrameTooBig => SPOP_E_FRAME_TOO_BIG,
            DecodeReason::UnknownAction(_) => SPOP_E_UNKNOWN_ACTION,
            DecodeReason::BadArgCount(_) => SPOP_E_ARG_COUNT,
            DecodeReason::BadScope(_) => SPOP_E_SCOPE,
            DecodeReason::EmptyKey => SPOP_E_EMPTY_KEY,
            DecodeReason::WrongValueType => SPOP_E_VALUE_TYPE,
            DecodeReason::MissingVersion => SPOP_E_NO_VERSION,
            DecodeReason::MissingMaxFrameSize => SPOP_E_NO_MAX_FRAME_SIZE,
            DecodeReason::MissingCapabilities => SPOP_E_NO_CAPABILITIES,
            _ => SPOP_E_MALFORMED,
        })
    }
}

impl From<ProtocolError> for Code {
    fn from(error: ProtocolError) -> Self {
        Code(match error {
            ProtocolError::Malformed(error) => return error.into(),
            ProtocolError::UnexpectedFrame(_) => SPOP_E_UNEXPECTED_FRAME,
            ProtocolError::IdsNotZero => SPOP_E_IDS_NOT_ZERO,
            ProtocolError::NotFragmentable(_) => SPOP_E_NOT_FRAGMENTABLE,
            ProtocolError::FragmentationNotAnnounced => SPOP_E_FRAGMENT,
            ProtocolError::AbortWithoutFin => SPOP_E_ABORT_WITHOUT_FIN,
            ProtocolError::Interlaced => SPOP_E_INTERLACED,
            ProtocolError::UnsupportedVersion => SPOP_E_VERSION,
            ProtocolError::BadMaxFrameSize => SPOP_E_MAX_FRAME_SIZE,
            ProtocolError::UnknownAck => SPOP_E_UNKNOWN_ACK,
            ProtocolError::TimedOut(Timer::Hello) => SPOP_E_HELLO_TIMEOUT,
            ProtocolError::TimedOut(Timer::HalfFrame) => SPOP_E_HALF_FRAME_TIMEOUT,
            ProtocolError::TimedOut(Timer::Idle) => SPOP_E_IDLE_TIMEOUT,
            _ => SPOP_E_PROTOCOL,
        })
    }
}

impl From<EncodeError> for Code {
    fn from(error: EncodeError) -> Self {
        Code(match error {
            EncodeError::TooManyArgs => SPOP_E_TOO_MANY_ARGS,
            EncodeError::NoMessage => SPOP_E_NO_MESSAGE,
            _ => SPOP_E_NO_SPACE,
        })
    }
}

/// The text of a code, in English, ended by NUL; never NULL. Static: it is not to be freed. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_strerror(error: spop_error) -> *const c_char {
    text(error).as_ptr()
}

fn text(error: spop_error) -> &'static CStr {
    match error {
        SPOP_OK => c"no error",
        SPOP_AGAIN => c"more bytes are needed",
        SPOP_END => c"there is no more",
        SPOP_NOT_FOUND => c"no argument has this name",
        SPOP_E_NULL => c"a pointer is NULL",
        SPOP_E_ARGUMENT => c"an argument is out of range",
        SPOP_E_NO_SPACE => c"no room left in the buffer or in max-frame-size",
        SPOP_E_TOO_MANY_ARGS => c"a message cannot have more than 255 arguments",
        SPOP_E_NO_MESSAGE => c"an argument needs a message before it",
        SPOP_E_WRITER => c"the writer is not for that, or is finished",
        SPOP_E_SIZE => c"the size of the struct does not fit this library",
        SPOP_E_NOT_OPEN => c"this NOTIFY is not open any more",
        SPOP_E_NOT_RUNNING => c"the connection is not running",
        SPOP_E_IN_FLIGHT => c"too many NOTIFYs are in flight",
        SPOP_E_IDS_IN_USE => c"a NOTIFY with these ids is in flight",
        SPOP_E_FRAGMENTING => c"a fragmented NOTIFY is being sent",
        SPOP_E_NO_FRAGMENTATION => c"the agent does not take fragments",
        SPOP_E_TRUNCATED => c"the data ends inside a field",
        SPOP_E_VARINT_LENGTH => c"a varint has more than 10 bytes",
        SPOP_E_VARINT_RANGE => c"a varint is above 64 bits",
        SPOP_E_RESERVED_TYPE => c"a value has a reserved type",
        SPOP_E_INTEGER_RANGE => c"a 32-bit integer is out of range",
        SPOP_E_FRAME_TOO_SHORT => c"the frame is shorter than its header",
        SPOP_E_FRAME_TOO_BIG => c"the frame is longer than max-frame-size",
        SPOP_E_UNKNOWN_ACTION => c"unknown action type",
        SPOP_E_ARG_COUNT => c"an action has the wrong number of arguments",
        SPOP_E_SCOPE => c"unknown scope",
        SPOP_E_EMPTY_KEY => c"an empty key",
        SPOP_E_VALUE_TYPE => c"a value of the wrong type",
        SPOP_E_NO_VERSION => c"no version",
        SPOP_E_NO_MAX_FRAME_SIZE => c"no max-frame-size",
        SPOP_E_NO_CAPABILITIES => c"no capabilities",
        SPOP_E_MALFORMED => c"malformed data",
        SPOP_E_UNEXPECTED_FRAME => c"unexpected frame type",
        SPOP_E_IDS_NOT_ZERO => c"stream-id and frame-id must be 0 in HELLO and DISCONNECT",
        SPOP_E_NOT_FRAGMENTABLE => c"a HELLO, DISCONNECT or ACK without FIN",
        SPOP_E_FRAGMENT => c"a fragment, but fragmentation was not announced",
        SPOP_E_ABORT_WITHOUT_FIN => c"ABORT without FIN",
        SPOP_E_INTERLACED => c"fragments of different NOTIFYs are mixed",
        SPOP_E_VERSION => c"no common SPOP version",
        SPOP_E_MAX_FRAME_SIZE => c"max-frame-size is too big or too small",
        SPOP_E_UNKNOWN_ACK => c"an ACK that answers no open NOTIFY",
        SPOP_E_HELLO_TIMEOUT => c"no HELLO in time",
        SPOP_E_HALF_FRAME_TIMEOUT => c"a frame was begun and not finished in time",
        SPOP_E_IDLE_TIMEOUT => c"the connection was idle for too long",
        SPOP_E_PROTOCOL => c"the peer broke the protocol",
        _ => c"unknown error code",
    }
}
