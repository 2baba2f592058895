//! Texts no longer than is good.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands for the rest.
const REST: char = '…';

/// Where a text of more than `max` characters is to be cut.
pub(crate) fn end(text: &str, max: usize) -> Option<usize> {
    text.char_indices().nth(max).map(|(end, _)| end)
}

/// The text, or its first `max` characters and a mark.
pub(crate) fn to_chars(text: &str, max: usize) -> String {
    match end(text, max).and_then(|end| text.get(..end)) {
        Some(beginning) => format!("{beginning}{REST}"),
        None => text.to_owned(),
    }
}

/// The text, or as much of it as fits into so many columns of a terminal, mark included.
pub(crate) fn to_columns(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        out.push(c);
    }
    if columns > 0 {
        out.push(REST);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!((end("é✓a", 2), end("é✓a", 3)), (Some(5), None));
        for (max, expected) in [(0, "…"), (2, "é✓…"), (3, "é✓a"), (9, "é✓a")] {
            assert_eq!(to_chars("é✓a", max), expected);
        }
        // A wide character that only half fits is left out.
        for (columns, expected) in [(0, ""), (1, "…"), (2, "a…"), (3, "a…"), (4, "a漢b"), (5, "a漢b")] {
            assert_eq!(to_columns("a漢b", columns), expected, "{columns}");
        }
    }
}
