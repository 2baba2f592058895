//! The variable `ctx`: the ids of a request's spans, which HAProxy keeps and writes into its log line.

use opentelemetry::{SpanId, TraceFlags, TraceId};
use smallvec::SmallVec;

use crate::hex;

/// The flag of `traceparent` that says: at least the 56 low bits of the trace id are random.
pub(crate) const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// The longest text, with a parent.
const MAX_LEN: usize = 86;

/// Its text: `trace id-id of the SERVER span-id of the CLIENT span-id of the caller's span or nothing-flags`, in
/// hexadecimal digits.
pub(crate) type Text = SmallVec<[u8; MAX_LEN]>;

/// What the spans of a request are, before there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestContext {
    pub(crate) trace_id: TraceId,
    /// Of the request that the client sent.
    pub(crate) server: SpanId,
    /// Of the request that the server gets; its parent.
    pub(crate) client: SpanId,
    /// Of the caller.
    pub(crate) parent: Option<SpanId>,
    /// Those of `traceparent`.
    pub(crate) flags: TraceFlags,
}

impl RequestContext {
    pub(crate) fn text(&self) -> Text {
        let mut out = Text::new();
        hex::push(&mut out, self.trace_id.to_bytes());
        for span_id in [Some(self.server), Some(self.client), self.parent] {
            out.push(b'-');
            if let Some(span_id) = span_id {
                hex::push(&mut out, span_id.to_bytes());
            }
        }
        out.push(b'-');
        hex::push(&mut out, [self.flags.to_u8()]);
        out
    }

    /// `None` if it is malformed, has an id of zeros, or one span id twice: no span is its own parent. What follows after one more `-` is left to later versions.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.split(|&byte| byte == b'-');
        let trace_id = TraceId::from_bytes(hex::decode(fields.next()?)?);
        let server = span_id(fields.next()?)?;
        let client = span_id(fields.next()?)?;
        let parent = match fields.next()? {
            [] => None,
            digits => Some(span_id(digits)?),
        };
        let [flags] = hex::decode(fields.next()?)?;
        let context = Self { trace_id, server, client, parent, flags: TraceFlags::new(flags) };
        let distinct = server != client && ![Some(server), Some(client)].contains(&parent);
        (distinct && trace_id != TraceId::INVALID).then_some(context)
    }
}

fn span_id(digits: &[u8]) -> Option<SpanId> {
    hex::decode(digits).map(SpanId::from_bytes).filter(|id| *id != SpanId::INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00f067aa0ba902b7-53995c3f42cd8ad8-03";

    #[test]
    fn it_is_read_as_it_was_written() {
        let context = RequestContext::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let ids = [context.server, context.client, context.parent.unwrap()].map(|id| id.to_string());
        assert_eq!(ids, ["b7ad6b7169203331", "00f067aa0ba902b7", "53995c3f42cd8ad8"]);
        assert_eq!(context.flags.to_u8(), 3);
        assert_eq!(&*context.text(), WHOLE.as_bytes());
        let root = RequestContext { parent: None, ..context };
        assert_eq!(root.text().len(), 70);
        assert_eq!(RequestContext::parse(&root.text()), Some(root));
        let later = [WHOLE.as_bytes(), b"-anything"].concat();
        assert_eq!(RequestContext::parse(&later), Some(context));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for at in 0..WHOLE.len() {
            assert_eq!(RequestContext::parse(&WHOLE.as_bytes()[..at]), None, "{at}");
            for byte in [b'G', b'A', b' ', b'-', 0, 0xff] {
                let mut text = WHOLE.as_bytes().to_vec();
                if text[at] != byte {
                    text[at] = byte;
                    assert_eq!(RequestContext::parse(&text), None, "{at} {byte}");
                }
            }
        }
        for id in ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7", "53995c3f42cd8ad8"] {
            let zeros = WHOLE.replace(id, &"0".repeat(id.len()));
            assert_eq!(RequestContext::parse(zeros.as_bytes()), None, "{zeros}");
        }
        for [from, to] in [[1, 2], [3, 1], [3, 2]] {
            let ids: Vec<_> = WHOLE.split('-').collect();
            let twice = WHOLE.replace(ids[from], ids[to]);
            assert_eq!(RequestContext::parse(twice.as_bytes()), None, "{twice}");
        }
        assert_eq!(RequestContext::parse(format!("{WHOLE}x").as_bytes()), None);
        assert_eq!(RequestContext::parse(b""), None);
    }
}
