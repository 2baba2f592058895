//! The requests whose tracing is measured.

use std::hint::black_box;

use spoa_otel::span::{FinishedSpan, SpanSink};
use spoa_otel::tracer::Tracer;
use spop_agent::time::Timestamp;
use spop_core::{AckEncoder, FrameId, Messages, NotifyEncoder, StreamId, Value};

/// Where spans cost nothing.
pub(crate) struct Nowhere;

impl SpanSink for Nowhere {
    fn submit(&self, spans: &[FinishedSpan]) {
        black_box(spans);
    }
}

/// Answers the NOTIFYs of a request.
pub(crate) fn handle(tracer: &Tracer, payloads: &[Vec<u8>], buf: &mut [u8]) {
    let received = Timestamp::now();
    for payload in payloads {
        if let Ok(mut ack) = AckEncoder::new(buf, 16380, StreamId(1), FrameId(1)) {
            tracer.handle(Messages::new(payload).validate().expect("valid"), received, &mut ack);
            black_box(ack.finish());
        }
    }
}

type Arg<'a> = (&'a str, Value<'a>);

fn payload(id: u64, args: &[Arg<'_>]) -> Vec<u8> {
    let mut buf = vec![0; 8192];
    let mut encoder = NotifyEncoder::payload(&mut buf);
    let id = format!("{id:032x}");
    let written = encoder
        .message(b"opentracing:message")
        .and_then(|()| encoder.arg(b"id", Value::from(id.as_str())))
        .and_then(|()| args.iter().try_for_each(|(key, value)| encoder.arg(key.as_bytes(), value)));
    assert!(written.is_ok(), "the buffer is big enough");
    let len = encoder.finish();
    buf.truncate(len);
    buf
}

/// One NOTIFY that opens and ends one span with a handful of tags.
pub(crate) fn one_span(id: u64) -> Vec<Vec<u8>> {
    let mut args: Vec<Arg<'_>> = vec![("span", "HTTP request".into())];
    for name in ["http.method", "http.url", "client.address", "client.port", "host"] {
        args.extend([("tag", name.into()), ("", Value::from("a value of some length"))]);
    }
    args.push(("finish", "*".into()));
    vec![payload(id, &args)]
}

/// One NOTIFY that opens and ends one span with a hundred attributes.
pub(crate) fn hundred_attributes(id: u64) -> Vec<Vec<u8>> {
    let names: Vec<_> = (0..100).map(|number| format!("attribute.{number}")).collect();
    let mut args: Vec<Arg<'_>> = vec![("span", "HTTP request".into())];
    for name in &names {
        args.extend([("tag", name.as_str().into()), ("", Value::from("a value"))]);
    }
    args.push(("finish", "*".into()));
    vec![payload(id, &args)]
}

/// The NOTIFY of a request in lean mode, with a caller.
pub(crate) fn lean(_: u64) -> Vec<Vec<u8>> {
    let mut buf = vec![0; 1024];
    let mut encoder = NotifyEncoder::payload(&mut buf);
    let args: [Arg<'_>; 5] = [
        ("extract", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ("", Value::Null),
        ("", Value::Null),
        ("method", "GET".into()),
        ("path", "/index.html".into()),
    ];
    encoder.message(b"otel:request").expect("room");
    args.iter().for_each(|(key, value)| encoder.arg(key.as_bytes(), value).expect("room"));
    let len = encoder.finish();
    buf.truncate(len);
    vec![buf]
}

/// The line of HAProxy's log about such a request, which a server answered, as haproxy-lean.cfg has it.
pub(crate) fn log_line(number: u64) -> Vec<u8> {
    let now = Timestamp::now().wall.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    let (accepted, first_rule) = (now - 9_000, now - 8_500);
    let context = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00f067aa0ba902b7-53995c3f42cd8ad8-03";
    format!(
        r#"<134>1 2026-11-28T19:00:00.000000+00:00 - haproxy 4711 - [otel@32473 v="1" svc="haproxy-1" c="{context}" p="-" n="{number}" a="1795892400.123" au="{accepted}" ss="200" t0="{first_rule}" e="{now}" Th="0" Ti="0" TR="1" Tw="0" Tc="0" Tr="6" st="200" ts="--" rc="0" f="www" b="app" s="s1" m="GET" u="%2Fcatalogue%2Fitems%3Fpage%3D7" hv="1.1" h="www.example.com" ua="Mozilla%2F5.0%20%28X11%3B%20Linux%20x86_64%3B%20rv%3A145.0%29%20Gecko%2F20100101%20Firefox%2F145.0" tst="-" route="-" tls="0" stls="0" ci="C0000211" cp="51234" fi="C0000201" fp="80" si="192.0.2.33" sp="8080" U="231" B="1532" id="5a0b5b6c-3a3f-4c1f-9b0e-0d6a5d7f1c2e" z="1"] 192.0.2.17:51234 [28/Nov/2026:19:00:00.123] www app/s1 1/0/0/6/8 200 1532 - "GET /catalogue/items?page=7 HTTP/1.1" trace=0af7651916cd43dd8448eb211c80319c spoe_error=-"#
    )
    .into_bytes()
}

/// The eight NOTIFYs of the nine spans.
pub(crate) fn nine_spans(id: u64) -> Vec<Vec<u8>> {
    let steps: [&[(&str, &str)]; 8] = [
        &[
            ("span", "HAProxy session"),
            ("span", "Client session"),
            ("child-of", "HAProxy session"),
            ("tag", "a"),
            ("", "b"),
        ],
        &[("span", "Frontend TCP request"), ("child-of", "Client session")],
        &[
            ("span", "Frontend HTTP request"),
            ("follows-from", "Frontend TCP request"),
            ("tag", "http.method"),
            ("", "GET"),
            ("tag", "http.url"),
            ("", "/index.html"),
            ("finish", "Frontend TCP request"),
        ],
        &[
            ("span", "Backend TCP request"),
            ("follows-from", "Frontend HTTP request"),
            ("finish", "Frontend HTTP request"),
        ],
        &[("span", "Backend HTTP request"), ("follows-from", "Backend TCP request"), ("finish", "Backend TCP request")],
        &[("span", "Server session"), ("child-of", "HAProxy session"), ("finish", "Backend HTTP request")],
        &[("span", "TCP response"), ("child-of", "Server session")],
        &[("span", "HTTP response"), ("follows-from", "TCP response"), ("finish", "TCP response"), ("finish", "*")],
    ];
    let step = |step: &&[(&str, &str)]| {
        let args: Vec<_> = step.iter().map(|(key, value)| (*key, Value::from(*value))).collect();
        payload(id, &args)
    };
    steps.iter().map(step).collect()
}
