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
        Self { trace_id, server, client, parent, flags: TraceFlags::new(flags) }.if_possible()
    }

    /// As HAProxy makes it, with as little work as it can: `trace id-id of the CLIENT span-flags`, which is what the server
    /// got as `traceparent`; beside it the id of the caller's span, or nothing. Nobody knows the SERVER span yet: its id may
    /// be any.
    pub(crate) fn by_haproxy(text: &[u8], parent: &[u8], server: SpanId) -> Option<Self> {
        let mut fields = text.split(|&byte| byte == b'-');
        let trace_id = TraceId::from_bytes(hex::decode(fields.next()?)?);
        let client = span_id(fields.next()?)?;
        let [flags] = hex::decode(fields.next()?)?;
        let parent = match parent {
            [] => None,
            digits => Some(span_id(digits)?),
        };
        let context = Self { trace_id, server, client, parent, flags: TraceFlags::new(flags) };
        context.if_possible().filter(|_| fields.next().is_none())
    }

    /// No span is its own parent, and no trace has an id of zeros.
    fn if_possible(self) -> Option<Self> {
        let Self { trace_id, server, client, parent, .. } = self;
        let distinct = server != client && ![Some(server), Some(client)].contains(&parent);
        (distinct && trace_id != TraceId::INVALID).then_some(self)
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
    fn haproxy_makes_what_the_server_must_know() {
        let whole = RequestContext::parse(WHOLE.as_bytes()).unwrap();
        let (text, parent) = ("0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-03", "53995c3f42cd8ad8");
        let of =
            |text: &str, parent: &str| RequestContext::by_haproxy(text.as_bytes(), parent.as_bytes(), whole.server);
        assert_eq!(of(text, parent), Some(whole));
        assert_eq!(of(text, ""), Some(RequestContext { parent: None, ..whole }));
        for at in 0..text.len() {
            assert_eq!(of(&text[..at], parent), None, "{at}");
            for byte in ["G", "A", " ", "-", "\0"] {
                if text[at..=at] != *byte {
                    let wrong = [&text[..at], byte, &text[at + 1..]].concat();
                    assert_eq!(of(&wrong, parent), None, "{wrong}");
                }
            }
        }
        let zeros = |id: &str| text.replace(id, &"0".repeat(id.len()));
        for wrong in [
            WHOLE.to_owned(),
            format!("00-{text}"),
            format!("{text}-"),
            format!("{text}0"),
            zeros("0af7651916cd43dd8448eb211c80319c"),
            zeros("00f067aa0ba902b7"),
        ] {
            assert_eq!(of(&wrong, parent), None, "{wrong}");
        }
        for wrong in ["0000000000000000", "53995c3f42cd8ad", "53995C3F42CD8AD8", "00f067aa0ba902b7", "b7ad6b7169203331"]
        {
            assert_eq!(of(text, wrong), None, "{wrong}");
        }
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
