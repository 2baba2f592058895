//! Zipkin's B3, in one header and in several.
//!
//! The crate `opentelemetry-zipkin` brings an exporter and wants a map of headers, takes the debug state `d` for
//! unsampled and knows no header that has a sampling state only; hence these parsers.

use opentelemetry::trace::{SpanId, TraceId};

use super::context::{CallersDecision, Context, Invalid, SpanRef};
use super::w3c::trim;
use crate::hex::{lower_hex, span_id, trace_id};

/// Reads the header `b3`: `{trace id}-{span id}[-{state}[-{parent span id}]]`, or `{state}` alone.
pub(super) fn parse_single(header: &[u8]) -> Result<Context, Invalid> {
    let header = trim(header);
    if let Some(decision) = state(header) {
        return Ok(Context { parent: None, decision, random: false });
    }
    let mut fields = header.split(|&b| b == b'-');
    let trace = fields.next().and_then(b3_trace_id).ok_or(Invalid)?;
    let span = fields.next().and_then(b3_span_id).ok_or(Invalid)?;
    let decision = fields.next().map_or(Ok(CallersDecision::Deferred), |field| state(field).ok_or(Invalid))?;
    if fields.next().is_some_and(|parent| b3_span_id(parent).is_none()) || fields.next().is_some() {
        return Err(Invalid);
    }
    Ok(Context { parent: Some((trace, span)), decision, random: false })
}

/// Reads `X-B3-TraceId`, `X-B3-SpanId`, `X-B3-Sampled` and `X-B3-Flags`; `None` if there are none.
pub(super) fn parse_multi(headers: [Option<&[u8]>; 4]) -> Result<Option<Context>, Invalid> {
    let [trace, span, sampled, flags] = headers.map(|header| header.map(trim).filter(|value| !value.is_empty()));
    let decision = match (flags, sampled) {
        // Debug implies acceptance.
        (Some(b"1"), _) => CallersDecision::Debug,
        (Some(b"0") | None, None) => CallersDecision::Deferred,
        (Some(b"0") | None, Some(b"1")) => CallersDecision::Accept,
        (Some(b"0") | None, Some(b"0")) => CallersDecision::Deny,
        // Written by tracers that are older than the specification.
        (Some(b"0") | None, Some(word)) if word.eq_ignore_ascii_case(b"true") => CallersDecision::Accept,
        (Some(b"0") | None, Some(word)) if word.eq_ignore_ascii_case(b"false") => CallersDecision::Deny,
        _ => return Err(Invalid),
    };
    match (trace, span) {
        (None, None) if decision == CallersDecision::Deferred => Ok(None),
        (None, None) => Ok(Some(Context { parent: None, decision, random: false })),
        (Some(trace), Some(span)) => {
            let parent = (b3_trace_id(trace).ok_or(Invalid)?, b3_span_id(span).ok_or(Invalid)?);
            Ok(Some(Context { parent: Some(parent), decision, random: false }))
        }
        _ => Err(Invalid),
    }
}

fn state(field: &[u8]) -> Option<CallersDecision> {
    Some(match field {
        b"0" => CallersDecision::Deny,
        b"1" => CallersDecision::Accept,
        b"d" => CallersDecision::Debug,
        _ => return None,
    })
}

/// Of 64 bits, or of 128.
fn b3_trace_id(field: &[u8]) -> Option<TraceId> {
    trace_id(lower_hex(field).filter(|_| matches!(field.len(), 16 | 32))?)
}

fn b3_span_id(field: &[u8]) -> Option<SpanId> {
    span_id(lower_hex(field).filter(|_| field.len() == 16)?)
}

/// The header `b3`.
pub(super) fn single(span: &SpanRef) -> String {
    let SpanRef { trace_id, span_id, decision, .. } = span;
    let state = match decision {
        CallersDecision::Deferred => "",
        CallersDecision::Deny => "-0",
        CallersDecision::Accept => "-1",
        CallersDecision::Debug => "-d",
    };
    format!("{trace_id}-{span_id}{state}")
}

/// `X-B3-Sampled` or `X-B3-Flags`, as a variable; none of them defers the decision.
pub(super) fn multi_state(decision: CallersDecision) -> Option<(&'static str, &'static str)> {
    match decision {
        CallersDecision::Deferred => None,
        CallersDecision::Deny => Some(("x_b3_sampled", "0")),
        CallersDecision::Accept => Some(("x_b3_sampled", "1")),
        CallersDecision::Debug => Some(("x_b3_flags", "1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallersDecision::{Accept, Debug, Deferred, Deny};

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";
    const IDS: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1";

    fn ids(context: &Context) -> Option<String> {
        context.parent.map(|(trace_id, span_id)| format!("{trace_id}-{span_id}"))
    }

    fn one(header: &str) -> Option<(Option<String>, CallersDecision)> {
        parse_single(header.as_bytes()).ok().map(|context| (ids(&context), context.decision))
    }

    #[test]
    fn all_states_of_the_single_header() {
        let full = Some(IDS.to_owned());
        for (rest, decision) in
            [("", Deferred), ("-0", Deny), ("-1", Accept), ("-d", Debug), ("-1-05e3ac9a4f6e3b90", Accept)]
        {
            assert_eq!(one(&format!(" {IDS}{rest}")), Some((full.clone(), decision)), "{rest}");
        }
        for (header, decision) in [("0", Deny), ("1", Accept), ("d", Debug), (" 0 ", Deny)] {
            assert_eq!(one(header), Some((None, decision)));
        }
        let short = one("64fe8b2a57d3eff7-e457b5a2e4d86bd1").unwrap().0.unwrap();
        assert_eq!(short, "000000000000000064fe8b2a57d3eff7-e457b5a2e4d86bd1");
    }

    #[test]
    fn invalid_single_headers() {
        for header in [
            "",
            "2",
            "-",
            "true",
            TRACE,
            &format!("{TRACE}-"),
            &format!("{IDS}-"),
            &format!("{IDS}-2"),
            &format!("{IDS}-true"),
            &format!("{IDS}-1-"),
            &format!("{IDS}-1-05e3"),
            &format!("{IDS}-1-0000000000000000"),
            &format!("{IDS}-05e3ac9a4f6e3b90"),
            &format!("{IDS}-1-05e3ac9a4f6e3b90-1"),
            &IDS.to_uppercase(),
            "80f198ee56343ba8-e457b5a2e4d86b",
            "80f198ee56343ba864fe8b2a-e457b5a2e4d86bd1",
            "0000000000000000-e457b5a2e4d86bd1",
            "80f198ee56343ba8-0000000000000000",
            "+0f198ee56343ba8-e457b5a2e4d86bd1",
            "\u{e9}-1",
        ] {
            assert_eq!(one(header), None, "{header:?}");
        }
    }

    fn multi(headers: [&str; 4]) -> Result<Option<(Option<String>, CallersDecision)>, Invalid> {
        let context = parse_multi(headers.map(|header| (header != "-").then_some(header.as_bytes())))?;
        Ok(context.map(|context| (ids(&context), context.decision)))
    }

    #[test]
    fn all_states_of_several_headers() {
        for (sampled, flags, decision) in [
            ("-", "-", Deferred),
            ("", "", Deferred),
            ("0", "-", Deny),
            ("1", "0", Accept),
            (" 1", "-", Accept),
            ("True", "-", Accept),
            ("false", "-", Deny),
            ("-", "1", Debug),
            ("0", "1", Debug),
            ("-", "0", Deferred),
        ] {
            let joined = multi([TRACE, SPAN, sampled, flags]);
            assert_eq!(joined, Ok(Some((Some(IDS.to_owned()), decision))), "{sampled} {flags}");
            let alone = multi(["-", "", sampled, flags]);
            assert_eq!(alone, Ok((decision != Deferred).then_some((None, decision))), "{sampled} {flags}");
        }
        let short = multi(["64fe8b2a57d3eff7", SPAN, "1", "-"]).unwrap().unwrap().0.unwrap();
        assert!(short.starts_with("000000000000000064fe8b2a57d3eff7-"), "{short}");
    }

    #[test]
    fn invalid_several_headers() {
        for headers in [
            [TRACE, "-", "1", "-"],
            ["-", SPAN, "1", "-"],
            [TRACE, SPAN, "2", "-"],
            [TRACE, SPAN, "d", "-"],
            [TRACE, SPAN, "1", "2"],
            [TRACE, "e457", "1", "-"],
            ["garbage", SPAN, "1", "-"],
            ["00000000000000000000000000000000", SPAN, "1", "-"],
            ["-", "-", "maybe", "-"],
        ] {
            assert_eq!(multi(headers), Err(Invalid), "{headers:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (trace_id, span_id) = parse_single(IDS.as_bytes()).unwrap().parent.unwrap();
        for decision in [Deferred, Deny, Accept, Debug] {
            let header = single(&SpanRef { trace_id, span_id, decision, random: false });
            assert_eq!(one(&header), Some((Some(IDS.to_owned()), decision)));
            let (sampled, flags) = match multi_state(decision) {
                Some(("x_b3_sampled", value)) => (value, "-"),
                Some((_, value)) => ("-", value),
                None => ("-", "-"),
            };
            assert_eq!(multi([TRACE, SPAN, sampled, flags]), Ok(Some((Some(IDS.to_owned()), decision))));
        }
    }
}
