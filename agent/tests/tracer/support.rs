//! A tracer with a time that the tests set, and a sink that keeps the spans.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::span_support::TestSpan;
use opentelemetry::Value as Attribute;
use opentelemetry::trace::{SpanId, TraceId};
use spoa_otel::span::FinishedSpan;
use spoa_otel::span::SpanSink;
use spoa_otel::tracer::{Clock, Tracer, TracerConfig, TracerStats};
use spop_agent::time::Timestamp;
use spop_core::valid::Messages;
use spop_core::{AckEncoder, Action, Frame, FrameId, NotifyEncoder, Scope, StreamId, Value};

/// A message with its arguments: `message!("otel:a", "id" = "1", "span" = "A", "tag" = "t", "" = 7)`.
#[macro_export]
macro_rules! message {
    ($name:expr $(, $key:literal = $value:expr)* $(,)?) => {
        $crate::support::Message {
            name: $name.as_ref(),
            args: vec![$(($key, spop_core::Value::from($value))),*],
        }
    };
}

pub(crate) struct Message<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: Vec<(&'a str, Value<'a>)>,
}

/// A variable that an ACK sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Var {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    /// Text, or `true` and `false`.
    pub(crate) value: String,
}

#[derive(Default)]
pub(crate) struct Collector(Mutex<Vec<FinishedSpan>>);

impl SpanSink for Collector {
    fn submit(&self, spans: &[FinishedSpan]) {
        self.0.lock().unwrap().extend_from_slice(spans);
    }
}

struct ManualClock(Mutex<SystemTime>);

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct Agent {
    pub(crate) tracer: Arc<Tracer>,
    sink: Arc<Collector>,
    clock: Arc<ManualClock>,
    started: Instant,
}

/// The time of day after so many milliseconds.
pub(crate) fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(ms)
}

/// The time of day of so many microseconds since the epoch.
pub(crate) fn micros(us: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(us)
}

impl Agent {
    pub(crate) fn new() -> Self {
        Agent::with(|_| ())
    }

    pub(crate) fn with(configure: impl FnOnce(&mut TracerConfig)) -> Self {
        let mut config = TracerConfig::default();
        configure(&mut config);
        let (sink, clock) = (Arc::new(Collector::default()), Arc::new(ManualClock(Mutex::new(at(0)))));
        let tracer = Arc::new(Tracer::with_clock(config, sink.clone(), clock.clone()));
        Agent { tracer, sink, clock, started: Instant::now() }
    }

    pub(crate) fn timestamp(&self, ms: u64) -> Timestamp {
        Timestamp { wall: at(ms), clock: self.started + Duration::from_millis(ms) }
    }

    /// Sends a NOTIFY after so many milliseconds; it is answered one millisecond later.
    pub(crate) fn notify(&self, ms: u64, messages: &[Message<'_>]) -> Vec<Var> {
        self.notify_with_room(ms, messages, 16 * 1024)
    }

    pub(crate) fn notify_with_room(&self, ms: u64, messages: &[Message<'_>], ack_size: u32) -> Vec<Var> {
        let mut payload = vec![0; 64 * 1024];
        let mut encoder = NotifyEncoder::payload(&mut payload);
        for message in messages {
            encoder.message(message.name.as_bytes()).unwrap();
            for (key, value) in &message.args {
                encoder.arg(key.as_bytes(), value).unwrap();
            }
        }
        let len = encoder.finish();
        self.notify_payload(ms, &payload[..len], ack_size)
    }

    pub(crate) fn notify_payload(&self, ms: u64, payload: &[u8], ack_size: u32) -> Vec<Var> {
        *self.clock.0.lock().unwrap() = at(ms + 1);
        let mut buf = vec![0; 32 * 1024];
        let mut ack = AckEncoder::new(&mut buf, ack_size, StreamId(1), FrameId(1)).unwrap();
        // Of what is malformed, as much as can be read.
        self.tracer.handle(Messages::kept(payload, payload.len()), self.timestamp(ms), &mut ack);
        let len = ack.finish();
        Frame::decode(&buf[4..len])
            .unwrap()
            .actions()
            .map(|action| match action.unwrap() {
                Action::SetVar { scope, name, value } => Var {
                    scope,
                    name: String::from_utf8(name.to_vec()).unwrap(),
                    value: match value {
                        Value::Bool(b) => b.to_string(),
                        other => other.as_str().unwrap().to_owned(),
                    },
                },
                Action::UnsetVar { .. } => panic!("the tracer unsets nothing"),
            })
            .collect()
    }

    pub(crate) fn sweep(&self, ms: u64) {
        self.tracer.sweep(self.timestamp(ms));
    }

    pub(crate) fn stats(&self) -> TracerStats {
        self.tracer.stats()
    }

    /// The spans that ended so far, which are taken out.
    pub(crate) fn take(&self) -> Spans {
        Spans(self.sink.0.lock().unwrap().drain(..).map(|span| TestSpan::of(&span)).collect())
    }
}

#[derive(Debug)]
pub(crate) struct Spans(Vec<TestSpan>);

impl Spans {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| &*span.data.name).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Seen<'_>> {
        self.0.iter().map(Seen)
    }

    /// The only span of this name.
    pub(crate) fn get(&self, name: &str) -> Seen<'_> {
        let named: Vec<_> = self.iter().filter(|span| span.data.name == name).collect();
        assert_eq!(named.len(), 1, "{name} in {:?}", self.names());
        named[0]
    }

    /// The only span.
    pub(crate) fn one(&self) -> Seen<'_> {
        assert_eq!(self.0.len(), 1, "{:?}", self.names());
        Seen(&self.0[0])
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Seen<'a>(&'a TestSpan);

impl std::ops::Deref for Seen<'_> {
    type Target = TestSpan;

    fn deref(&self) -> &TestSpan {
        self.0
    }
}

impl Seen<'_> {
    pub(crate) fn trace_id(&self) -> TraceId {
        self.data.span_context.trace_id()
    }

    pub(crate) fn id(&self) -> SpanId {
        self.data.span_context.span_id()
    }

    pub(crate) fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.data.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.clone())).collect()
    }

    /// Ids of the linked spans with their `opentracing.ref_type`; all links stay within the trace.
    pub(crate) fn links(&self) -> Vec<(SpanId, String)> {
        let link = |link: &opentelemetry::trace::Link| {
            assert_eq!(link.span_context.trace_id(), self.trace_id());
            assert_eq!(link.attributes.len(), 1);
            assert_eq!(link.attributes[0].key.as_str(), "opentracing.ref_type");
            (link.span_context.span_id(), link.attributes[0].value.to_string())
        };
        self.data.links.iter().map(link).collect()
    }

    /// `haproxy.span.end`
    pub(crate) fn end_cause(&self) -> Option<String> {
        let cause = self.data.attributes.iter().find(|kv| kv.key.as_str() == "haproxy.span.end");
        cause.map(|kv| kv.value.to_string())
    }
}

/// The value of a variable that must be there.
pub(crate) fn var<'a>(vars: &'a [Var], name: &str) -> &'a str {
    &vars.iter().find(|var| var.name == name).unwrap_or_else(|| panic!("{name} in {vars:?}")).value
}
