//! Who decides.

use super::*;
use CallersDecision::{Accept, Debug, Deferred, Deny};

fn sampling(rules: &[&str], sampler: &str) -> Sampling {
    let rules: Vec<SamplingRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Sampling::new(&rules, Sampler::new(Some(sampler), None).unwrap(), false)
}

fn request(caller: CallersDecision) -> Request<'static> {
    Request { service: "shop", trace_id: TraceId::from(7), caller, provisional: None }
}

fn decide(sampling: &Sampling, caller: CallersDecision, path: &str) -> (DecidedBy, bool) {
    let attribute = |name: &str| (name == URL_PATH).then(|| path.to_owned());
    let Verdict { by, sampled } = sampling.decide(&request(caller), attribute, Instant::now());
    (by, sampled)
}

#[test]
fn the_first_rule_that_matches() {
    let sampling = sampling(&["path=/a*,service=other,ratio=1", "path=/a*,ratio=0", "path=/ab,ratio=1"], "always_on");
    assert_eq!(decide(&sampling, Deferred, "/ab"), (DecidedBy::Rule(1), false));
    assert_eq!(decide(&sampling, Deferred, "/b"), (DecidedBy::Sampler, true));
}

#[test]
fn a_caller_is_respected_by_parent_based_samplers_only() {
    let rules = ["path=/never,ratio=0", "path=/always,ratio=1", "path=/force,ratio=0,parent=ignore"];
    let parent_based = sampling(&rules, "parentbased_always_off");
    assert_eq!(decide(&parent_based, Accept, "/never"), (DecidedBy::Caller, true));
    assert_eq!(decide(&parent_based, Deny, "/always"), (DecidedBy::Caller, false));
    assert_eq!(decide(&parent_based, Debug, "/other"), (DecidedBy::Caller, true));
    assert_eq!(decide(&parent_based, Debug, "/force"), (DecidedBy::Rule(2), false));
    assert_eq!(decide(&parent_based, Deferred, "/always"), (DecidedBy::Rule(1), true));
    assert_eq!(decide(&parent_based, Deferred, "/other"), (DecidedBy::Sampler, false));
    let plain = sampling(&rules, "always_on");
    assert_eq!(decide(&plain, Accept, "/never"), (DecidedBy::Rule(0), false));
    assert_eq!(decide(&plain, Deny, "/other"), (DecidedBy::Sampler, true));
}

#[test]
fn a_provisional_verdict_of_the_same_rule_stands() {
    let sampling = sampling(&["service=shop,rate=1/s"], "always_on");
    let now = Instant::now();
    let first = sampling.decide(&request(Deferred), |_| None, now);
    assert!(first.sampled);
    let again = Request { provisional: Some(first), ..request(Deferred) };
    assert_eq!(sampling.decide(&again, |_| None, now), first);
    assert!(!sampling.decide(&request(Deferred), |_| None, now).sampled, "the bucket is empty");
    let other = Request { provisional: Some(Verdict { by: DecidedBy::Sampler, sampled: true }), ..request(Deferred) };
    assert!(!sampling.decide(&other, |_| None, now).sampled);
}

#[test]
fn the_path_of_url_path_else_of_http_url() {
    let of = |attributes: &[(&str, &str)]| {
        path(|name| attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(of(&[(HTTP_URL, "/b"), (URL_PATH, "/a?not-a-query")]).as_deref(), Some("/a?not-a-query"));
    for (url, expected) in [
        ("/a/b?c=/d#e", Some("/a/b")),
        ("https://host:1/a/b?c", Some("/a/b")),
        ("http://host?c", Some("/")),
        ("*", Some("*")),
        ("not a url", None),
        ("", None),
    ] {
        assert_eq!(of(&[("other", "1"), (HTTP_URL, url)]).as_deref(), expected, "{url}");
    }
    assert_eq!(of(&[("other", "/a")]), None);
}

#[test]
fn decisions_are_counted_by_who_made_them() {
    let sampling = sampling(&["path=/a,ratio=0"], "parentbased_always_on");
    for (caller, path) in [(Deferred, "/a"), (Deferred, "/a"), (Deny, "/a"), (Accept, "/"), (Deferred, "/")] {
        let attribute = |name: &str| (name == URL_PATH).then(|| path.to_owned());
        sampling.count(sampling.decide(&request(caller), attribute, Instant::now()));
    }
    let disabled = Sampling::new(&[], Sampler::default(), true);
    disabled.count(disabled.decide(&request(Accept), |_| None, Instant::now()));
    let stats: Vec<_> = sampling.stats().into_iter().chain(disabled.stats()).collect();
    let lines: Vec<_> = stats.iter().map(|s| (s.decided_by.as_str(), s.sampled, s.unsampled)).collect();
    assert_eq!(
        lines,
        [
            ("path=/a,ratio=0", 0, 2),
            ("caller", 1, 1),
            ("sampler", 1, 0),
            ("disabled", 0, 0),
            ("caller", 0, 0),
            ("sampler", 0, 0),
            ("disabled", 0, 1),
        ]
    );
}
