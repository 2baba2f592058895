//! The extract arguments: what a message says of its caller's trace.

use smallvec::SmallVec;
use spop_core::Value;

use super::language::{Item, Keyword};
use super::propagation::{Format, Headers};

/// An extract argument.
pub(super) enum Extract<'a> {
    /// `extract=` and its kin; the former with the baggage of its third value.
    Context { headers: Headers<'a>, baggage: Option<&'a [u8]> },
    /// `extract-tracestate=`
    Tracestate(Lines<'a>),
    /// `extract-baggage=`
    Baggage(Lines<'a>),
}

impl<'a> Extract<'a> {
    /// Reads the argument, if it is one, and says how many of its values are surplus.
    pub(super) fn parse(keyword: Keyword, item: Item<'_, 'a>) -> Option<(Self, usize)> {
        let format = match keyword {
            Keyword::Extract => Format::TraceContext,
            Keyword::ExtractB3 => Format::B3,
            Keyword::ExtractB3Multi => Format::B3Multi,
            Keyword::ExtractJaeger => Format::Jaeger,
            Keyword::ExtractTracestate => return Some((Extract::Tracestate(Lines::parse(values(item))), 0)),
            Keyword::ExtractBaggage => return Some((Extract::Baggage(Lines::parse(values(item))), 0)),
            _ => return None,
        };
        let mut values = values(item).peekable();
        let mut several = false;
        while let Some(lines) = values.next_if(is_integer) {
            several |= lines.as_integer() > Some(1);
        }
        let count = match format {
            // With baggage, which is a propagator of its own.
            Format::TraceContext => 3,
            Format::B3 | Format::Jaeger => 1,
            Format::B3Multi => 4,
        };
        let mut headers = [None; 4];
        for (header, value) in headers.iter_mut().zip(values.by_ref().take(count)) {
            *header = value.as_bytes();
        }
        let baggage = if format == Format::TraceContext { headers[2].take() } else { None };
        let surplus = values.count();
        Some((Extract::Context { headers: Headers { format, values: headers, several }, baggage }, surplus))
    }
}

fn values<'i, 'a: 'i>(item: Item<'i, 'a>) -> impl Iterator<Item = Value<'a>> + use<'i, 'a> {
    std::iter::once(item.value).chain(item.more)
}

fn is_integer(value: &Value<'_>) -> bool {
    value.as_integer().is_some()
}

/// The lines of a header that is a list, in their order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lines<'a> {
    pub(super) lines: SmallVec<[&'a [u8]; 4]>,
    /// Lines beyond those that the message takes.
    pub(super) missed: usize,
    /// Lines that were cut: they end with their last whole member.
    pub(super) cut: usize,
}

impl<'a> Lines<'a> {
    /// First the number of lines of the header, then the lines; an integer behind a line says where it was cut.
    fn parse(values: impl Iterator<Item = Value<'a>>) -> Self {
        let mut values = values.peekable();
        let number = |value: Value<'_>| value.as_integer().and_then(|n| usize::try_from(n).ok());
        let of_header = values.next_if(is_integer).and_then(number);
        let (mut parsed, mut asked) = (Lines::default(), 0);
        while let Some(value) = values.next() {
            asked += 1;
            let cut_at = values.next_if(is_integer).and_then(number);
            let Some(mut line) = value.as_bytes() else { continue };
            if cut_at.is_some_and(|cut_at| line.len() >= cut_at) {
                parsed.cut += 1;
                let comma = line.iter().rposition(|&b| b == b',').unwrap_or(0);
                line = line.get(..comma).unwrap_or_default();
            }
            parsed.lines.push(line);
        }
        parsed.missed = of_header.unwrap_or(asked).saturating_sub(asked);
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[Value<'static>]) -> (Vec<&'static str>, usize, usize) {
        let parsed = Lines::parse(values.iter().copied());
        let texts = parsed.lines.into_iter().map(|line| std::str::from_utf8(line).unwrap());
        (texts.collect(), parsed.missed, parsed.cut)
    }

    #[test]
    fn lines_with_and_without_their_number() {
        let (a, b) = (Value::from("a=1"), Value::from("b=2"));
        assert_eq!(lines(&[a, b, Value::Null]), (vec!["a=1", "b=2"], 0, 0));
        assert_eq!(lines(&[Value::Int64(2), a, b, Value::Null]), (vec!["a=1", "b=2"], 0, 0));
        assert_eq!(lines(&[Value::Int32(0), Value::Null]), (vec![], 0, 0));
        assert_eq!(lines(&[Value::Int64(5), a, b]), (vec!["a=1", "b=2"], 3, 0));
        assert_eq!(lines(&[Value::Int64(-5), a]), (vec!["a=1"], 0, 0));
        assert_eq!(lines(&[Value::Int64(7)]), (vec![], 7, 0));
        assert_eq!(lines(&[Value::Null]), (vec![], 0, 0));
        assert_eq!(lines(&[Value::Bool(true), Value::from("")]), (vec![""], 0, 0));
    }

    #[test]
    fn a_cut_line_ends_with_its_last_whole_member() {
        let line = Value::from("a=1,bc=23");
        for (cut_at, kept, cut) in [(10, "a=1,bc=23", 0), (9, "a=1", 1), (8, "a=1", 1), (0, "a=1", 1)] {
            assert_eq!(lines(&[line, Value::Int64(cut_at)]), (vec![kept], 0, cut), "{cut_at}");
        }
        assert_eq!(lines(&[Value::from("abcd"), Value::Int64(4)]), (vec![""], 0, 1));
        let values = [Value::Int64(2), line, Value::Int64(9), Value::from("x=1"), Value::Int64(9)];
        assert_eq!(lines(&values), (vec!["a=1", "x=1"], 0, 1));
    }
}
