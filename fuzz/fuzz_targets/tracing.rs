//! The tracing message language: any messages, at any time, against a table with narrow bounds.

#![no_main]

#[path = "support/tracer.rs"]
mod tracer;

use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spoa_otel::tracer::{Propagators, Sampler, TracerConfig};
use spop_core::{NotifyEncoder, Value};
use spop_fuzz::common::owned::Val;
use tracer::Fixture;

#[derive(Arbitrary, Debug)]
struct Setup {
    sampler: u8,
    rule: u8,
    propagators: u8,
    disabled: bool,
    max_memory: u8,
    max_spans: u8,
    max_remembered: u8,
    limits: [u8; 6],
}

#[derive(Arbitrary, Debug)]
enum Step {
    Notify { messages: Vec<Message>, room: u8 },
    Pass { seconds: u8, set_back: u8 },
    Sweep,
}

#[derive(Arbitrary, Debug)]
struct Message {
    name: Name,
    /// What begins almost every message.
    id: Option<u8>,
    service: Option<u8>,
    args: Vec<(Key, Argument)>,
}

#[derive(Arbitrary, Debug)]
enum Name {
    OpenTracing,
    Otel,
    Foreign,
}

#[derive(Arbitrary, Debug)]
enum Key {
    Unnamed,
    Id,
    Service,
    Span,
    ChildOf,
    FollowsFrom,
    Tag,
    Baggage,
    Log,
    Finish,
    Extract,
    ExtractB3,
    ExtractB3Multi,
    ExtractJaeger,
    ExtractTracestate,
    ExtractBaggage,
    Inject,
    Kind,
    Status,
    Event,
    Start,
    End,
    Unknown,
}

#[derive(Arbitrary, Debug)]
enum Argument {
    /// One of the words that mean something.
    Word(u8),
    /// A header, with one byte of it changed.
    Header(u8, Option<(u8, u8)>),
    /// Microseconds around now.
    Time(i32),
    Any(Val),
}

const WORDS: [&str; 16] = [
    "a", "b", "c", "*", "", "server", "client", "internal", "producer", "consumer", "ok", "error", "404", "500", "id",
    "\u{e9}",
];

const HEADERS: [&str; 14] = [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
    "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
    "key1=value1,key2=value2;property=1,key%203=a%20b",
    "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
    "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d",
    "0",
    "80f198ee56343ba864fe8b2a57d3eff7",
    "e457b5a2e4d86bd1",
    "1",
    "true",
    "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:3",
    "a3ce929d0e0e4736%3A00f067aa0ba902b7%3A0%3A1",
];

fuzz_target!(|input: (Setup, Vec<Step>)| {
    let (setup, steps) = input;
    let mut fixture = Fixture::new(config(&setup));
    for step in steps {
        match step {
            Step::Notify { messages, room } => drop(fixture.notify(&payload(&messages), 8 * usize::from(room))),
            Step::Pass { seconds, set_back } => {
                fixture.pass(Duration::from_secs(seconds.into()), Duration::from_secs(set_back.into()));
            }
            Step::Sweep => fixture.sweep(),
        }
    }
    fixture.shut_down();
});

fn config(setup: &Setup) -> TracerConfig {
    let mut config = TracerConfig::default();
    config.idle_timeout = Duration::from_secs(60);
    config.max_lifetime = Duration::from_secs(600);
    config.remember_ended = Duration::from_secs(30);
    config.max_memory = 1024 * (1 + usize::from(setup.max_memory));
    config.max_spans_per_id = usize::from(setup.max_spans % 16);
    config.max_remembered = usize::from(setup.max_remembered % 8);
    config.disabled = setup.disabled;
    let pick = |list: &[&'static str], at: u8| list[usize::from(at) % list.len()];
    let samplers =
        ["", "always_on", "always_off", "traceidratio", "parentbased_traceidratio", "parentbased_always_off"];
    config.sampler = Sampler::new(Some(pick(&samplers, setup.sampler)), Some("0.5")).expect("a sampler");
    let rules = ["", "service=s*,ratio=0", "path=/a*,rate=0.1/s", "ratio=1,parent=ignore"];
    config.sampling_rules.extend(pick(&rules, setup.rule).parse());
    let formats = [
        "tracecontext,baggage",
        "b3,tracecontext",
        "jaeger,b3multi,baggage",
        "none",
        "b3multi,b3,jaeger,tracecontext,baggage",
    ];
    config.propagators = Propagators::new(Some(pick(&formats, setup.propagators))).expect("propagators");
    let [span, events, links, event, link, len] = setup.limits.map(|limit| u32::from(limit % 8));
    config.span_limits.max_attributes_per_span = span;
    config.span_limits.max_events_per_span = events;
    config.span_limits.max_links_per_span = links;
    config.span_limits.max_attributes_per_event = event;
    config.span_limits.max_attributes_per_link = link;
    config.span_limits.max_value_len = (len > 0).then_some(len as usize);
    config
}

fn payload(messages: &[Message]) -> Vec<u8> {
    let mut buf = vec![0; 64 * 1024];
    let mut notify = NotifyEncoder::payload(&mut buf);
    for message in messages {
        if notify.message(message.name.text()).is_err() {
            break;
        }
        let mut arg = |key: &[u8], value: &Value<'_>| {
            let _no_more_than_fit = notify.arg(key, value);
        };
        if let Some(id) = message.id {
            arg(b"id", &Value::String(&[b'0' + id % 8]));
        }
        if let Some(service) = message.service {
            arg(b"service", &Value::String(&[b's', b'0' + service % 3]));
        }
        for (key, argument) in &message.args {
            argument.with(|value| arg(key.text(), value));
        }
    }
    let len = notify.finish();
    buf.truncate(len);
    buf
}

impl Name {
    fn text(&self) -> &'static [u8] {
        match self {
            Name::OpenTracing => b"opentracing:m",
            Name::Otel => b"otel:m",
            Name::Foreign => b"m",
        }
    }
}

impl Key {
    fn text(&self) -> &'static [u8] {
        match self {
            Key::Unnamed => b"",
            Key::Id => b"id",
            Key::Service => b"service",
            Key::Span => b"span",
            Key::ChildOf => b"child-of",
            Key::FollowsFrom => b"follows-from",
            Key::Tag => b"tag",
            Key::Baggage => b"baggage",
            Key::Log => b"log",
            Key::Finish => b"finish",
            Key::Extract => b"extract",
            Key::ExtractB3 => b"extract-b3",
            Key::ExtractB3Multi => b"extract-b3multi",
            Key::ExtractJaeger => b"extract-jaeger",
            Key::ExtractTracestate => b"extract-tracestate",
            Key::ExtractBaggage => b"extract-baggage",
            Key::Inject => b"inject",
            Key::Kind => b"kind",
            Key::Status => b"status",
            Key::Event => b"event",
            Key::Start => b"start",
            Key::End => b"end",
            Key::Unknown => b"unknown",
        }
    }
}

impl Argument {
    fn with(&self, mut write: impl FnMut(&Value<'_>)) {
        match self {
            Argument::Word(at) => write(&Value::from(WORDS[usize::from(*at) % WORDS.len()])),
            Argument::Header(at, change) => {
                let mut header = HEADERS[usize::from(*at) % HEADERS.len()].as_bytes().to_vec();
                if let Some((at, byte)) = change {
                    let at = usize::from(*at) % header.len();
                    header[at] = *byte;
                }
                write(&Value::String(&header));
            }
            Argument::Time(offset) => write(&Value::Int64(1_800_000_000_000_000 + i64::from(*offset))),
            Argument::Any(value) => write(&value.get()),
        }
    }
}
