//! Jaeger's `uber-trace-id`.
//!
//! The crate `opentelemetry-jaeger-propagator` is one of an older `opentelemetry`, reads the flags as a decimal number
//! and puts baggage into the trace state; hence this parser.

use percent_encoding::percent_decode;

use super::context::{CallersDecision, Context, Invalid, SpanRef};
use super::w3c::trim;
use crate::hex::{any_hex, span_id, trace_id};

const SAMPLED: u128 = 1;
const DEBUG: u128 = 2;

/// Reads `{trace id}:{span id}:{parent span id}:{flags}`, in which the colons may be percent-encoded and leading zeros
/// may be missing. The parent span id is of no use and not looked at.
pub(super) fn parse(header: &[u8]) -> Result<Context, Invalid> {
    let decoded: std::borrow::Cow<'_, [u8]> = percent_decode(trim(header)).into();
    let mut fields = decoded.split(|&b| b == b':');
    let mut field = |max_len| fields.next().filter(|field| field.len() <= max_len);
    let (Some(trace), Some(span), Some(_), Some(flags), None) =
        (field(32), field(16), field(usize::MAX), field(2), field(usize::MAX))
    else {
        return Err(Invalid);
    };
    let trace = any_hex(trace).and_then(trace_id).ok_or(Invalid)?;
    let span = any_hex(span).and_then(span_id).ok_or(Invalid)?;
    let flags = any_hex(flags).ok_or(Invalid)?;
    let decision = match (flags & SAMPLED, flags & DEBUG) {
        // Debug without sampled says nothing.
        (0, _) => CallersDecision::Deny,
        (_, 0) => CallersDecision::Accept,
        _ => CallersDecision::Debug,
    };
    Ok(Context { parent: Some((trace, span)), decision, random: false })
}

/// The header `uber-trace-id`.
pub(super) fn header(span: &SpanRef) -> String {
    let SpanRef { trace_id, span_id, decision, .. } = span;
    let flags = match decision {
        CallersDecision::Deferred | CallersDecision::Deny => 0,
        CallersDecision::Accept => SAMPLED,
        CallersDecision::Debug => SAMPLED | DEBUG,
    };
    format!("{trace_id}:{span_id}:0:{flags:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallersDecision::{Accept, Debug, Deferred, Deny};

    fn read(header: &str) -> Option<(String, CallersDecision)> {
        let context = parse(header.as_bytes()).ok()?;
        let (trace_id, span_id) = context.parent?;
        Some((format!("{trace_id}:{span_id}"), context.decision))
    }

    #[test]
    fn ids_of_any_length_and_all_flags() {
        let full = "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1";
        for (flags, decision) in [
            ("0", Deny),
            ("00", Deny),
            ("1", Accept),
            ("01", Accept),
            ("3", Debug),
            ("2", Deny),
            ("9", Accept),
            ("0b", Debug),
            ("10", Deny),
        ] {
            for parent in ["0", "", "05e3ac9a4f6e3b90", "what"] {
                let header = format!(" {full}:{parent}:{flags} ");
                assert_eq!(read(&header), Some((full.to_owned(), decision)), "{header}");
            }
        }
        let padded = "0000000000000000000000000000abcd:000000000000001f".to_owned();
        assert_eq!(read("abcd:1f:0:1"), Some((padded.clone(), Accept)));
        assert_eq!(read("ABCD%3a1F%3A0%3a1"), Some((padded, Accept)));
    }

    #[test]
    fn invalid_headers() {
        for header in [
            "",
            ":::",
            "a:b:0",
            "a:b:0:1:",
            "a:b:0:1:0",
            "a:b:0:",
            "a:b:0:001",
            "a:b:0:x",
            "a:b:0:+1",
            "0:b:0:1",
            "a:0:0:1",
            ":b:0:1",
            "a::0:1",
            "g:b:0:1",
            "080f198ee56343ba864fe8b2a57d3eff7:b:0:1",
            "a:0e457b5a2e4d86bd1:0:1",
            "a%b:0:1",
            "a:%ff:0:1",
        ] {
            assert_eq!(read(header), None, "{header:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (trace_id, span_id) = parse(b"abcd:1f:0:1").unwrap().parent.unwrap();
        for (decision, read_as) in [(Deferred, Deny), (Deny, Deny), (Accept, Accept), (Debug, Debug)] {
            let header = header(&SpanRef { trace_id, span_id, decision, random: false });
            assert_eq!(parse(header.as_bytes()).unwrap().decision, read_as, "{header}");
            assert!(header.starts_with("0000000000000000000000000000abcd:000000000000001f:0:"), "{header}");
        }
    }
}
