//! The tracer: messages, ids, spans, sampling.

use std::collections::BTreeMap;
use std::fmt;

use super::families::{Families, Labels};
use crate::tracer::{SamplingStats, TracerStats};

pub(super) fn encode(stats: TracerStats, sampling: Vec<SamplingStats>, families: &mut Families<'_>) -> fmt::Result {
    let f = families;
    f.metrics(&stats, TracerStats::METRICS)?;
    let mut decisions = BTreeMap::<String, (u64, u64)>::new();
    for SamplingStats { decided_by, sampled, unsampled } in sampling {
        // A rule can be written twice, a row cannot.
        let (all_sampled, all_unsampled) = decisions.entry(decided_by).or_default();
        *all_sampled += sampled;
        *all_unsampled += unsampled;
    }
    let rows = decisions.iter().flat_map(|(by, &(sampled, unsampled))| {
        let labels = |decision| -> Labels<'_, 2> { [("decided_by", by), ("decision", decision)] };
        [(labels("sampled"), sampled), (labels("unsampled"), unsampled)]
    });
    f.counters(
        "sampling_decisions",
        "Sampling decisions by who decided: caller, sampler, disabled, a rule, or former rules.",
        rows,
    )
}
