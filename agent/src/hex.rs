//! Ids as hexadecimal numbers.

use opentelemetry::trace::{SpanId, TraceId};
use smallvec::{Array, SmallVec};

/// A header made of ids: as long as a `traceparent`, without an allocation.
pub(crate) type Header = SmallVec<[u8; 56]>;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Two digits for each byte, in lower case. `Display` takes ten times as long, and every answer has ids.
pub(crate) fn of<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    bytes.map(|byte| PAIRS[usize::from(byte)])
}

/// Appends them, all at once: one by one they would take five times as long.
pub(crate) fn push<const N: usize>(out: &mut SmallVec<impl Array<Item = u8>>, bytes: [u8; N]) {
    out.extend_from_slice(of(bytes).as_flattened());
}

/// No value of a digit has one of these bits.
const NO_DIGIT: u8 = 0xf0;

/// The value of each byte that is a digit in upper or lower case, [`NO_DIGIT`] of all others.
const VALUES: [u8; 256] = {
    let mut values = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        values[byte] = value((byte as u8).to_ascii_lowercase());
        byte += 1;
    }
    values
};

/// The value of a digit in lower case, [`NO_DIGIT`] of any other byte. Without a table or a branch, so that the compiler
/// does many at once.
const fn value(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    if number < 10 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        NO_DIGIT
    }
}

/// The bytes of as many digits in lower case.
pub(crate) fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    decode_by(digits, value)
}

/// The same in upper or lower case.
pub(crate) fn decode_any_case<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    decode_by(digits, |digit| value(digit.to_ascii_lowercase()))
}

/// The byte of two digits in upper or lower case.
pub(crate) fn byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| VALUES[usize::from(digit)]);
    ((high | low) & NO_DIGIT == 0).then_some(high << 4 | low)
}

#[inline(always)]
fn decode_by<const N: usize>(digits: &[u8], value: impl Fn(u8) -> u8) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut bytes = [0; N];
    let mut seen = 0;
    // `array::map` becomes a call for each byte where the array is not a short one.
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (value(high), value(low));
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen & NO_DIGIT == 0).then_some(bytes)
}

/// A number of 1 to 32 digits, upper or lower case.
pub(crate) fn any_hex(digits: &[u8]) -> Option<u128> {
    // `from_str_radix` takes a sign.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A number of 1 to 32 digits, lower case.
pub(crate) fn lower_hex(digits: &[u8]) -> Option<u128> {
    any_hex(digits).filter(|_| !digits.iter().any(u8::is_ascii_uppercase))
}

/// A valid trace id: not 0.
pub(crate) fn trace_id(number: u128) -> Option<TraceId> {
    (number != 0).then(|| TraceId::from(number))
}

/// A valid span id: not 0, of 64 bits.
pub(crate) fn span_id(number: u128) -> Option<SpanId> {
    u64::try_from(number).ok().filter(|number| *number != 0).map(SpanId::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_they_are_displayed() {
        for id in [TraceId::from(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210), TraceId::from(1)] {
            assert_eq!(of(id.to_bytes()).as_flattened(), id.to_string().as_bytes());
        }
    }

    #[test]
    fn digits_are_decoded_if_all_of_them_are_there_and_in_lower_case() {
        assert_eq!(decode(b"00ff09af"), Some([0, 0xff, 9, 0xaf]));
        for digits in [&b"00ff09a"[..], b"00ff09", b"00ff09af00", b"00FF09af", b"00ff09ag", b"+0ff09af", b"00ff/9a:"] {
            assert_eq!(decode::<4>(digits), None);
        }
        assert_eq!(decode_any_case(b"C0a8FF09"), Some([0xc0, 0xa8, 0xff, 9]));
        for digits in [&b"c0a8ff0"[..], b"c0a8ff0g", b"c0a8ff0G", b"c0a8\x10\x19ff", b"@0a8ff09", b"c0a8:f09"] {
            assert_eq!(decode_any_case::<4>(digits), None);
        }
    }

    #[test]
    fn each_byte_has_the_value_that_the_standard_library_gives_it() {
        for byte in 0..=u8::MAX {
            let value = char::from(byte).to_digit(16).map(|value| value as u8);
            assert_eq!(decode_any_case(&[b'0', byte]), value.map(|value| [value]));
            assert_eq!(super::byte([b'0', byte]), value);
            assert_eq!(decode(&[b'0', byte]), value.filter(|_| !byte.is_ascii_uppercase()).map(|value| [value]));
        }
    }
}
