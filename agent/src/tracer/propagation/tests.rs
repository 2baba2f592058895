//! The formats together.

use proptest::prelude::*;

use super::*;
use CallersDecision::{Accept, Debug, Deferred, Deny};

const ALL: [Format; 4] = [Format::TraceContext, Format::B3, Format::B3Multi, Format::Jaeger];
const W3C: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const B3: &[u8] = b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0";

fn w3c<'a>(traceparent: &'a [u8], tracestate: Option<&'a [u8]>) -> Headers<'a> {
    Headers { format: Format::TraceContext, values: [Some(traceparent), tracestate, None, None], several: false }
}

fn single(format: Format, value: &[u8]) -> Headers<'_> {
    Headers { format, values: [Some(value), None, None, None], several: false }
}

fn trace(extracted: &Extracted) -> String {
    extracted.parent.as_ref().map(|parent| parent.trace_id.to_string()).unwrap_or_default()
}

#[test]
fn an_absent_or_empty_header_is_not_invalid() {
    assert_eq!(extract(&ALL, &[], &[]), Extracted::default());
    let empty =
        ALL.map(|format| Headers { format, values: [Some(b""), Some(b"a=1"), None, Some(b"")], several: false });
    let expected = Extracted { invalid: 1, ..Extracted::default() };
    assert_eq!(extract(&ALL, &empty, &[]), expected, "x-b3-spanid without a trace id");
    let absent = ALL.map(|format| Headers { format, values: [None; 4], several: false });
    assert_eq!(extract(&ALL, &absent, &[]), Extracted::default());
}

#[test]
fn the_first_format_that_gives_a_span_wins() {
    let arguments = [single(Format::B3, B3), w3c(W3C, Some(b"a=1"))];
    let first = extract(&[Format::TraceContext, Format::B3], &arguments, &[]);
    assert_eq!((trace(&first).as_str(), first.decision), ("0af7651916cd43dd8448eb211c80319c", Accept));
    let first = extract(&[Format::B3, Format::TraceContext], &arguments, &[]);
    assert_eq!((trace(&first).as_str(), first.decision), ("80f198ee56343ba864fe8b2a57d3eff7", Deny));
    assert_eq!(first.parent.unwrap().tracestate, None, "it belongs to another trace");
    assert_eq!(extract(&[Format::Jaeger], &arguments, &[]), Extracted::default());

    let arguments = [w3c(b"garbage", None), single(Format::B3, B3), single(Format::Jaeger, b"garbage")];
    let second = extract(&ALL, &arguments, &[]);
    assert_eq!(trace(&second), "80f198ee56343ba864fe8b2a57d3eff7");
    assert_eq!(second.invalid, 1, "what comes after the winner is not looked at");
}

#[test]
fn a_decision_alone_gives_way_to_a_span() {
    let alone = [single(Format::B3, b"0"), single(Format::Jaeger, b"abc:1:0:1")];
    let extracted = extract(&ALL, &alone, &[]);
    assert_eq!((trace(&extracted).len(), extracted.decision), (32, Accept));
    let extracted = extract(&[Format::B3], &alone, &[]);
    assert_eq!((extracted.parent, extracted.decision, extracted.invalid), (None, Deny, 0));
    let two = [
        single(Format::B3, b"d"),
        Headers { format: Format::B3Multi, values: [None, None, Some(b"0"), None], several: false },
    ];
    assert_eq!(extract(&ALL, &two, &[]).decision, Debug);
}

#[test]
fn several_lines_of_a_header_that_comes_once_are_invalid() {
    for format in ALL {
        let value = match format {
            Format::TraceContext => W3C,
            Format::Jaeger => b"abc:1:0:1",
            _ => B3,
        };
        let headers = Headers { several: true, ..single(format, value) };
        assert_eq!(extract(&ALL, &[headers], &[b"a=1"]), Extracted { invalid: 1, ..Extracted::default() });
    }
    let arguments = [Headers { several: true, ..w3c(W3C, Some(b"a=1")) }, single(Format::B3, B3)];
    assert_eq!(trace(&extract(&ALL, &arguments, &[])), "80f198ee56343ba864fe8b2a57d3eff7", "the next format");
}

#[test]
fn tracestate_comes_in_lines() {
    let state = |first, lines: &[&[u8]]| {
        let extracted = extract(&ALL, &[w3c(W3C, first)], lines);
        (extracted.parent.unwrap().tracestate.as_deref().map(str::to_owned), extracted.invalid, extracted.dropped)
    };
    assert_eq!(state(None, &[b"a=1, b=2"]), (Some("a=1, b=2".to_owned()), 0, 0));
    assert_eq!(state(Some(b"z=0"), &[b"a=1", b"", b"b=2"]), (Some("z=0,a=1,b=2".to_owned()), 0, 0));
    assert_eq!(state(None, &[b"", b" "]), (None, 0, 0));
    assert_eq!(state(None, &[b"a=1", b"B=2"]), (None, 1, 0), "one that is invalid spoils the list");
    let line = |n: usize| (0..17).map(|i| format!("k{n}_{i}=1")).collect::<Vec<_>>().join(",");
    let lines = [line(1), line(2)];
    assert_eq!(state(None, &[lines[0].as_bytes(), lines[1].as_bytes()]), (None, 1, 0), "34 members");
    let long = ["a", "b", "c"].map(|key| format!("{key}={}", "x".repeat(250)));
    let kept = format!("{},{}", long[0], long[1]);
    let lines = long.each_ref().map(|line| line.as_bytes());
    assert_eq!(state(None, &lines), (Some(kept), 0, 1));
    let b3 = extract(&ALL, &[single(Format::B3, B3)], &[b"a=1"]);
    assert_eq!(b3.parent.unwrap().tracestate, None, "it belongs to a traceparent");
}

#[test]
fn an_invalid_tracestate_leaves_the_parent() {
    let extracted = extract(&ALL, &[w3c(W3C, Some(b"A=1"))], &[]);
    assert_eq!(extracted.invalid, 1);
    let parent = extracted.parent.unwrap();
    assert_eq!((parent.tracestate, parent.flags.is_sampled()), (None, true));
    let parent = extract(&ALL, &[w3c(W3C, Some(b"a=1, b@c=2"))], &[]).parent.unwrap();
    assert_eq!(parent.tracestate.as_deref(), Some("a=1, b@c=2"));
}

/// The variables as the headers of their format.
fn injected(span: &SpanRef, format: Format) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    span.inject(&[format], None, |name, value| {
        assert!(name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}");
        variables.push((name.to_owned(), value.as_str().unwrap().to_owned()));
    });
    variables
}

fn names(format: Format) -> [&'static str; 4] {
    match format {
        Format::TraceContext => ["traceparent", "tracestate", "", ""],
        Format::B3 => ["b3", "", "", ""],
        Format::B3Multi => ["x_b3_traceid", "x_b3_spanid", "x_b3_sampled", "x_b3_flags"],
        Format::Jaeger => ["uber_trace_id", "", "", ""],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_injected_can_be_extracted(trace_id in 1..u128::MAX, span_id in 1..u64::MAX, decision in 0..4usize, random: bool) {
        let decision = [Deferred, Deny, Accept, Debug][decision];
        let span = SpanRef { trace_id: TraceId::from(trace_id), span_id: SpanId::from(span_id), decision, random };
        for format in ALL {
            let variables = injected(&span, format);
            let value = |name| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_bytes());
            let extracted = extract(&ALL, &[Headers { format, values: names(format).map(value), several: false }], &[]);
            prop_assert_eq!(extracted.invalid, 0);
            let parent = extracted.parent.unwrap();
            prop_assert_eq!(parent.is_random(), random && format == Format::TraceContext);
            prop_assert_eq!((parent.trace_id, parent.span_id), (span.trace_id, span.span_id));
            let lossy = match (format, decision) {
                (Format::B3 | Format::B3Multi, _) => decision,
                (_, Deferred) => Deny,
                (Format::TraceContext, Debug) => Accept,
                _ => decision,
            };
            prop_assert_eq!(extracted.decision, lossy);
            prop_assert_eq!(parent.flags.is_sampled(), lossy.sampled() == Some(true));
        }
    }

    /// No panic, and whatever is taken is a valid span.
    #[test]
    fn arbitrary_headers_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        text in "[0-9a-fA-Fd:%+ -]{0,70}",
        ids in "([0-9a-f]{16}|[0-9a-f]{32})[-:][0-9a-f]{15,17}[-:]([01d]|0)([-:][0-9a-f]{1,16})?",
    ) {
        for value in [bytes.as_slice(), text.as_bytes(), ids.as_bytes()] {
            for format in ALL {
                for values in [[Some(value); 4], [Some(value), None, None, None]] {
                    let extracted = extract(&ALL, &[Headers { format, values, several: false }], &[]);
                    prop_assert!(extracted.invalid <= 1 || format == Format::TraceContext);
                    let invalid = (TraceId::INVALID, SpanId::INVALID);
                    let is_valid = |parent: RemoteParent| parent.trace_id != invalid.0 && parent.span_id != invalid.1;
                    prop_assert!(extracted.parent.is_none_or(is_valid));
                }
            }
        }
    }
}
