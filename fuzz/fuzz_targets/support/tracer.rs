//! A tracer with its clock and its sink, and what must hold after each of its calls.
#![allow(dead_code)] // every target uses a part

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spoa_otel::line::{LineConfig, Lines, Sender};
use spoa_otel::red::{Red, RedConfig};
use spoa_otel::span::FinishedSpan;
use spoa_otel::span::SpanSink;
use spoa_otel::tracer::{Clock, Tracer, TracerConfig};
use spop_agent::time::Timestamp;
use spop_core::{AckEncoder, FrameId, Messages, StreamId, Value as SpopValue};
use spop_fuzz::common::decode;

/// Seconds since the epoch at the beginning.
pub const NOW: u64 = 1_800_000_000;

/// Spans as they come.
#[derive(Default)]
struct Sink(Mutex<Vec<FinishedSpan>>);

impl SpanSink for Sink {
    fn submit(&self, spans: &[FinishedSpan]) {
        self.0.lock().unwrap().extend_from_slice(spans);
    }
}

struct Wall(Mutex<SystemTime>);

impl Clock for Wall {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

pub struct Fixture {
    tracer: Arc<Tracer>,
    config: TracerConfig,
    sink: Arc<Sink>,
    wall: Arc<Wall>,
    now: Timestamp,
    /// The ids of all exported spans.
    exported: HashSet<[u8; 8]>,
}

impl Fixture {
    pub fn new(config: TracerConfig) -> Self {
        let now = Timestamp { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), clock: Instant::now() };
        let (sink, wall) = (Arc::new(Sink::default()), Arc::new(Wall(Mutex::new(now.wall))));
        let tracer = Arc::new(Tracer::with_clock(config.clone(), sink.clone(), wall.clone()));
        Fixture { tracer, config, sink, wall, now, exported: HashSet::new() }
    }

    /// Takes a line of HAProxy's log, and gives the spans that came of it.
    pub fn line(&mut self, lines: &Lines, line: &[u8]) -> Vec<Span> {
        lines.take_at(Sender::Local, line, self.now);
        let spans: Vec<_> =
            self.sink.0.lock().unwrap().iter().map(|span| Span::decode(span.bytes()).expect("a span")).collect();
        self.check();
        spans
    }

    /// What takes them.
    pub fn lines(&self, config: LineConfig) -> Lines {
        Lines::new(config, self.tracer.clone(), Arc::new(Red::new(&RedConfig::default())))
    }

    /// Time passes; the time of day may be set back.
    pub fn pass(&mut self, time: Duration, set_back: Duration) {
        self.now.clock += time;
        self.now.wall = self.now.wall + time - set_back;
        *self.wall.0.lock().unwrap() = self.now.wall;
    }

    /// The variables of the ACK, of at most `room` bytes, to a NOTIFY with this payload, which is valid.
    pub fn notify(&mut self, payload: &[u8], room: usize) -> Vec<(String, Variable)> {
        let mut out = vec![0; room.max(32)];
        let mut ack = AckEncoder::new(&mut out, 16380, StreamId(1), FrameId(1)).unwrap();
        self.tracer.handle(Messages::new(payload).validate().unwrap(), self.now, &mut ack);
        let len = ack.finish();
        self.check();
        let variables = decode(&out[..len]).actions().map(|action| match action {
            Ok(spop_core::Action::SetVar { name, value, .. }) => {
                let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                assert!(name.len() <= 32 && name.iter().all(is_legal), "{name:?}");
                (String::from_utf8_lossy(name).into_owned(), Variable::from(value))
            }
            other => panic!("{other:?}"),
        });
        variables.collect()
    }

    /// Values of extract arguments that were present but not valid.
    pub fn invalid_headers(&self) -> u64 {
        self.tracer.stats().extracts_invalid
    }

    pub fn sweep(&mut self) {
        self.tracer.sweep(self.now);
        self.check();
        assert!(self.tracer.next_deadline().is_none_or(|at| at > self.now.clock), "something is left to sweep");
    }

    /// Nothing is left, and everything that was opened ended.
    pub fn shut_down(mut self) {
        self.tracer.shut_down(self.now);
        self.check();
        let stats = self.tracer.stats();
        assert_eq!((stats.open_ids, stats.open_spans, stats.remembered_ids, stats.table_bytes), (0, 0, 0, 0));
        assert_eq!(stats.spans_started, stats.spans_ended());
    }

    fn check(&mut self) {
        for finished in std::mem::take(&mut *self.sink.0.lock().unwrap()) {
            let span = Span::decode(finished.bytes()).expect("a span");
            assert_eq!(span.trace_id, finished.trace_id().to_bytes());
            assert!(!finished.origin().service().is_empty() && finished.held() > finished.bytes().len());
            let id = span.span_id.as_slice().try_into().expect("a span id");
            assert!(self.exported.insert(id), "exported twice: {span:?}");
            self.check_span(&span);
        }
        let stats = self.tracer.stats();
        assert_eq!(stats.spans_started, stats.spans_ended() + stats.open_spans, "{stats:?}");
        assert_eq!(stats.spans_ended(), stats.spans_exported + stats.spans_unsampled, "{stats:?}");
        assert_eq!(stats.spans_exported, self.exported.len() as u64);
        assert!(stats.table_bytes <= self.config.max_memory as u64, "{stats:?}");
        assert!(stats.remembered_ids <= self.config.max_remembered as u64, "{stats:?}");
        assert!(stats.open_spans <= stats.open_ids * self.config.max_spans_per_id as u64, "{stats:?}");
    }

    fn check_span(&self, span: &Span) {
        let limits = &self.config.span_limits;
        let bounded = |len: usize, max: u32| assert!(len <= max as usize, "{span:?}");
        assert!(span.start_time_unix_nano < span.end_time_unix_nano, "{span:?}");
        assert_ne!(span.parent_span_id, span.span_id, "{span:?}");
        assert!(!span.name.is_empty(), "{span:?}");
        // Why it ended is said beyond all limits.
        let is_ending = |attribute: &&KeyValue| attribute.key == "haproxy.span.end";
        let ending = span.attributes.iter().filter(is_ending).count();
        bounded(span.attributes.len() - ending, limits.max_attributes_per_span);
        bounded(span.events.len(), limits.max_events_per_span);
        bounded(span.links.len(), limits.max_links_per_span);
        span.events.iter().for_each(|event| bounded(event.attributes.len(), limits.max_attributes_per_event));
        span.links.iter().for_each(|link| bounded(link.attributes.len(), limits.max_attributes_per_link));
        let events = span.events.iter().flat_map(|event| &event.attributes);
        for attribute in span.attributes.iter().filter(|attribute| !is_ending(attribute)).chain(events) {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value");
            if let (Value::StringValue(text), Some(max)) = (value, limits.max_value_len) {
                assert!(text.chars().count() <= max, "{attribute:?}");
            }
        }
        let keys: HashSet<_> = span.attributes.iter().map(|attribute| &attribute.key).collect();
        assert_eq!(keys.len(), span.attributes.len(), "a name comes twice: {span:?}");
    }
}

/// The value of a variable.
#[derive(Clone, PartialEq, Debug)]
pub enum Variable {
    Text(String),
    Bool(bool),
}

impl From<SpopValue<'_>> for Variable {
    fn from(value: SpopValue<'_>) -> Self {
        match value {
            SpopValue::Bool(b) => Variable::Bool(b),
            text => Variable::Text(text.as_str().expect("UTF-8").to_owned()),
        }
    }
}
