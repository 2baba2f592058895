//! What arrived is malformed ([`DecodeError`]), or what is to be sent does not fit ([`EncodeError`]).

use core::fmt;

/// The `status-code` of a DISCONNECT frame (SPOE.txt 3.2.9, section 3.5).
///
/// Codes without a constant are free for agents; HAProxy reports them as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Status(pub u32);

impl Status {
    /// 0: a normal end.
    pub const NORMAL: Self = Self(0);
    /// 1: the transport failed.
    pub const IO_ERROR: Self = Self(1);
    /// 2: a timeout occurred.
    pub const TIMEOUT: Self = Self(2);
    /// 3: a frame is longer than the max-frame-size.
    pub const FRAME_TOO_BIG: Self = Self(3);
    /// 4: a frame is malformed or came out of order.
    pub const INVALID_FRAME: Self = Self(4);
    /// 5: `version` or `supported-versions` is missing.
    pub const NO_VERSION: Self = Self(5);
    /// 6: `max-frame-size` is missing.
    pub const NO_MAX_FRAME_SIZE: Self = Self(6);
    /// 7: `capabilities` is missing.
    pub const NO_CAPABILITIES: Self = Self(7);
    /// 8: no common version.
    pub const UNSUPPORTED_VERSION: Self = Self(8);
    /// 9: `max-frame-size` is too big or too small.
    pub const BAD_MAX_FRAME_SIZE: Self = Self(9);
    /// 10: a fragment came where fragmentation was not announced.
    pub const NO_FRAGMENTATION: Self = Self(10);
    /// 11: fragments of different NOTIFYs are mixed.
    pub const INTERLACED_FRAMES: Self = Self(11);
    /// 12: an ACK names no open NOTIFY.
    pub const FRAME_ID_NOT_FOUND: Self = Self(12);
    /// 13: out of some resource.
    pub const RESOURCES: Self = Self(13);
    /// 99: any other error.
    pub const UNKNOWN: Self = Self(99);

    /// The text that HAProxy puts beside this code; `"unknown error"` for a code it does not know.
    pub const fn reason(self) -> &'static str {
        match self.0 {
            0 => "normal",
            1 => "I/O error",
            2 => "a timeout occurred",
            3 => "frame is too big",
            4 => "invalid frame received",
            5 => "version value not found",
            6 => "max-frame-size value not found",
            7 => "capabilities value not found",
            8 => "unsupported version",
            9 => "max-frame-size too big or too small",
            10 => "fragmentation not supported",
            11 => "invalid interlaced frames",
            12 => "frame-id not found",
            13 => "resource allocation error",
            _ => "unknown error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.reason())
    }
}

/// Why bytes are not what the protocol allows. Each reason has one [`Status`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DecodeReason {
    /// The bytes end inside a field, or a length goes past their end.
    Truncated,
    /// A varint has more than 10 bytes.
    VarintTooLong,
    /// A varint is above 2^64-1.
    VarintOverflow,
    /// A typed value has one of the reserved types 10 to 15, whose length is unknown.
    ReservedType(u8),
    /// The value of an INT32 or UINT32 does not fit 32 bits.
    IntegerOutOfRange,
    /// The length prefix is shorter than the smallest header, 7 bytes.
    FrameTooShort,
    /// The length prefix is above the max-frame-size.
    FrameTooBig,
    /// An action has neither type 1 (set-var) nor 2 (unset-var).
    UnknownAction(u8),
    /// An action announces another number of arguments than its type has.
    BadArgCount(u8),
    /// A scope is above 4.
    BadScope(u8),
    /// A key of a HELLO or DISCONNECT is empty.
    EmptyKey,
    /// A known key of a HELLO or DISCONNECT has a value of another type.
    WrongValueType,
    /// A HELLO lacks `version` or `supported-versions`.
    MissingVersion,
    /// A HELLO lacks `max-frame-size`.
    MissingMaxFrameSize,
    /// A HELLO lacks `capabilities`.
    MissingCapabilities,
}

/// Malformed bytes: where, and why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct DecodeError {
    /// Why.
    pub reason: DecodeReason,
    /// Offset of the offending field in the bytes that were given to the decoder: for a frame, in its body
    /// (the 4-byte length prefix not counted).
    pub offset: usize,
}

impl DecodeError {
    // Out of line: what is left in line of a failing read is a jump.
    #[cold]
    #[inline(never)]
    pub(crate) const fn new(reason: DecodeReason, offset: usize) -> Self {
        Self { reason, offset }
    }

    /// True if more bytes could have made this valid; inside a whole frame that is malformed all the same.
    pub const fn is_truncated(&self) -> bool {
        matches!(self.reason, DecodeReason::Truncated)
    }

    /// The status of the DISCONNECT that answers such a frame.
    pub const fn status(&self) -> Status {
        match self.reason {
            DecodeReason::FrameTooBig => Status::FRAME_TOO_BIG,
            DecodeReason::MissingVersion => Status::NO_VERSION,
            DecodeReason::MissingMaxFrameSize => Status::NO_MAX_FRAME_SIZE,
            DecodeReason::MissingCapabilities => Status::NO_CAPABILITIES,
            _ => Status::INVALID_FRAME,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.reason {
            DecodeReason::Truncated => "the data ends inside a field",
            DecodeReason::VarintTooLong => "a varint has more than 10 bytes",
            DecodeReason::VarintOverflow => "a varint is above 64 bits",
            DecodeReason::ReservedType(t) => return write!(f, "reserved data type {t} at byte {}", self.offset),
            DecodeReason::IntegerOutOfRange => "a 32-bit integer is out of range",
            DecodeReason::FrameTooShort => "the frame is shorter than its header",
            DecodeReason::FrameTooBig => "the frame is longer than max-frame-size",
            DecodeReason::UnknownAction(t) => return write!(f, "unknown action type {t} at byte {}", self.offset),
            DecodeReason::BadArgCount(n) => {
                return write!(f, "an action with {n} arguments at byte {}", self.offset);
            }
            DecodeReason::BadScope(s) => return write!(f, "unknown scope {s} at byte {}", self.offset),
            DecodeReason::EmptyKey => "an empty key",
            DecodeReason::WrongValueType => "a value of the wrong type",
            DecodeReason::MissingVersion => "no version",
            DecodeReason::MissingMaxFrameSize => "no max-frame-size",
            DecodeReason::MissingCapabilities => "no capabilities",
        };
        write!(f, "{text} at byte {}", self.offset)
    }
}

impl core::error::Error for DecodeError {}

/// What an encoder could not write. The encoder stays usable and holds what it held before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer, or the max-frame-size, has no room for it.
    NoSpace,
    /// A message has 255 arguments already.
    TooManyArgs,
    /// An argument came before any message.
    NoMessage,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "no room left in the buffer or in max-frame-size",
            Self::TooManyArgs => "a message cannot have more than 255 arguments",
            Self::NoMessage => "an argument needs a message before it",
        })
    }
}

impl core::error::Error for EncodeError {}

/// A text that is none of the names that a type has, from `FromStr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ParseError {
    /// What would have been one.
    pub expected: &'static str,
}

impl ParseError {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self { expected }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected ")?;
        f.write_str(self.expected)
    }
}

impl core::error::Error for ParseError {}
