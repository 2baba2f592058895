//! The headers of the trace context in all formats: whatever came, what is told to the server is valid, and an agent
//! behind it reads the same out of it.

#![no_main]

#[path = "support/tracer.rs"]
mod tracer;

use libfuzzer_sys::fuzz_target;
use spoa_otel::tracer::{Propagators, Sampler, TracerConfig};
use spop_core::{NotifyEncoder, Value};
use tracer::{Fixture, Variable};

/// The propagators, the argument that extracts, and the variables that carry the same, in the order of its values.
const FORMATS: [(&str, &str, &[&str]); 4] = [
    ("tracecontext,baggage", "extract", &["traceparent", "tracestate", "baggage"]),
    ("b3", "extract-b3", &["b3"]),
    ("b3multi", "extract-b3multi", &["x_b3_traceid", "x_b3_spanid", "x_b3_sampled", "x_b3_flags"]),
    ("jaeger", "extract-jaeger", &["uber_trace_id"]),
];

// A byte that chooses the format, then a header a line.
fuzz_target!(|input: &[u8]| {
    let Some((selector, lines)) = input.split_first() else { return };
    let (propagators, key, names) = FORMATS[usize::from(*selector) % FORMATS.len()];
    let headers: Vec<_> = lines.split(|byte| *byte == b'\n').take(names.len()).collect();
    let told = ask(propagators, key, &headers, |_| ());

    let values: Vec<_> = names.iter().map(|name| value(&told, name).unwrap_or_default()).collect();
    let values: Vec<_> = values.iter().map(|text| text.as_bytes()).collect();
    let again = ask(propagators, key, &values, |fixture| assert_eq!(fixture.invalid_headers(), 0, "{told:?}"));
    // The span is another one, and so the variable that has its id alone or beside the rest.
    let same = |name: &str, text: String| match name {
        "traceparent" => [&text[..36], &text[52..]].concat(),
        "b3" => [&text[..33], &text[49..]].concat(),
        "uber_trace_id" => [&text[..33], &text[49..]].concat(),
        "x_b3_spanid" => String::new(),
        _ => text,
    };
    for name in names {
        let [told, again] = [&told, &again].map(|variables| value(variables, name).map(|text| same(name, text)));
        assert_eq!(told, again, "{name}");
    }
});

/// The variables of an answer that injects, after these headers.
fn ask(propagators: &str, key: &str, headers: &[&[u8]], check: impl Fn(&Fixture)) -> Vec<(String, Variable)> {
    let mut config = TracerConfig::default();
    config.propagators = Propagators::new(Some(propagators)).expect("propagators");
    config.sampler = Sampler::new(Some("parentbased_always_on"), None).expect("a sampler");
    let mut fixture = Fixture::new(config);
    let told = fixture.notify(&payload(key, headers), 16384);
    check(&fixture);
    fixture.shut_down();
    told
}

fn payload(key: &str, headers: &[&[u8]]) -> Vec<u8> {
    let len = headers.iter().map(|header| header.len()).sum::<usize>();
    let mut buf = vec![0; 256 + len];
    let mut notify = NotifyEncoder::payload(&mut buf);
    notify.message(b"otel:m").expect("room");
    let mut arg = |key: &str, text: &[u8]| notify.arg(key.as_bytes(), &Value::String(text)).expect("room");
    arg("id", b"a");
    arg("span", b"s");
    for (at, header) in headers.iter().enumerate() {
        arg(if at == 0 { key } else { "" }, header);
    }
    arg("inject", b"s");
    let len = notify.finish();
    buf.truncate(len);
    buf
}

fn value(variables: &[(String, Variable)], name: &str) -> Option<String> {
    variables.iter().find(|(of, _)| of == name).map(|(_, value)| match value {
        Variable::Text(text) => text.clone(),
        Variable::Bool(bool) => panic!("{name}: {bool}"),
    })
}
