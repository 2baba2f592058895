//! Sizes as options take them: `65536`, `512KiB`, `64MiB`, `1GB`.

use bytesize::ByteSize;

/// Reads a size.
///
/// # Errors
/// A text for the user: what is expected.
pub fn parse(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().and_then(|size: ByteSize| usize::try_from(size.as_u64()).ok());
    size.ok_or_else(|| "not a size; write for instance 65536 (bytes), 512KiB, 64MiB or 1GB".to_owned())
}

/// Writes a size as an option's default, as [`parse`] reads it: in the largest unit that it is a whole number of.
pub fn text(size: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |&&(bits, _): &&(u32, &str)| size > 0 && size.trailing_zeros() >= bits;
    match units.iter().find(fits) {
        Some((bits, unit)) => format!("{}{unit}", size >> bits),
        None => size.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_a_unit() {
        for (text, size) in [("65536", 65536), ("512KiB", 512 << 10), ("64 MiB", 64 << 20), ("1GB", 1_000_000_000)] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in ["lots", "", "-1", "64 parsecs", "MiB"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("64MiB"), "{text}: {error}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_is_read() {
        for (size, written) in
            [(0, "0"), (1000, "1000"), (65536, "64KiB"), (64 << 20, "64MiB"), (2 << 30, "2GiB"), (3 << 19, "1536KiB")]
        {
            assert_eq!(text(size), written);
            assert_eq!(parse(written), Ok(size));
        }
    }
}
