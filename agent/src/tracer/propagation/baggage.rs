//! W3C Baggage.
//!
//! The SDK's baggage loses the order of the entries and the encoding in which they came; a proxy has to pass on what it
//! does not understand.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::w3c::trim;
use crate::heap::{block, block_of};
use crate::named::{HasName, Named};

/// Entries of a baggage header.
const MAX_MEMBERS: usize = 180;
/// Bytes of a baggage header.
const MAX_LEN: usize = 8192;

/// What is percent-encoded in a value: all but `baggage-octet`, and the percent sign itself.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// What is percent-encoded in a key: all but `tchar` of RFC 7230, and the percent sign itself.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The entries of a trace, those of the caller and those of `baggage=`. Most traces have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baggage(Option<Box<Members>>);

#[derive(Clone, Debug, Default)]
struct Members {
    list: Named<Member>,
    /// Length of the header.
    len: usize,
}

#[derive(Clone, Debug)]
struct Member {
    key_len: usize,
    /// `key=value;properties`, encoded.
    text: Box<str>,
    /// By `baggage=`, not by the caller.
    local: bool,
}

impl HasName for Member {
    fn name(&self) -> &str {
        self.text.get(..self.key_len).unwrap_or_default()
    }
}

impl Baggage {
    /// Sets an entry, instead of one of the same name; false if that would go beyond the bounds.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let key = utf8_percent_encode(name, KEY).to_string();
        let text = format!("{key}={}", utf8_percent_encode(value, VALUE));
        self.put(Member { key_len: key.len(), text: text.into(), local: true })
    }

    /// Adds the entries of a header, in so far as `baggage=` did not set them; the number of those that are malformed
    /// or beyond the bounds.
    pub(crate) fn extend(&mut self, header: &[u8]) -> usize {
        let mut dropped = 0;
        for member in header.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty()) {
            let kept =
                parse(member).is_some_and(|member| self.find(&member).is_some_and(|own| own.local) || self.put(member));
            dropped += usize::from(!kept);
        }
        dropped
    }

    /// The entry of the same name.
    fn find(&self, member: &Member) -> Option<&Member> {
        let list = &self.0.as_ref()?.list;
        list.get(list.find(member.name())?)
    }

    fn put(&mut self, member: Member) -> bool {
        let Members { list, len } = &mut **self.0.get_or_insert_default();
        let place = list.find(member.name());
        let old_len = place.and_then(|place| list.get(place)).map_or(0, |old| old.text.len() + 1);
        // Every entry counts with its comma, so that the header is one byte shorter.
        let new_len = *len - old_len + member.text.len() + 1;
        if new_len > MAX_LEN + 1 || (place.is_none() && list.len() == MAX_MEMBERS) {
            return false;
        }
        *len = new_len;
        match place.and_then(|place| list.get_mut(place)) {
            Some(old) => *old = member,
            None => list.push(member),
        }
        true
    }

    /// The header; `None` without entries.
    pub(crate) fn header(&self) -> Option<String> {
        let Members { list, len } = self.0.as_deref()?;
        let (first, rest) = list.split_first()?;
        let mut header = String::with_capacity(*len);
        header.push_str(&first.text);
        for member in rest {
            header.push(',');
            header.push_str(&member.text);
        }
        Some(header)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|members| members.list.is_empty())
    }

    /// Memory that it holds.
    pub(crate) fn held(&self) -> usize {
        let Some(Members { list, .. }) = self.0.as_deref() else { return 0 };
        block_of::<Members>(1) + list.held() + list.iter().map(|member| block(member.text.len())).sum::<usize>()
    }
}

/// An entry of a header, without the white space around its parts.
fn parse(member: &[u8]) -> Option<Member> {
    let (pair, properties) = match member.iter().position(|&b| b == b';') {
        Some(at) => member.split_at_checked(at)?,
        None => (member, &[][..]),
    };
    let equals = pair.iter().position(|&b| b == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    let (key, value) = (trim(key), trim(value.get(1..)?));
    let valid = !key.is_empty()
        && key.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && value.iter().all(|&b| b.is_ascii_graphic() && !b"\",;\\".contains(&b))
        && properties.iter().all(|&b| b.is_ascii_graphic() || matches!(b, b' ' | b'\t'));
    if !valid {
        return None;
    }
    let mut text = String::from_utf8(key.to_vec()).ok()?;
    text.push('=');
    text.push_str(std::str::from_utf8(value).ok()?);
    text.push_str(std::str::from_utf8(properties).ok()?);
    Some(Member { key_len: key.len(), text: text.into(), local: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> (Option<String>, usize) {
        let mut baggage = Baggage::default();
        let dropped = baggage.extend(header.as_bytes());
        (baggage.header(), dropped)
    }

    #[test]
    fn a_header_is_passed_on_as_it_came() {
        for header in ["a=1", "a=1,b=%20%C3%A9", "a=1;p;q=2,b=", "a=b=c"] {
            assert_eq!(parsed(header), (Some(header.to_owned()), 0));
        }
        assert_eq!(parsed(" a = 1 ,\tb=2; p = 1 "), (Some("a=1,b=2; p = 1".to_owned()), 0));
        assert_eq!(parsed(" , "), (None, 0));
    }

    #[test]
    fn malformed_entries_are_left_out_and_counted() {
        assert_eq!(parsed("a=1,b,=2,c d=3,e=\"f\",g=2"), (Some("a=1,g=2".to_owned()), 4));
        assert_eq!(Baggage::default().extend(b"a=\xff"), 1);
    }

    #[test]
    fn own_entries_are_encoded_and_win() {
        let mut baggage = Baggage::default();
        assert!(baggage.set("user", "a,b;c 100%\u{e9}"));
        assert!(baggage.set("n \u{e9}=", ""));
        assert_eq!(baggage.extend(b"user=x,other=1"), 0);
        let header = "user=a%2Cb%3Bc%20100%25%C3%A9,n%20%C3%A9%3D=,other=1";
        assert_eq!(baggage.header().as_deref(), Some(header));
        assert!(baggage.set("other", "2"));
        assert_eq!(baggage.header(), Some(header.replace("other=1", "other=2")));
        assert_eq!(baggage.extend(b"other=3,new=4"), 0);
        assert!(baggage.header().unwrap().ends_with("other=2,new=4"));
    }

    #[test]
    fn at_most_8192_bytes() {
        let mut baggage = Baggage::default();
        assert!(baggage.set("a", &"x".repeat(8189)), "8191 bytes");
        assert!(!baggage.set("b", ""));
        assert!(baggage.set("a", &"x".repeat(8190)), "8192 bytes");
        assert!(!baggage.set("a", &"x".repeat(8191)));
        assert_eq!(baggage.header().unwrap().len(), 8192);
    }

    #[test]
    fn at_most_180_entries() {
        let header = (0..200).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        let (kept, dropped) = parsed(&header);
        assert_eq!((kept.unwrap().split(',').count(), dropped), (180, 20));
    }
}
