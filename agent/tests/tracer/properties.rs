//! For arbitrary messages: no panic, all bounds hold, and every span that opened ends exactly once.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use spoa_otel::tracer::{Propagators, Sampler};
use spop_core::Value;

use crate::support::{Agent, Message};

const MEMORY: usize = 30_000;
const SPANS: usize = 6;
const REMEMBERED: usize = 4;

const KEYS: [&str; 26] = [
    "",
    "",
    "",
    "id",
    "service",
    "span",
    "span",
    "span",
    "child-of",
    "follows-from",
    "tag",
    "baggage",
    "log",
    "finish",
    "extract",
    "extract-b3",
    "extract-b3multi",
    "extract-jaeger",
    "extract-tracestate",
    "extract-baggage",
    "inject",
    "kind",
    "status",
    "event",
    "start",
    "end",
];

fn value() -> impl Strategy<Value = Value<'static>> {
    const NAMES: [&str; 15] =
        ["url.path", "A", "B", "C", "D", "E", "F", "G", "H", "*", "", "server", "error", "a=1,b=2", "k=v;p"];
    let contexts = [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d",
        "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1",
        "0",
    ];
    let long: &'static [u8] = &[b'x'; 2000];
    prop_oneof![
        12 => proptest::sample::select(&NAMES[..]).prop_map(Value::from),
        2 => proptest::sample::select(contexts.to_vec()).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::Int64),
        1 => any::<u64>().prop_map(Value::UInt64),
        1 => any::<[u8; 16]>().prop_map(|ip| Value::Ipv6(ip.into())),
        1 => Just(Value::String(long)),
        1 => Just(Value::Binary(b"\xff\x00")),
        1 => Just(Value::String(b"\xff,=;%\n")),
    ]
}

fn message() -> impl Strategy<Value = Message<'static>> {
    let name = proptest::sample::select(vec!["otel:a", "opentracing:b", "other"]);
    let key = proptest::sample::select(&KEYS[..]);
    (name, 0..8i64, prop::bool::weighted(0.9), vec((key, value()), 0..20)).prop_map(|(name, id, has_id, mut args)| {
        if has_id {
            args.insert(0, ("id", Value::Int64(id)));
        }
        Message { name, args }
    })
}

#[derive(Clone, Debug)]
enum Step {
    Notify(Vec<Message<'static>>, u32),
    Sweep,
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.name, self.args)
    }
}

impl Clone for Message<'_> {
    fn clone(&self) -> Self {
        Message { name: self.name, args: self.args.clone() }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (vec(message(), 1..4), 7u32..4000).prop_map(|(messages, room)| Step::Notify(messages, room)),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_span_ends_exactly_once(
        steps in vec((step(), 0..70_000u64), 1..40),
        sampler in proptest::sample::select(vec!["always_on", "parentbased_always_on", "always_off"]),
    ) {
        let agent = Agent::with(|config| {
            config.max_memory = MEMORY;
            config.max_spans_per_id = SPANS;
            config.max_remembered = REMEMBERED;
            config.sampler = Sampler::new(Some(sampler), None).unwrap();
            config.sampling_rules = vec!["path=A*,rate=1/s,parent=ignore".parse().unwrap(), "path=B,ratio=0.5".parse().unwrap()];
            config.propagators = Propagators::new(Some("jaeger,b3multi,b3,tracecontext,baggage")).unwrap();
        });
        let (mut now, mut seen, mut traces, mut exported) = (0, HashSet::new(), HashSet::new(), 0);
        for (step, pause) in steps {
            now += pause;
            match step {
                Step::Notify(messages, room) => {
                    agent.notify_with_room(now, &messages, room);
                }
                Step::Sweep => agent.sweep(now),
            }
            let stats = agent.stats();
            prop_assert!(stats.table_bytes as usize <= MEMORY, "{stats:?}");
            prop_assert!(stats.remembered_ids as usize <= REMEMBERED);
            prop_assert!(stats.open_spans <= stats.open_ids * SPANS as u64);
            let by_bounds = stats.spans_ended_idle + stats.spans_ended_limit + stats.spans_ended_evicted;
            let ended = stats.spans_finished + by_bounds;
            prop_assert_eq!(stats.spans_started, ended + stats.open_spans);
            prop_assert_eq!(ended, stats.spans_exported + stats.spans_unsampled);
            for span in agent.take().iter() {
                prop_assert!(seen.insert((span.trace_id(), span.id())), "exported twice");
                prop_assert!(span.data.span_context.is_valid() && span.data.span_context.is_sampled());
                prop_assert!(span.data.end_time > span.data.start_time);
                prop_assert!(span.data.attributes.len() <= 129);
                traces.insert(span.trace_id());
                exported += 1;
            }
            prop_assert_eq!(stats.spans_exported, exported);
        }
        agent.tracer.shut_down(agent.timestamp(now));
        let rest = agent.take();
        exported += rest.names().len() as u64;
        let stats = agent.stats();
        prop_assert_eq!(stats.spans_exported, exported);
        prop_assert_eq!(stats.spans_started, stats.spans_exported + stats.spans_unsampled);
        prop_assert_eq!((stats.table_bytes, stats.open_ids, stats.remembered_ids, stats.open_spans), (0, 0, 0, 0));
        prop_assert!(traces.iter().all(|trace_id| agent.tracer.open_spans(*trace_id) == 0));
        let by = agent.tracer.sampling_stats();
        let decided = (by.iter().map(|by| by.sampled).sum(), by.iter().map(|by| by.unsampled).sum());
        prop_assert_eq!((stats.traces_sampled, stats.traces_unsampled), decided);
        if decided.0 == 0 {
            prop_assert_eq!(exported, 0);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(payload in vec(any::<u8>(), 0..300), prefix in any::<bool>()) {
        let agent = Agent::new();
        let mut bytes = if prefix { b"\x06otel:a\xff\x02id\x08\x011\x04span\x08\x01A".to_vec() } else { Vec::new() };
        bytes.extend(payload);
        agent.notify_payload(0, &bytes, 4096);
        prop_assert!(agent.stats().spans_started >= u64::from(prefix));
        agent.tracer.shut_down(agent.timestamp(0));
        prop_assert_eq!(agent.stats().spans_started, agent.stats().spans_exported);
    }
}
