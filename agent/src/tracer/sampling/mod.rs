//! Sampling: which traces are exported.
//!
//! The first of these decides: a rule of `--sample` that matches; the caller, if the sampler is parent-based; the
//! sampler. Where the caller's decision counts, only rules with `parent=ignore` come before it.

mod bucket;
mod rule;
mod sampler;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::Sampler as SdkSampler;

use super::propagation::CallersDecision;
use crate::semconv::{HTTP_URL, URL_PATH};
use bucket::TokenBucket;
use rule::Quota;

pub use rule::{SamplingRule, SamplingRuleError};
pub use sampler::{SUPPORTED_SAMPLERS, Sampler, SamplerError};

/// How many traces were sampled, and by whose decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplingStats {
    /// `caller`, `sampler`, `disabled` (by `OTEL_SDK_DISABLED`), a rule as it was written, or `former rules`.
    pub decided_by: String,
    /// Ids whose trace was sampled.
    pub sampled: u64,
    /// Ids whose trace was not sampled.
    pub unsampled: u64,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecidedBy {
    Disabled,
    Caller,
    /// The number of the rule.
    Rule(u32),
    Sampler,
}

/// A decision about a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    by: DecidedBy,
    pub(super) sampled: bool,
}

/// What is known of a trace that is to be decided about.
pub(super) struct Request<'a> {
    pub(super) service: &'a str,
    pub(super) trace_id: TraceId,
    pub(super) caller: CallersDecision,
    /// A decision that was told to the server, but was not final.
    pub(super) provisional: Option<Verdict>,
}

/// The rules and the sampler at work.
#[derive(Debug)]
pub(super) struct Sampling {
    disabled: bool,
    rules: Vec<Arc<Rule>>,
    /// The number of the next rule: what was decided provisionally knows its rule by its own one, also among others.
    next_number: u32,
    needs_path: bool,
    sampler: Sampler,
    by_disabled: Arc<Count>,
    by_caller: Arc<Count>,
    by_sampler: Arc<Count>,
    /// Those of rules that are gone, so that the sum stays right.
    by_former: Vec<Arc<Rule>>,
    /// Those of rules that are gone since before that.
    by_older: Count,
}

#[derive(Debug)]
struct Rule {
    number: u32,
    rule: SamplingRule,
    chooser: Chooser,
    count: Count,
}

#[derive(Debug)]
enum Chooser {
    Ratio(SdkSampler),
    Rate(TokenBucket),
}

#[derive(Debug, Default)]
struct Count {
    sampled: AtomicU64,
    unsampled: AtomicU64,
}

impl Count {
    fn get(&self) -> [u64; 2] {
        [&self.sampled, &self.unsampled].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Rule {
    fn new(number: u32, rule: &SamplingRule, epoch: Instant) -> Self {
        let chooser = match rule.quota {
            Quota::Ratio(ratio) => Chooser::Ratio(sampler::by_ratio(ratio)),
            Quota::PerSecond(rate) => Chooser::Rate(TokenBucket::new(rate, epoch)),
        };
        Rule { number, rule: rule.clone(), chooser, count: Count::default() }
    }
}

impl Sampling {
    pub(super) fn new(rules: &[SamplingRule], sampler: Sampler, disabled: bool) -> Self {
        let epoch = Instant::now();
        Sampling {
            disabled,
            needs_path: rules.iter().any(SamplingRule::needs_path),
            rules: (0..).zip(rules).map(|(number, rule)| Arc::new(Rule::new(number, rule, epoch))).collect(),
            next_number: rules.len() as u32,
            sampler,
            by_disabled: Arc::default(),
            by_caller: Arc::default(),
            by_sampler: Arc::default(),
            by_former: Vec::new(),
            by_older: Count::default(),
        }
    }

    /// The same with other rules and another sampler. Counts go on, and so do the rules that stay: their rate is no other.
    pub(super) fn with(&self, rules: &[SamplingRule], sampler: Sampler, disabled: bool) -> Self {
        let epoch = Instant::now();
        let (mut former, mut next_number) = (self.rules.clone(), self.next_number);
        let mut rule = |rule: &SamplingRule| match former.iter().position(|former| former.rule == *rule) {
            Some(at) => former.remove(at),
            None => {
                next_number += 1;
                Arc::new(Rule::new(next_number - 1, rule, epoch))
            }
        };
        let rules_now = rules.iter().map(&mut rule).collect();
        // Nobody counts for those any more that were gone before.
        let older = self.of_former();
        Sampling {
            disabled,
            needs_path: rules.iter().any(SamplingRule::needs_path),
            rules: rules_now,
            next_number,
            sampler,
            by_disabled: self.by_disabled.clone(),
            by_caller: self.by_caller.clone(),
            by_sampler: self.by_sampler.clone(),
            by_former: former,
            by_older: Count { sampled: older[0].into(), unsampled: older[1].into() },
        }
    }

    /// What rules decided that are gone.
    fn of_former(&self) -> [u64; 2] {
        let former = self.by_former.iter().map(|rule| rule.count.get());
        former.fold(self.by_older.get(), |[sampled, unsampled], count| [sampled + count[0], unsampled + count[1]])
    }

    /// True if nothing is sampled, whatever is known of it.
    pub(super) fn is_never(&self) -> bool {
        self.disabled || (self.rules.is_empty() && self.sampler.is_never())
    }

    /// True if a decision may depend on attributes.
    pub(super) fn needs_path(&self) -> bool {
        self.needs_path
    }

    /// Decides. `attribute`: the first of this name of the trace's spans, as far as they are known.
    pub(super) fn decide(
        &self,
        request: &Request<'_>,
        attribute: impl Fn(&str) -> Option<String>,
        now: Instant,
    ) -> Verdict {
        if self.disabled {
            return Verdict { by: DecidedBy::Disabled, sampled: false };
        }
        let callers = request.caller.sampled().filter(|_| self.sampler.is_parent_based());
        let path = if self.needs_path { path(attribute) } else { None };
        let matching = self.rules.iter().find(|rule| {
            let rule = &rule.rule;
            (callers.is_none() || rule.ignores_parent()) && rule.matches(request.service, path.as_deref())
        });
        if let Some(rule) = matching {
            let by = DecidedBy::Rule(rule.number);
            // What was told stands, and costs no second token.
            return request.provisional.filter(|verdict| verdict.by == by).unwrap_or_else(|| {
                let sampled = match &rule.chooser {
                    Chooser::Ratio(ratio) => sampler::decide(ratio, request.trace_id),
                    Chooser::Rate(bucket) => bucket.take(now),
                };
                Verdict { by, sampled }
            });
        }
        match callers {
            Some(sampled) => Verdict { by: DecidedBy::Caller, sampled },
            None => Verdict { by: DecidedBy::Sampler, sampled: self.sampler.decide(request.trace_id) },
        }
    }

    /// Counts a decision that is final.
    pub(super) fn count(&self, verdict: Verdict) {
        let count = match verdict.by {
            DecidedBy::Disabled => Some(&*self.by_disabled),
            DecidedBy::Caller => Some(&*self.by_caller),
            DecidedBy::Rule(number) => self.rules.iter().find(|rule| rule.number == number).map(|rule| &rule.count),
            DecidedBy::Sampler => Some(&*self.by_sampler),
        };
        if let Some(count) = count {
            let counter = if verdict.sampled { &count.sampled } else { &count.unsampled };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self) -> Vec<SamplingStats> {
        let stats =
            |decided_by: String, [sampled, unsampled]: [u64; 2]| SamplingStats { decided_by, sampled, unsampled };
        let rules = self.rules.iter().map(|rule| stats(rule.rule.to_string(), rule.count.get()));
        let rest = [("caller", &self.by_caller), ("sampler", &self.by_sampler), ("disabled", &self.by_disabled)];
        let rest = rest.map(|(name, count)| stats(name.to_owned(), count.get()));
        let former = Some(self.of_former()).filter(|count| *count != [0, 0]);
        let former = former.map(|count| stats("former rules".to_owned(), count));
        rules.chain(rest).chain(former).collect()
    }
}

/// The first `url.path`, else the path of the first `http.url`.
fn path(attribute: impl Fn(&str) -> Option<String>) -> Option<String> {
    attribute(URL_PATH).or_else(|| {
        let url: http::Uri = attribute(HTTP_URL)?.parse().ok()?;
        Some(url.path().to_owned())
    })
}

#[cfg(test)]
mod tests;
