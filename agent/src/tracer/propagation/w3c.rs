//! `traceparent` and `tracestate` of W3C Trace Context.
//!
//! The SDK's propagator takes ids of any length and versions and flags of any number of digits, and its trace state
//! does not keep what came as it came; hence these parsers.

use std::borrow::Cow;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

use crate::hex;
use crate::request_context::RANDOM;

/// Members of a tracestate; one with more is invalid.
const MAX_MEMBERS: usize = 32;
/// Bytes of a tracestate that are passed on.
const MAX_LEN: usize = 512;
/// Members longer than this are left out first if the whole is too long.
const LONG_MEMBER: usize = 128;
const MAX_KEY_LEN: usize = 256;
const MAX_VALUE_LEN: usize = 256;

const V00_LEN: usize = 55;

/// Trims optional white space: spaces and tabs.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// Trace id, parent id and the flags we know: sampled, random. A version after 00 may have more fields behind the ones
/// of 00.
pub(super) fn parse_traceparent(header: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let header = trim(header);
    let (v00, rest) = header.split_at_checked(V00_LEN)?;
    // version-trace id-parent id-flags
    let field = |at: std::ops::Range<usize>| v00.get(at).unwrap_or_default();
    if ![2..3, 35..36, 52..53].into_iter().all(|at| field(at) == b"-") {
        return None;
    }
    let [version] = hex::decode(field(0..2))?;
    match (version, rest) {
        (0xff, _) => return None,
        (_, []) => {}
        (0, _) => return None,
        (_, [b'-', ..]) => {}
        _ => return None,
    }
    let trace_id = hex::decode(field(3..35)).map(TraceId::from_bytes).filter(|id| *id != TraceId::INVALID)?;
    let span_id = hex::decode(field(36..52)).map(SpanId::from_bytes).filter(|id| *id != SpanId::INVALID)?;
    let [flags] = hex::decode(field(53..V00_LEN))?;
    Some((trace_id, span_id, TraceFlags::new(flags) & (TraceFlags::SAMPLED | RANDOM)))
}

/// A tracestate that must be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidTracestate;

/// A tracestate to be passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracestate {
    /// `None` without members.
    pub(super) text: Option<String>,
    /// Members that were left out because the whole was too long.
    pub(super) dropped: usize,
}

/// The value of a header that is a list and came in several lines; one line stays as it is.
pub(super) fn combine<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Cow<'a, [u8]> {
    let mut lines = lines.filter(|line| !trim(line).is_empty());
    let Some(first) = lines.next() else { return Cow::default() };
    lines.fold(Cow::Borrowed(first), |mut combined, line| {
        let header = combined.to_mut();
        header.push(b',');
        header.extend_from_slice(line);
        combined
    })
}

/// Checks a tracestate; as it came, unless it is too long to be passed on.
pub(super) fn parse_tracestate(header: &[u8]) -> Result<Tracestate, InvalidTracestate> {
    let header = std::str::from_utf8(trim(header)).map_err(|_| InvalidTracestate)?;
    let mut members = Vec::new();
    for member in header.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty()) {
        if !valid_member(member) || members.len() == MAX_MEMBERS {
            return Err(InvalidTracestate);
        }
        members.push(member);
    }
    if members.is_empty() {
        return Ok(Tracestate::default());
    }
    if header.len() <= MAX_LEN {
        return Ok(Tracestate { text: Some(header.to_owned()), dropped: 0 });
    }
    let came = members.len();
    let len = |members: &[&str]| members.iter().map(|m| m.len()).sum::<usize>() + members.len().saturating_sub(1);
    while len(&members) > MAX_LEN {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    let text = Some(members.join(",")).filter(|text| !text.is_empty());
    Ok(Tracestate { text, dropped: came - members.len() })
}

fn valid_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let (key, value) = (key.as_bytes(), value.as_bytes());
    let start = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid_key = key.first().is_some_and(|&b| start(b))
        && key.iter().all(|&b| start(b) || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@'));
    let valid_value = !value.is_empty() && value.iter().all(|&b| matches!(b, 0x20..=0x7e) && b != b'=');
    valid_key && valid_value && key.len() <= MAX_KEY_LEN && value.len() <= MAX_VALUE_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn flags(header: &str) -> Option<u8> {
        let (trace_id, span_id, flags) = parse_traceparent(header.as_bytes())?;
        assert_eq!(format!("{trace_id}-{span_id}"), IDS);
        Some(flags.to_u8())
    }

    #[test]
    fn valid_traceparents() {
        assert_eq!(flags(&format!("00-{IDS}-01")), Some(1));
        assert_eq!(flags(&format!("00-{IDS}-00")), Some(0));
        assert_eq!(flags(&format!(" \t00-{IDS}-01\t")), Some(1));
        assert_eq!(flags(&format!("00-{IDS}-02")), Some(2), "random, not sampled");
        assert_eq!(flags(&format!("00-{IDS}-03")), Some(3));
        assert_eq!(flags(&format!("00-{IDS}-ff")), Some(3), "unknown flags are cleared");
        assert_eq!(flags(&format!("00-{IDS}-fc")), Some(0));
    }

    #[test]
    fn future_versions_may_be_longer() {
        assert_eq!(flags(&format!("cc-{IDS}-01")), Some(1));
        assert_eq!(flags(&format!("01-{IDS}-09-what-the-future")), Some(1));
        assert_eq!(flags(&format!("01-{IDS}-01.what")), None);
        assert_eq!(flags(&format!("00-{IDS}-01-")), None);
        assert_eq!(flags(&format!("00-{IDS}-01-what")), None);
    }

    #[test]
    fn invalid_traceparents() {
        for header in [
            "".to_owned(),
            format!("ff-{IDS}-01"),
            format!("0x-{IDS}-01"),
            format!("00-{IDS}"),
            format!("00-{IDS}-1"),
            format!("00-{IDS}-0A"),
            format!("000-{IDS}-1"),
            format!("00-{}-01", IDS.to_uppercase()),
            format!("00_{IDS}-01"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(),
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(),
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b716920333100-01".to_owned(),
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            format!("00-{IDS}-01,00-{IDS}-01"),
            "\u{e9}".repeat(40),
        ] {
            assert_eq!(parse_traceparent(header.as_bytes()), None, "{header}");
        }
    }

    fn state(header: &str) -> Result<Option<String>, InvalidTracestate> {
        parse_tracestate(header.as_bytes()).map(|state| state.text)
    }

    #[test]
    fn valid_tracestates_stay_as_they_are() {
        for header in ["a=1", "a=1,b=2", "a=1 \t, \tb=2", "a=1,,b=2", "a=1,a=2", "0tenant@vendor=x y!", "a_-*/=<"] {
            assert_eq!(state(header), Ok(Some(header.to_owned())));
        }
        assert_eq!(state(" a=1 "), Ok(Some("a=1".to_owned())));
        assert_eq!(state(""), Ok(None));
        assert_eq!(state(" , "), Ok(None));
    }

    #[test]
    fn invalid_tracestates() {
        for header in ["a", "a=", "=1", "A=1", "a =1", "a= \u{7f}", "a=1=2", "a=\u{e9}", "@a=1", "a=1;b=2,c"] {
            assert_eq!(state(header), Err(InvalidTracestate), "{header}");
        }
        assert_eq!(parse_tracestate(b"a=\xff"), Err(InvalidTracestate));
        assert_eq!(state(&format!("{}=1", "a".repeat(257))), Err(InvalidTracestate));
        assert_eq!(state(&format!("a={}", "1".repeat(257))), Err(InvalidTracestate));
    }

    #[test]
    fn at_most_32_members() {
        let members = |n: usize| (0..n).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&members(32)), Ok(Some(members(32))));
        assert_eq!(state(&members(33)), Err(InvalidTracestate));
    }

    #[test]
    fn a_long_tracestate_loses_long_members_first_then_the_last() {
        let long = format!("long={}", "x".repeat(200));
        let short = |i: usize| format!("k{i}={}", "y".repeat(96)); // 99 bytes, 100 with the comma
        let header = format!("{},{long},{},{},{},{}", short(0), short(1), short(2), short(3), short(4));
        let kept = (0..5).map(short).collect::<Vec<_>>().join(",");
        assert_eq!(kept.len(), 499);
        assert_eq!(state(&header), Ok(Some(kept)));
        let header = (0..9).map(short).collect::<Vec<_>>().join(",");
        assert_eq!(state(&header), Ok(Some((0..5).map(short).collect::<Vec<_>>().join(","))));
        assert_eq!(parse_tracestate(header.as_bytes()).unwrap().dropped, 4);
    }

    #[test]
    fn several_lines_are_one_list() {
        let combined = |lines: &[&'static str]| combine(lines.iter().map(|line| line.as_bytes())).into_owned();
        assert_eq!(combined(&[]), b"");
        assert_eq!(combined(&["", " \t"]), b"");
        assert_eq!(combined(&["", "a=1, b=2", " "]), b"a=1, b=2");
        assert_eq!(combined(&["a=1,b=2", "", "c=3", "d=4,"]), b"a=1,b=2,c=3,d=4,");
    }
}
