//! Texts of unknown origin as a page shows them: escaped for HTML, apart from
//! the text around them in direction, invisible characters made visible, and
//! not longer than is good for the page.

use crate::export::text;
use askama::Template;
use askama::filters::HtmlSafe;
use std::time::{Duration, UNIX_EPOCH};

/// Characters of a value that is shown at once.
const SHORT: usize = 300;
/// Characters of a value that can be unfolded; the rest is in the JSON.
const LONG: usize = 20_000;

/// A text on one page, which shows it escaped.
#[derive(Template, Clone)]
#[template(path = "traces/shown.html")]
pub(super) struct Shown {
    parts: Vec<Part>,
}

/// Its own template escapes it.
impl HtmlSafe for Shown {}

#[derive(Clone)]
struct Part {
    text: String,
    /// Stands for something else, and looks different.
    is_mark: bool,
}

impl Shown {
    /// The text, or its first `max` characters and a mark.
    pub(super) fn new(text: &str, max: usize) -> Self {
        let mut parts = Vec::<Part>::new();
        let mut add = |text: &str, is_mark| match parts.last_mut().filter(|last| last.is_mark == is_mark) {
            Some(last) => last.text.push_str(text),
            None => parts.push(Part { text: text.to_owned(), is_mark }),
        };
        for (count, c) in text.chars().enumerate() {
            if count == max {
                add("…", true);
                break;
            }
            match text::escape(c) {
                Some(escaped) => add(&escaped, true),
                None => add(c.encode_utf8(&mut [0; 4]), false),
            }
        }
        Self { parts }
    }

    /// As it is shown, as text alone.
    pub(super) fn plain(&self) -> String {
        self.parts.iter().map(|part| &*part.text).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A name in a line of its own.
    pub(super) fn name(text: &str) -> Self {
        Self::new(text, 120)
    }
}

/// A time of day, in nanoseconds since the epoch; 0 is OTLP's "unknown".
#[derive(Template)]
#[template(path = "traces/time.html")]
pub(super) struct Time(pub(super) u64);

impl HtmlSafe for Time {}

impl Time {
    /// Date and time in UTC, to the millisecond.
    fn rfc3339(&self) -> String {
        let time = UNIX_EPOCH.checked_add(Duration::from_nanos(self.0)).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339_millis(time).to_string()
    }
}

/// The value of an attribute: short as it is, long to be unfolded.
#[derive(Template)]
#[template(path = "traces/value.html")]
pub(super) struct Value {
    short: Shown,
    /// Of a long value.
    full: Option<Shown>,
    chars: usize,
    is_cut: bool,
}

impl HtmlSafe for Value {}

impl Value {
    pub(super) fn new(text: &str) -> Self {
        let chars = text.chars().count();
        Self {
            short: Shown::new(text, SHORT),
            full: (chars > SHORT).then(|| Shown::new(text, LONG)),
            chars,
            is_cut: chars > LONG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        Shown::new(text, 10).render().unwrap()
    }

    #[test]
    fn markup_is_escaped_and_what_is_invisible_is_marked() {
        assert_eq!(html("GET /é"), "<bdi>GET /é</bdi>");
        assert_eq!(html("<b a='\"&"), "<bdi>&#60;b a=&#39;&#34;&#38;</bdi>");
        assert_eq!(html("a\u{202e}b\n"), r#"<bdi>a<b class="mark">\u{202e}</b>b<b class="mark">\n</b></bdi>"#);
        assert_eq!(html("0123456789x"), r#"<bdi>0123456789<b class="mark">…</b></bdi>"#);
    }

    #[test]
    fn a_long_value_is_folded_and_a_very_long_one_is_cut() {
        let short = Value::new(&"x".repeat(SHORT)).render().unwrap();
        assert!(!short.contains("<details"), "{short}");
        let long = Value::new(&"x".repeat(LONG)).render().unwrap();
        assert!(long.contains("<details") && long.contains(&"x".repeat(LONG)) && !long.contains("JSON"), "{long}");
        let cut = Value::new(&"x".repeat(LONG + 1)).render().unwrap();
        assert!(cut.contains("20001 characters") && cut.contains("JSON"), "{cut}");
        assert!(!cut.contains(&"x".repeat(LONG + 1)));
    }
}
