//! Log lines in a stream of bytes: both framings of RFC 6587, told apart by the first byte.

/// The framing of a connection, and how far it got.
#[derive(Debug)]
pub(super) struct Framing {
    kind: Option<Kind>,
    max_line: usize,
    skipping: Skipping,
    /// Bytes of the line under way in which there is no end of the line.
    searched: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `LEN SP MSG`, of HAProxy's `log-proto octet-count`.
    OctetCounted,
    /// `MSG LF`, its `log-proto legacy`.
    Lines,
}

/// The rest of a line that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipping {
    Nothing,
    Octets(usize),
    ToTheEndOfTheLine,
}

/// What was in the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'b> {
    /// A whole line.
    Line(&'b [u8]),
    /// A line beyond the limit begins; it is left out.
    TooLong,
}

/// The bytes are in neither framing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadFraming;

/// The most digits of a length: what is longer is no length.
const DIGITS: usize = 9;

impl Framing {
    /// The most bytes that are left unread while a line is not complete yet.
    pub(super) const fn longest_rest(max_line: usize) -> usize {
        max_line.saturating_add(DIGITS + 1)
    }

    pub(super) fn new(max_line: usize) -> Self {
        Self { kind: None, max_line, skipping: Skipping::Nothing, searched: 0 }
    }

    /// Takes the next piece from the beginning of `bytes`, which are all that were not taken yet. `None`: there is none
    /// before more bytes are there.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<Piece<'b>>, BadFraming> {
        self.skip(bytes);
        let Some(first) = bytes.first() else { return Ok(None) };
        let kind = match (self.kind, first) {
            (Some(kind), _) => kind,
            (None, b'1'..=b'9') => Kind::OctetCounted,
            (None, b'<') => Kind::Lines,
            (None, _) => return Err(BadFraming),
        };
        self.kind = Some(kind);
        match kind {
            Kind::OctetCounted => self.counted(bytes),
            Kind::Lines => Ok(self.line(bytes)),
        }
    }

    /// Would an end of the connection here, before these bytes, cut a line that was not given up?
    pub(super) fn is_within_a_line(&self, rest: &[u8]) -> bool {
        !rest.is_empty() && self.skipping == Skipping::Nothing
    }

    fn skip(&mut self, bytes: &mut &[u8]) {
        let skipped = match self.skipping {
            Skipping::Nothing => return,
            Skipping::Octets(left) => {
                let skipped = left.min(bytes.len());
                let left = left - skipped;
                self.skipping = if left > 0 { Skipping::Octets(left) } else { Skipping::Nothing };
                skipped
            }
            Skipping::ToTheEndOfTheLine => match memchr::memchr(b'\n', bytes) {
                Some(end) => {
                    self.skipping = Skipping::Nothing;
                    end + 1
                }
                None => bytes.len(),
            },
        };
        *bytes = bytes.get(skipped..).unwrap_or_default();
    }

    fn counted<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<Piece<'b>>, BadFraming> {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > DIGITS || bytes.first() == Some(&b'0') {
            return Err(BadFraming);
        }
        let (count, rest) = bytes.split_at(digits);
        let rest = match rest {
            [] => return Ok(None),
            [b' ', rest @ ..] => rest,
            _ => return Err(BadFraming),
        };
        // So few digits are always a number.
        let count = count.iter().fold(0, |count, digit| 10 * count + usize::from(digit - b'0'));
        if count > self.max_line {
            self.skipping = Skipping::Octets(count);
            *bytes = rest;
            return Ok(Some(Piece::TooLong));
        }
        let Some((line, rest)) = rest.split_at_checked(count) else { return Ok(None) };
        *bytes = rest;
        Ok(Some(Piece::Line(line)))
    }

    fn line<'b>(&mut self, bytes: &mut &'b [u8]) -> Option<Piece<'b>> {
        let (searched, unsearched) = bytes.split_at_checked(self.searched)?;
        let end = memchr::memchr(b'\n', unsearched).map(|end| searched.len() + end);
        if end.unwrap_or(bytes.len()) > self.max_line {
            self.searched = 0;
            self.skipping = Skipping::ToTheEndOfTheLine;
            return Some(Piece::TooLong);
        }
        let Some(end) = end else {
            self.searched = bytes.len();
            return None;
        };
        self.searched = 0;
        let (line, rest) = bytes.split_at_checked(end + 1)?;
        *bytes = rest;
        Some(Piece::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Lines, `None` for each that was too long; and the bytes that are left.
    type Found = (Vec<Option<Vec<u8>>>, Vec<u8>);

    /// What comes of a stream that arrives in these parts.
    fn read(parts: &[&[u8]], max_line: usize) -> Result<Found, BadFraming> {
        let (mut framing, mut unread, mut found) = (Framing::new(max_line), Vec::new(), Vec::new());
        for part in parts {
            unread.extend_from_slice(part);
            let mut rest = &unread[..];
            while let Some(piece) = framing.next(&mut rest)? {
                found.push(match piece {
                    Piece::Line(line) => Some(line.to_vec()),
                    Piece::TooLong => None,
                });
            }
            unread = rest.to_vec();
            assert!(unread.len() <= Framing::longest_rest(max_line), "{} bytes are kept", unread.len());
        }
        Ok((found, unread))
    }

    fn line(text: &str) -> Option<Vec<u8>> {
        Some(text.into())
    }

    #[test]
    fn both_framings_split_anywhere() {
        let counted =
            b"5 <1>ab11 <13>1 a\nb\n\xff6 <2>cd\n50 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx4 <3>e9 <4>";
        let of_counted = [line("<1>ab"), Some(b"<13>1 a\nb\n\xff".to_vec()), line("<2>cd\n"), None, line("<3>e")];
        let lines = b"<1>ab\n<13>1 \xff\0\n\n<2>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nno\n<4>";
        let of_lines = [line("<1>ab\n"), Some(b"<13>1 \xff\0\n".to_vec()), line("\n"), None, line("no\n")];
        for (stream, found, rest) in [(&counted[..], of_counted, &b"9 <4>"[..]), (lines, of_lines, b"<4>")] {
            let expected = Ok((found.to_vec(), rest.to_vec()));
            assert_eq!(read(&[stream], 20), expected);
            for at in 0..=stream.len() {
                let (one, other) = stream.split_at(at);
                assert_eq!(read(&[one, other], 20), expected, "split at {at}");
            }
            assert_eq!(read(&stream.chunks(1).collect::<Vec<_>>(), 20), expected);
        }
    }

    #[test]
    fn lines_just_short_enough_are_whole() {
        assert_eq!(read(&[b"4 <1>a5 <1>ab"], 4), Ok((vec![line("<1>a"), None], vec![])));
        assert_eq!(read(&[b"<1>a\n<1>ab\n"], 4), Ok((vec![line("<1>a\n"), None], vec![])));
        assert_eq!(read(&[b"<1>a", b"\n"], 4), Ok((vec![line("<1>a\n")], vec![])));
    }

    #[test]
    fn what_is_neither_framing() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b" 5 <1>ab",
            b"\n",
            b"0 ",
            b"05 <1>ab",
            b"5<1>ab",
            b"1234567890 ",
            b"18446744073709551617 x",
            b"5 <1>ab\n5 <1>ab",
            b"5 <1>ab<1>ab\n",
            b"5 <1>ab-5 ",
            b"\x16\x03\x01\x02",
        ] {
            assert_eq!(read(&[bytes], 20), Err(BadFraming), "{bytes:?}");
            assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>(), 20), Err(BadFraming), "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever comes, in whatever parts: it is the same as in one, and no more is kept than may be.
        #[test]
        fn parts_make_no_difference(
            bytes in vec(select(b"<1> 29\nx".to_vec()), 0..200),
            cuts in vec(0usize..200, 0..20),
            max_line in 0usize..30,
        ) {
            let mut ends: Vec<_> = cuts.into_iter().map(|at| at.min(bytes.len())).chain([0, bytes.len()]).collect();
            ends.sort_unstable();
            let parts: Vec<_> = ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
            prop_assert_eq!(read(&parts, max_line), read(&[&bytes], max_line));
        }
    }

    #[test]
    fn only_a_line_under_way_can_be_cut() {
        for (bytes, cut) in [
            (&b"5 <1>ab"[..], false),
            (b"5 <1>a", true),
            (b"5", true),
            (b"<1>ab\n", false),
            (b"<1>ab", true),
            (b"999 <1>a", false),
            (b"<1>abcdefghijklmnopqrstuvwxyz", false),
        ] {
            let (mut framing, mut rest) = (Framing::new(20), bytes);
            while framing.next(&mut rest).unwrap().is_some() {}
            assert_eq!(framing.is_within_a_line(rest), cut, "{bytes:?}");
        }
    }
}
