//! Who is exported.

use spoa_otel::tracer::Sampler;

use crate::message;
use crate::support::{Agent, var};

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn agent(sampler: &str, arg: Option<&str>) -> Agent {
    Agent::with(|config| config.sampler = Sampler::new(Some(sampler), arg).unwrap())
}

#[test]
fn an_unsampled_caller_is_respected() {
    let agent = Agent::new();
    let vars = agent
        .notify(0, &[message!("otel:a", "id" = "1", "extract" = UNSAMPLED, "span" = "A", "tag" = "t", "inject" = "A")]);
    assert_eq!((var(&vars, "sampled"), &var(&vars, "traceparent")[53..]), ("false", "00"));
    agent.notify(
        1,
        &[message!("otel:b", "id" = "1", "span" = "B", "tag" = "t", "log" = "l", "event" = "e", "status" = "ok")],
    );
    agent.notify(2, &[message!("otel:c", "id" = "1", "finish" = "*")]);
    assert_eq!(agent.take().names(), [""; 0]);
    let stats = agent.stats();
    assert_eq!((stats.spans_started, stats.spans_finished, stats.spans_unsampled, stats.spans_exported), (2, 2, 2, 0));
    assert_eq!((stats.traces_sampled, stats.traces_unsampled), (0, 1));
    assert_eq!(stats.args_misplaced, 0);
}

#[test]
fn always_on_and_off_do_not_ask_the_caller() {
    for (sampler, traceparent, exported) in [("always_on", UNSAMPLED, 1), ("always_off", SAMPLED, 0)] {
        let agent = agent(sampler, None);
        let vars = agent.notify(
            0,
            &[message!("otel:a", "id" = "1", "extract" = traceparent, "span" = "A", "inject" = "A", "finish" = "A")],
        );
        assert_eq!(agent.take().names().len(), exported, "{sampler}");
        assert_eq!(var(&vars, "sampled"), (exported == 1).to_string());
        assert_eq!(agent.stats().spans_exported, exported as u64);
    }
}

#[test]
fn parentbased_always_off_exports_what_callers_ask_for() {
    let agent = agent("parentbased_always_off", None);
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A", "finish" = "A")]);
    agent.notify(1, &[message!("otel:a", "id" = "2", "extract" = SAMPLED, "span" = "B", "finish" = "B")]);
    assert_eq!(agent.take().names(), ["B"]);
}

#[test]
fn the_ratio_decides_once_per_id_by_its_trace_id() {
    let agent = agent("traceidratio", Some("0.5"));
    let mut flags = Vec::new();
    for id in 0..400 {
        // Provisional, then bound: the flag stays the same.
        let first = agent.notify(0, &[message!("opentracing:a", "id" = id, "span" = "A")]);
        let second = agent.notify(1, &[message!("opentracing:b", "id" = id, "span" = "B", "finish" = "A")]);
        let flag = |vars: &[_]| var(vars, "traceparent")[53..].to_owned();
        assert_eq!(flag(&first), flag(&second));
        flags.push(flag(&first) == "03");
        agent.notify(2, &[message!("opentracing:c", "id" = id, "finish" = "*")]);
        assert_eq!(agent.take().names().len(), if flag(&first) == "03" { 2 } else { 0 }, "all of a trace or nothing");
    }
    let sampled = flags.iter().filter(|sampled| **sampled).count();
    // Ten standard deviations.
    assert!((100..300).contains(&sampled), "{sampled} of 400");
    let stats = agent.stats();
    assert_eq!((stats.traces_sampled, stats.traces_unsampled), (sampled as u64, 400 - sampled as u64));
    assert_eq!((stats.spans_exported, stats.spans_unsampled), (2 * sampled as u64, 2 * (400 - sampled as u64)));
}

#[test]
fn unsampled_spans_that_nobody_ends_are_not_exported_either() {
    let agent = agent("always_off", None);
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "A")]);
    agent.sweep(120_000);
    assert_eq!(agent.take().names(), [""; 0]);
    let stats = agent.stats();
    assert_eq!((stats.spans_ended_idle, stats.spans_unsampled, stats.open_spans), (1, 1, 0));
}
