//! Sampling: which traces are exported.
//!
//! The first of these decides: a rule of `--sample` that matches; the caller, if the sampler is parent-based; the
//! sampler. Where the caller's decision counts, only rules with `parent=ignore` come before it.

mod bucket;
mod rule;
mod sampler;

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
    /// `caller`, `sampler`, `disabled` (by `OTEL_SDK_DISABLED`), or a rule as it was written.
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
    rules: Vec<Rule>,
    needs_path: bool,
    sampler: Sampler,
    by_disabled: Count,
    by_caller: Count,
    by_sampler: Count,
}

#[derive(Debug)]
struct Rule {
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

impl Sampling {
    pub(super) fn new(rules: &[SamplingRule], sampler: Sampler, disabled: bool) -> Self {
        let epoch = Instant::now();
        let rule = |rule: &SamplingRule| Rule {
            chooser: match rule.quota {
                Quota::Ratio(ratio) => Chooser::Ratio(sampler::by_ratio(ratio)),
                Quota::PerSecond(rate) => Chooser::Rate(TokenBucket::new(rate, epoch)),
            },
            rule: rule.clone(),
            count: Count::default(),
        };
        Sampling {
            disabled,
            needs_path: rules.iter().any(SamplingRule::needs_path),
            rules: rules.iter().map(rule).collect(),
            sampler,
            by_disabled: Count::default(),
            by_caller: Count::default(),
            by_sampler: Count::default(),
        }
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
        let matching = self.rules.iter().enumerate().find(|(_, Rule { rule, .. })| {
            (callers.is_none() || rule.ignores_parent()) && rule.matches(request.service, path.as_deref())
        });
        if let Some((at, rule)) = matching {
            let by = DecidedBy::Rule(at as u32);
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
            DecidedBy::Disabled => Some(&self.by_disabled),
            DecidedBy::Caller => Some(&self.by_caller),
            DecidedBy::Rule(at) => self.rules.get(at as usize).map(|rule| &rule.count),
            DecidedBy::Sampler => Some(&self.by_sampler),
        };
        if let Some(count) = count {
            let counter = if verdict.sampled { &count.sampled } else { &count.unsampled };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self) -> Vec<SamplingStats> {
        let stats = |decided_by: String, count: &Count| SamplingStats {
            decided_by,
            sampled: count.sampled.load(Ordering::Relaxed),
            unsampled: count.unsampled.load(Ordering::Relaxed),
        };
        let rules = self.rules.iter().map(|rule| stats(rule.rule.to_string(), &rule.count));
        let rest = [("caller", &self.by_caller), ("sampler", &self.by_sampler), ("disabled", &self.by_disabled)];
        rules.chain(rest.map(|(name, count)| stats(name.to_owned(), count))).collect()
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
