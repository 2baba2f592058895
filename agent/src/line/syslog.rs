//! Messages of syslog (RFC 5424), as far as their structured data.
//!
//! Structured data is looked for at its place and nowhere else: the text behind it may be a client's.

use memchr::{memchr2, memmem};

use super::word::{self, Word};

/// The element that is ours.
const ELEMENT: &[u8] = b"otel@32473";

/// What a message has of us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// Our element, and the process that wrote it.
    Ours { process: &'a [u8], params: Params<'a> },
    /// It has no element of ours, and is nothing of ours.
    Foreign,
    /// It ends where its structured data should begin: HAProxy leaves out all of what does not fit.
    Cut,
    /// It is no message of syslog, or its structured data is malformed.
    Malformed,
}

/// Reads a message.
pub(super) fn read(message: &[u8]) -> Message<'_> {
    let Some(rest) = after_priority(message) else { return Message::Malformed };
    // The older syslog (RFC 3164) has no version here, and no structured data.
    let Some(rest) = rest.strip_prefix(b"1 ") else { return Message::Foreign };
    // Time, host, application, process, kind of message.
    let mut fields = rest.splitn(6, |&byte| byte == b' ');
    let process = fields.nth(3).unwrap_or_default();
    if fields.next().is_none() {
        return Message::Malformed;
    }
    match fields.next().unwrap_or_default() {
        [] => Message::Cut,
        [b'-'] | [b'-', b' ', ..] => Message::Foreign,
        data @ [b'[', ..] => find(process, data),
        _ => Message::Malformed,
    }
}

/// What follows `<134>`.
fn after_priority(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"<")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (priority, rest) = rest.split_at_checked(digits)?;
    (1..=3).contains(&priority.len()).then_some(())?;
    rest.strip_prefix(b">")
}

/// Looks for our element among those at the beginning of this.
fn find<'a>(process: &'a [u8], mut data: &'a [u8]) -> Message<'a> {
    while let Some(element) = data.strip_prefix(b"[") {
        let Some(id) = element.iter().position(|byte| matches!(byte, b' ' | b']')) else { return Message::Malformed };
        let (id, rest) = element.split_at(id);
        let params = Params { rest, malformed: false };
        if id == ELEMENT {
            return Message::Ours { process, params };
        }
        let Some(behind) = params.end() else { return Message::Malformed };
        data = behind;
    }
    Message::Foreign
}

/// The parameters of an element, in their order: names and values as they stand there. Who does not know a name has to ask
/// whether it is one, see [`is_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Params<'a> {
    /// What stands behind the element, once all parameters are read; `None` if it is malformed.
    pub(super) fn end(mut self) -> Option<&'a [u8]> {
        let are_names = self.by_ref().all(|(name, _)| is_name(name));
        if self.malformed || !are_names { None } else { self.rest.strip_prefix(b"]") }
    }

    /// Reading stopped at something malformed, and the element goes on behind it: it was not cut there.
    pub(super) fn has_more_than_it_can_read(&self, end: &[u8]) -> bool {
        self.malformed && memmem::find(self.rest, end).is_some()
    }

    #[inline(always)]
    fn param(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let [b' ', param @ ..] = self.rest else { return None };
        let (name, [b'=', b'"', value @ ..]) = param.split_at_checked(equals_sign(param)?)? else { return None };
        let end = quote_or_backslash(value)?;
        let end = if value.get(end) == Some(&b'"') { end } else { end_of_escaped(value, end)? };
        let (value, [_, rest @ ..]) = value.split_at_checked(end)? else { return None };
        self.rest = rest;
        Some((name, value))
    }
}

/// May this be the name of a parameter?
pub(super) fn is_name(name: &[u8]) -> bool {
    let may_be_in_it = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"');
    !name.is_empty() && name.iter().all(may_be_in_it)
}

/// Where the name ends.
#[inline(always)]
fn equals_sign(param: &[u8]) -> Option<usize> {
    match param.first_chunk().and_then(|word| word::position(*word, *b"=")) {
        None => param.iter().position(|byte| *byte == b'='),
        found => found,
    }
}

/// Where a value with a backslash at `at` ends. Few have one.
#[cold]
fn end_of_escaped(value: &[u8], mut at: usize) -> Option<usize> {
    while value.get(at) != Some(&b'"') {
        at += 2;
        at += quote_or_backslash(value.get(at..)?)?;
    }
    Some(at)
}

/// Where the first of them is.
#[inline(always)]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    match bytes.split_first_chunk() {
        Some((word, rest)) => {
            word::position(*word, *b"\"\\").or_else(|| Some(size_of::<Word>() + far_quote_or_backslash(rest)?))
        }
        None => far_quote_or_backslash(bytes),
    }
}

/// Out of line: few values are so long, and `memchr2` is a call anyway.
#[inline(never)]
fn far_quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    memchr2(b'"', b'\\', bytes)
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);

    // Inlined, the parts of a line that is read stay in registers.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.malformed || self.rest.first() == Some(&b']') {
            return None;
        }
        let param = self.param();
        self.malformed = param.is_none();
        param
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Texts = Vec<(String, String)>;

    /// The process, the parameters, and whether the element has an end.
    fn ours(message: &str) -> Option<(String, Texts, bool)> {
        let Message::Ours { process, params } = read(message.as_bytes()) else { return None };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = params.clone().map(|(name, value)| (text(name), text(value))).collect();
        Some((text(process), all, params.end().is_some()))
    }

    #[test]
    fn our_element_is_found_at_its_place() {
        let params = || vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
        for message in [
            r#"<134>1 2026-11-28T19:00:00.000000+00:00 - haproxy 7 - [otel@32473 a="1" b=""]"#,
            r#"<0>1 - - - 7 - [otel@32473 a="1" b=""] text"#,
            r#"<134>1 - - - 7 - [x y="\"] [otel@32473 a=\"2\"]"][otel@32473 a="1" b=""] text"#,
            r#"<134>1 - - - 7 - [x][y z=""][otel@32473 a="1" b=""][more]"#,
        ] {
            assert_eq!(ours(message), Some(("7".to_owned(), params(), true)), "{message}");
        }
        assert_eq!(ours("<134>1 - - - 7 - [otel@32473]"), Some(("7".to_owned(), vec![], true)));
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        for (message, expected) in [
            ("<134>1 - - - 7 - -", Message::Foreign),
            (r#"<134>1 - - - 7 - - [otel@32473 a="1"]"#, Message::Foreign),
            (r#"<134>1 - - - 7 - [x] [otel@32473 a="1"]"#, Message::Foreign),
            (r#"<134>1 - - - 7 - [otel@324730 a="1"]"#, Message::Foreign),
            (r#"<134>1 - - - 7 - [x a="[otel@32473 a="]"#, Message::Foreign),
            (r#"<134>Nov 28 19:00:00 haproxy[7]: [otel@32473 a="1"]"#, Message::Foreign),
            ("<134>1 2026-11-28T19:00:00Z - haproxy 7 - ", Message::Cut),
            ("<134>1 2026-11-28T19:00:00Z - haproxy 7 -", Message::Cut),
            ("<134>1 2026-11-28T19:00:00Z - haproxy 7", Message::Malformed),
            ("<134>1 - - - 7 - x", Message::Malformed),
            ("<134>1 - - - 7 - [x", Message::Malformed),
            (r#"<134>1 - - - 7 - [x a="1"#, Message::Malformed),
            (r#"<134>1 - - - 7 - [x a="1\"#, Message::Malformed),
            (r#"<134>1 - - - 7 - [x a=1][otel@32473 a="1"]"#, Message::Malformed),
            ("<1340>1 - - - 7 - -", Message::Malformed),
            ("<>1 - - - 7 - -", Message::Malformed),
            ("134>1 - - - 7 - -", Message::Malformed),
            ("", Message::Malformed),
        ] {
            assert_eq!(read(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn a_cut_element_has_no_end() {
        let whole = r#"<134>1 - - - 7 - [otel@32473 a="1" b="\]\\"]"#;
        assert!(ours(whole).unwrap().2);
        for at in whole.find("a=").unwrap()..whole.len() {
            assert!(!ours(&whole[..at]).unwrap().2, "{at}");
        }
        for malformed in [r#" a="1"b="2""#, r#"  a="1""#, r#" ="1""#, r#" a"x="1""#, " a", r#" a="1" "#] {
            let message = format!("<134>1 - - - 7 - [otel@32473{malformed}]");
            assert!(!ours(&message).unwrap().2, "{message}");
        }
    }

    #[test]
    fn the_first_quote_or_backslash_is_found_in_any_place() {
        const BYTES: [u8; 6] = [b'"', b'\\', b'!', b'#', b']', 0x80 | b'"'];
        for (len, byte) in (0..20).flat_map(|len| BYTES.map(|byte| (len, byte))) {
            for at in 0..len {
                // What is behind it must not be seen before it, and its neighbours' bits must not be taken for its own.
                for others in [b'x', b'#', b']', 0xff, 0] {
                    let mut bytes = vec![others; len];
                    bytes[at] = byte;
                    let expected = |bytes: &[u8]| bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                    assert_eq!(quote_or_backslash(&bytes), expected(&bytes), "{bytes:x?}");
                    bytes[at + 1..].fill(b'"');
                    assert_eq!(quote_or_backslash(&bytes), expected(&bytes), "{bytes:x?}");
                }
            }
        }
    }
}
