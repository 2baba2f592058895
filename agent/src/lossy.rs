//! Bytes of others as text.

use std::borrow::Cow;

/// As `String::from_utf8_lossy`, which is slow where nothing is lost.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// As `is_ascii`, which takes three times as long for the few bytes that most names and values are.
#[inline(always)]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    let all = match bytes.last_chunk() {
        // The last word overlaps the one before it.
        Some(last) => {
            let (words, _) = bytes.as_chunks();
            words.iter().fold(u64::from_le_bytes(*last), |all, word| all | u64::from_le_bytes(*word))
        }
        None => bytes.iter().fold(0, |all, byte| all | byte).into(),
    };
    all & u64::from_le_bytes([0x80; 8]) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_ascii_are_found_in_any_place() {
        for len in 0..40 {
            let mut bytes = vec![0x7f; len];
            assert!(is_ascii(&bytes));
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
