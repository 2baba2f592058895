//! Bytes looked for eight at a time: where most texts are a few bytes long, a call of `memchr` takes longer than they are
//! worth.

/// So many bytes are looked at together.
pub(super) type Word = [u8; 8];

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHEST_BITS: u64 = ONES << 7;

/// Where the first of these bytes is.
#[inline(always)]
pub(super) fn position<const N: usize>(word: Word, bytes: [u8; N]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let found = bytes.into_iter().fold(0, |found, byte| found | matches(word, byte));
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// The highest bit of the lowest byte of a word that is this one; bits above it mean nothing.
#[inline(always)]
fn matches(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & HIGHEST_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_in_any_place() {
        const NEEDLES: [u8; 2] = *b"\"\\";
        // What is near to a byte that is looked for must not be taken for it, nor its neighbours' bits.
        const OTHERS: [u8; 7] = [b'!', b'#', b'[', b']', 0x80 | b'"', 0xff, 0];
        for needle in NEEDLES {
            for (other, behind) in OTHERS.into_iter().flat_map(|other| OTHERS.map(|behind| (other, behind))) {
                for at in 0..8 {
                    let mut word = [other; 8];
                    word[at..].fill(behind);
                    word[at] = needle;
                    assert_eq!(position(word, NEEDLES), Some(at), "{word:x?}");
                    word[at] = other;
                    assert_eq!(position(word, NEEDLES), None, "{word:x?}");
                    word[at..].fill(needle);
                    assert_eq!(position(word, NEEDLES), Some(at), "{word:x?}");
                }
            }
        }
    }
}
