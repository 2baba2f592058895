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
}
