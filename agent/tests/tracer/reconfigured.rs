//! Another configuration while ids are open: nothing is lost, counters go on.

use std::time::Duration;

use opentelemetry::trace::Status;
use spoa_otel::tracer::{Sampler, SamplingRule, TracerConfig};

use crate::message;
use crate::support::{Agent, var};

/// Carries on at this time with another configuration.
fn reconfigure(agent: &Agent, ms: u64, configure: impl FnOnce(&mut TracerConfig)) {
    let mut config = TracerConfig::default();
    configure(&mut config);
    agent.tracer.reconfigure(config, agent.timestamp(ms));
}

fn rules(rules: &[&str]) -> Vec<SamplingRule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

#[test]
fn open_spans_stay_open_and_new_times_hold() {
    let agent = Agent::new();
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "span" = "B")]);
    reconfigure(&agent, 10, |config| {
        config.idle_timeout = Duration::from_secs(5);
        config.max_spans_per_id = 3;
        config.default_service = "other".into();
    });
    assert_eq!(agent.take().names(), [""; 0]);
    assert_eq!(agent.tracer.next_deadline(), Some(agent.timestamp(5_000).clock));
    // It is the same id still, by the service that it had; a fourth span is too many now.
    agent.notify(20, &[message!("otel:a", "id" = "1", "span" = "C", "span" = "D", "finish" = "A")]);
    let spans = agent.take();
    assert_eq!(spans.one().service.as_ref(), "haproxy");
    assert_eq!(agent.stats().spans_refused, 1);
    agent.sweep(5_020);
    assert_eq!(agent.take().names(), ["B", "C"]);
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_ended(), stats.spans_exported), (3, 3, 3));
}

#[test]
fn a_decision_stands_and_the_next_one_is_by_the_new_sampler() {
    let agent = Agent::with(|config| config.sampler = Sampler::new(Some("always_off"), None).unwrap());
    let sampled = |ms, id: &str, span: &str| {
        let vars = agent.notify(ms, &[message!("otel:a", "id" = id, "span" = span, "inject" = span)]);
        var(&vars, "sampled") == "true"
    };
    assert!(!sampled(0, "1", "A"));
    reconfigure(&agent, 1, |config| config.sampler = Sampler::new(Some("always_on"), None).unwrap());
    assert!(!sampled(2, "1", "B"), "told already");
    assert!(sampled(3, "2", "A"));
    agent.notify(4, &[message!("otel:a", "id" = "1", "finish" = "*"), message!("otel:a", "id" = "2", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["A"]);
    let stats = agent.stats();
    assert_eq!((stats.spans_exported, stats.spans_unsampled), (1, 2));
}

/// Also where its rule has another place now: the server knows the decision, before the id has its trace.
#[test]
fn what_a_rule_said_provisionally_is_that_rules_alone() {
    let agent = Agent::with(|config| config.sampling_rules = rules(&["path=/none,ratio=0", "rate=1/s"]));
    let begin = |ms, id: &str| {
        let vars = agent.notify(ms, &[message!("opentracing:a", "id" = id, "span" = "A")]);
        var(&vars, "traceparent").ends_with("-03")
    };
    assert!(begin(0, "1") && !begin(1, "2"), "the token is taken");
    reconfigure(&agent, 2, |config| config.sampling_rules = rules(&["rate=1/s", "ratio=1"]));
    agent.notify(3, &[message!("otel:a", "id" = "1", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["A"], "as was said, and no second token");
    // Another rule in that place decides anew.
    reconfigure(&agent, 4, |config| config.sampling_rules = rules(&["ratio=1"]));
    agent.notify(5, &[message!("otel:a", "id" = "2", "finish" = "*")]);
    assert_eq!(agent.take().names(), ["A"]);
    let by = agent.tracer.sampling_stats();
    let of = |name: &str| by.iter().find(|by| by.decided_by == name).map(|by| (by.sampled, by.unsampled));
    assert_eq!((of("ratio=1"), of("former rules")), (Some((1, 0)), Some((1, 0))), "{by:?}");
}

/// Also of what comes after nothing else is sampled: half a span would be worse than none.
#[test]
fn what_is_sampled_is_recorded_to_its_end() {
    for disabled in [false, true] {
        let agent = Agent::new();
        agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "inject" = "A")]);
        reconfigure(&agent, 1, |config| {
            config.disabled = disabled;
            config.sampler = Sampler::new(Some("always_off"), None).unwrap();
        });
        let rest = message!("otel:a", "id" = "1", "span" = "A", "tag" = "a", "" = "b", "status" = 503, "finish" = "A");
        agent.notify(2, &[rest]);
        let spans = agent.take();
        let span = &spans.one().data;
        assert_eq!((span.attributes.len(), &span.status), (1, &Status::error("")), "{disabled}");
    }
}

#[test]
fn counts_of_rules_go_on_and_those_of_rules_that_are_gone_stay_in_the_sum() {
    let agent = Agent::with(|config| config.sampling_rules = rules(&["path=/a,rate=1/s", "path=/b,ratio=1"]));
    let request = |ms, path: &str| {
        let id = format!("{path}{ms}");
        agent.notify(
            ms,
            &[message!("otel:a", "id" = &*id, "span" = "A", "tag" = "url.path", "" = path, "finish" = "A")],
        );
    };
    let counts = || {
        let stats = agent.tracer.sampling_stats().into_iter().filter(|by| by.sampled + by.unsampled > 0);
        stats.map(|by| (by.decided_by, by.sampled, by.unsampled)).collect::<Vec<_>>()
    };
    let by = |name: &str, sampled, unsampled| (name.to_owned(), sampled, unsampled);
    request(0, "/a");
    request(1, "/b");
    reconfigure(&agent, 2, |config| config.sampling_rules = rules(&["path=/c,ratio=0", "path=/a,rate=1/s"]));
    // What is spent of the rate is spent.
    request(3, "/a");
    request(4, "/b");
    request(5, "/c");
    let expected = [by("path=/c,ratio=0", 0, 1), by("path=/a,rate=1/s", 1, 1), by("sampler", 1, 0)];
    assert_eq!(counts(), [&expected[..], &[by("former rules", 1, 0)]].concat());
    for _ in 0..3 {
        reconfigure(&agent, 6, |_| ());
    }
    assert_eq!(counts(), [by("sampler", 1, 0), by("former rules", 2, 2)]);
    let stats = agent.stats();
    assert_eq!((stats.traces_sampled, stats.traces_unsampled), (3, 2));
}

#[test]
fn a_smaller_memory_is_kept_to_and_a_larger_one_used() {
    let agent = Agent::with(|config| config.max_memory = 3 << 20);
    let fill = |from: u64| {
        for n in from..from + 3_000 {
            let id = format!("id-{n}");
            agent.notify(n, &[message!("otel:a", "id" = &*id, "span" = &*id)]);
        }
    };
    fill(0);
    let before = agent.stats();
    assert!(before.open_ids == 3_000 && before.table_bytes > 1 << 20, "{before:?}");
    reconfigure(&agent, 3_000, |config| config.max_memory = 600_000);
    let after = agent.stats();
    assert!(after.table_bytes <= 600_000, "{after:?}");
    let ended = agent.take().names().len() as u64;
    assert!(ended > 1_000 && (after.spans_ended_evicted, after.open_spans) == (ended, 3_000 - ended), "{after:?}");
    fill(3_000);
    assert!(agent.stats().table_bytes <= 600_000);
    agent.take();
    reconfigure(&agent, 6_000, |config| config.max_memory = 9 << 20);
    fill(6_000);
    let stats = agent.stats();
    assert!(stats.open_ids > 3_000 && agent.take().names().is_empty(), "{stats:?}");
    assert_eq!(stats.spans_started, stats.spans_ended() + stats.open_spans);
}
