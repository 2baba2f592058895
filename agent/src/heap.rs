//! What memory really costs. An allocator gives out blocks of certain sizes, and a vector holds more than its items: bounds
//! that counted what was asked for would not hold in what the system sees.

use std::mem::size_of;

/// The block that an allocation of so many bytes takes: the size classes of jemalloc, four for each doubling.
pub(crate) const fn block(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => {
            let step = 1 << ((bytes - 1).ilog2() - 2);
            // A power of two, so that no division is needed.
            match bytes.checked_add(step - 1) {
                Some(end) => end & !(step - 1),
                None => bytes,
            }
        }
    }
}

/// The block of a vector with room for so many items.
pub(crate) fn block_of<T>(capacity: usize) -> usize {
    block(capacity.saturating_mul(size_of::<T>()))
}

/// The block of something of this size behind an `Arc`.
pub(crate) const fn shared(bytes: usize) -> usize {
    block(bytes.saturating_add(2 * size_of::<usize>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_jemalloc() {
        let classes = [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (113, 128),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (1024, 1024),
            (1025, 1280),
            (4097, 5120),
            (16_385, 20_480),
            (1 << 20, 1 << 20),
        ];
        for (bytes, expected) in classes {
            assert_eq!(block(bytes), expected, "{bytes}");
        }
        assert_eq!((block(usize::MAX), shared(usize::MAX)), (usize::MAX, usize::MAX));
        assert_eq!((block_of::<u64>(3), block_of::<u64>(usize::MAX)), (32, usize::MAX));
    }
}
