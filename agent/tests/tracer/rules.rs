//! Sampling rules.

use spoa_otel::tracer::{Sampler, SamplingRule};

use crate::message;
use crate::support::{Agent, var};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn agent(rules: &[&str], sampler: &str) -> Agent {
    Agent::with(|config| {
        config.sampling_rules = rules.iter().map(|rule| rule.parse::<SamplingRule>().unwrap()).collect();
        config.sampler = Sampler::new(Some(sampler), None).unwrap();
    })
}

/// Is a request for this path sampled?
fn sampled(agent: &Agent, id: i64, service: &str, path: &str, ms: u64) -> bool {
    let message = message!(
        "otel:a",
        "id" = id,
        "service" = service,
        "span" = "A",
        "tag" = "url.path",
        "" = path,
        "inject" = "A",
        "finish" = "A"
    );
    let told = var(&agent.notify(ms, &[message]), "sampled") == "true";
    assert_eq!(agent.take().names().len(), usize::from(told));
    told
}

fn counts(agent: &Agent) -> Vec<(String, u64, u64)> {
    agent.tracer.sampling_stats().into_iter().map(|s| (s.decided_by, s.sampled, s.unsampled)).collect()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let agent = agent(&["path=/healthz,ratio=0", "service=shop-*,ratio=1"], "parentbased_always_off");
    assert!(!sampled(&agent, 1, "shop-1", "/healthz", 0));
    assert!(sampled(&agent, 2, "shop-1", "/", 0));
    assert!(!sampled(&agent, 3, "other", "/", 0));
    let (mut rules, mut rest) = (counts(&agent), Vec::new());
    rest.extend(rules.drain(2..));
    assert_eq!(rules, [("path=/healthz,ratio=0".to_owned(), 0, 1), ("service=shop-*,ratio=1".to_owned(), 1, 0)]);
    assert_eq!(rest[..2], [("caller".to_owned(), 0, 0), ("sampler".to_owned(), 0, 1)]);
    let stats = agent.stats();
    assert_eq!((stats.traces_sampled, stats.traces_unsampled), (1, 2));
}

#[test]
fn a_rate_is_a_bound_in_time() {
    let agent = agent(&["path=/api/*,rate=3/s"], "always_on");
    let mut id = 0;
    let mut burst = |ms| {
        (0..10)
            .filter(|_| {
                id += 1;
                sampled(&agent, id, "shop", "/api/x/y", ms)
            })
            .count()
    };
    assert_eq!([0, 0, 400, 10_000].map(&mut burst), [3, 0, 1, 3]);
    assert!(sampled(&agent, 1000, "shop", "/", 10_000), "others do not count");
}

#[test]
fn the_path_may_be_known_only_when_the_trace_id_binds() {
    let agent = agent(&["path=/healthz,ratio=0"], "always_on");
    agent.notify(0, &[message!("otel:a", "id" = "1", "span" = "session")]);
    let message =
        message!("otel:b", "id" = "1", "span" = "request", "tag" = "http.url", "" = "/healthz?x", "inject" = "request");
    assert_eq!(var(&agent.notify(1, &[message]), "sampled"), "false");
    // Later attributes do not change it.
    agent.notify(2, &[message!("otel:c", "id" = "1", "span" = "request", "tag" = "url.path", "" = "/")]);
    agent.notify(3, &[message!("otel:d", "id" = "1", "finish" = "*")]);
    assert_eq!(agent.take().names(), [""; 0]);
}

#[test]
fn a_caller_is_respected_unless_the_rule_says_otherwise() {
    let rules = ["path=/off,ratio=0", "path=/on,ratio=1", "path=/never,ratio=0,parent=ignore"];
    let cases = [
        ("parentbased_always_on", "/off", SAMPLED, true),
        ("parentbased_always_on", "/on", UNSAMPLED, false),
        ("parentbased_always_on", "/never", SAMPLED, false),
        // A sampler that does not ask the caller leaves nothing to respect.
        ("always_on", "/off", SAMPLED, false),
        ("always_off", "/on", UNSAMPLED, true),
    ];
    for (sampler, path, traceparent, expected) in cases {
        let agent = agent(&rules, sampler);
        let message = message!(
            "otel:a",
            "id" = "1",
            "extract" = traceparent,
            "span" = "A",
            "tag" = "url.path",
            "" = path,
            "inject" = "A"
        );
        let vars = agent.notify(0, &[message]);
        assert_eq!(var(&vars, "sampled"), expected.to_string(), "{sampler} {path}");
        assert_eq!(&var(&vars, "traceparent")[53..], if expected { "01" } else { "00" });
    }
}

#[test]
fn what_an_implicit_inject_told_costs_one_token_and_stands() {
    let agent = agent(&["rate=1/s"], "always_off");
    let flag = |vars: &[_]| var(vars, "traceparent")[53..].to_owned();
    for step in 0..5 {
        let name = format!("span {step}");
        let vars = agent.notify(step, &[message!("opentracing:a", "id" = "1", "span" = name.as_str())]);
        assert_eq!(flag(&vars), "03");
    }
    assert_eq!(flag(&agent.notify(6, &[message!("opentracing:a", "id" = "2", "span" = "A")])), "02");
    agent.notify(7, &[message!("opentracing:b", "id" = "1", "finish" = "*")]);
    agent.notify(7, &[message!("opentracing:b", "id" = "2", "finish" = "*")]);
    assert_eq!(agent.take().names().len(), 5);
    assert_eq!(counts(&agent)[0], ("rate=1/s".to_owned(), 1, 1));
}

#[test]
fn spans_that_nobody_ends_are_decided_about_too() {
    let agent = agent(&["path=/off,ratio=0"], "always_on");
    for path in ["/off", "/on"] {
        agent.notify(0, &[message!("otel:a", "id" = path, "span" = path, "tag" = "url.path", "" = path)]);
    }
    agent.sweep(200_000);
    assert_eq!(agent.take().names(), ["/on"]);
}
