//! Lines of HAProxy's log: every one is accounted for, its spans are whole, and what a client wrote stays what a client
//! wrote.

#![no_main]

#[path = "support/tracer.rs"]
mod tracer;

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use spoa_otel::line::{LineConfig, LineStats, Lines};
use spoa_otel::tracer::TracerConfig;
use tracer::{Fixture, NOW};

const CONTEXT: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00f067aa0ba902b7-53995c3f42cd8ad8-03";

// A byte that chooses: any line, a line with any `ctx`, or one with any texts of a client, one a line.
fuzz_target!(|input: &[u8]| {
    let Some((selector, rest)) = input.split_first() else { return };
    let mut fixture = Fixture::new(TracerConfig::default());
    let lines = fixture.lines(LineConfig { phases: selector & 4 != 0, keep_errors: true, ..LineConfig::default() });
    match selector & 3 {
        0 => {
            fixture.line(&lines, rest);
            accounted_for(&lines);
        }
        1 => with_context(&mut fixture, &lines, rest),
        // What went through `url_enc`, and what should have.
        2 => with_texts(&mut fixture, &lines, rest),
        _ => {
            let texts: Vec<_> = rest.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            fixture.line(&lines, &line(CONTEXT.as_bytes(), &texts));
            accounted_for(&lines);
        }
    }
    fixture.shut_down();
});

/// The only line has a result, and an outcome if it is ours.
fn accounted_for(lines: &Lines) -> LineStats {
    let stats = lines.stats();
    assert_eq!(stats.ours + stats.foreign + stats.cut + stats.malformed, 1, "{stats:?}");
    let kept = stats.traced + stats.kept_error + stats.kept_slow;
    let others = stats.unsampled + stats.completed + stats.ended_before + stats.untraced + stats.no_request;
    assert_eq!(kept + others, stats.ours, "{stats:?}");
    assert_eq!(stats.spans > 0, kept > 0, "{stats:?}");
    stats
}

/// It is taken just if it is what the document says.
fn with_context(fixture: &mut Fixture, lines: &Lines, context: &[u8]) {
    // As these would end the value, or stand for an absent one.
    if context.iter().any(|byte| matches!(byte, b'"' | b'\\')) || matches!(context, b"" | b"-") {
        return;
    }
    let spans = fixture.line(lines, &line(context, &[]));
    let stats = accounted_for(lines);
    let fields: Vec<_> = context.split(|byte| *byte == b'-').collect();
    let id = |at: usize, len: usize| {
        fields.get(at).copied().filter(|digits| {
            digits.len() == len && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let not_zero = |digits: &&[u8]| digits.iter().any(|digit| *digit != b'0');
    let parent = fields.get(3).is_some_and(|parent| parent.is_empty()) || id(3, 16).filter(not_zero).is_some();
    let ids = [id(0, 32), id(1, 16), id(2, 16)].map(|id| id.filter(not_zero));
    let distinct = ids[1] != ids[2] && ids[1] != id(3, 16) && ids[2] != id(3, 16);
    let by_agent = distinct && ids.iter().all(Option::is_some) && parent && id(4, 2).is_some();
    // Without the SERVER span, which nobody knows yet.
    let by_haproxy = fields.len() == 3 && ids[0].is_some() && ids[1].is_some() && id(2, 2).is_some();
    let valid = by_agent || by_haproxy;
    assert_eq!(stats.ours, u64::from(valid), "{}", String::from_utf8_lossy(context));
    for span in spans {
        assert_eq!(Some(hex(&span.trace_id).as_bytes()), ids[0]);
    }
}

/// Texts of a client change what they are, and nothing else.
fn with_texts(fixture: &mut Fixture, lines: &Lines, input: &[u8]) {
    let texts: Vec<_> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let encoded: Vec<_> = texts.iter().map(|text| url_enc(text)).collect();
    let spans = fixture.line(lines, &line(CONTEXT.as_bytes(), &encoded));
    assert_eq!(accounted_for(lines).traced, 1);
    for span in &spans {
        assert_eq!((hex(&span.trace_id), &*span.trace_state), (CONTEXT[..32].to_owned(), ""));
        assert_eq!(span.start_time_unix_nano / 1_000_000_000, NOW);
    }
    let [server, client, ..] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!([hex(&server.span_id), hex(&client.span_id)], [&CONTEXT[33..49], &CONTEXT[50..66]]);
    let whole = |at: usize| texts.get(at).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let (method, uri, id) = (whole(0), whole(1), whole(4));
    // What is absent is told as `-`.
    let told = |text: String| Some(text).filter(|text| !matches!(&**text, "" | "-"));
    assert_eq!(text(server, "haproxy.unique_id"), told(id));
    let path = told(uri).map(|uri| uri.split('?').next().unwrap_or_default().to_owned());
    assert_eq!(text(server, "url.path"), path.filter(|path| !path.is_empty()));
    let original = text(server, "http.request.method_original").or_else(|| text(server, "http.request.method"));
    assert_eq!(original, told(method));
    assert_eq!(text(server, "haproxy.frontend").as_deref(), Some("www"));
    assert_eq!(text(server, "http.response.status_code"), None, "it is a number");
}

fn text(span: &Span, name: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// A line of a good request with these texts of its client: method, path and query, host, user agent, id.
fn line(context: &[u8], texts: &[Vec<u8>]) -> Vec<u8> {
    let micros = NOW * 1_000_000;
    let mut line =
        b"<134>1 2027-01-15T08:00:00.000000+00:00 - haproxy 1 - [otel@32473 v=\"1\" svc=\"edge\" c=\"".to_vec();
    line.extend_from_slice(context);
    let times = format!("\" n=\"1\" au=\"{micros}\" ss=\"200\" t0=\"{}\" e=\"{}\"", micros + 10, micros + 9_000);
    line.extend_from_slice(times.as_bytes());
    line.extend_from_slice(
        b" Th=\"0\" Ti=\"0\" TR=\"1\" Tw=\"1\" Tc=\"1\" Tr=\"1\" Td=\"1\" st=\"200\" ts=\"--\" rc=\"0\" f=\"www\"",
    );
    line.extend_from_slice(b" b=\"app\" s=\"s1\"");
    for (name, text) in ["m", "u", "h", "ua", "id"].iter().zip(texts) {
        line.extend_from_slice(format!(" {name}=\"").as_bytes());
        line.extend_from_slice(text);
        line.push(b'"');
    }
    line.extend_from_slice(b" z=\"1\"] message");
    line
}

/// As HAProxy's converter does it.
fn url_enc(text: &[u8]) -> Vec<u8> {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.iter().flat_map(|byte| if keep(byte) { vec![*byte] } else { format!("%{byte:02X}").into_bytes() }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
