//! Ids as hexadecimal numbers.

use opentelemetry::trace::{SpanId, TraceId};

/// A number of 1 to 32 digits, upper or lower case.
pub(super) fn any_hex(digits: &[u8]) -> Option<u128> {
    // `from_str_radix` takes a sign.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A number of 1 to 32 digits, lower case.
pub(super) fn lower_hex(digits: &[u8]) -> Option<u128> {
    any_hex(digits).filter(|_| !digits.iter().any(u8::is_ascii_uppercase))
}

/// A valid trace id: not 0.
pub(super) fn trace_id(number: u128) -> Option<TraceId> {
    (number != 0).then(|| TraceId::from(number))
}

/// A valid span id: not 0, of 64 bits.
pub(super) fn span_id(number: u128) -> Option<SpanId> {
    u64::try_from(number).ok().filter(|number| *number != 0).map(SpanId::from)
}
