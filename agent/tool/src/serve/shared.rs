//! What all connections share, and what is told of them at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spop_core::AgentConfig;

use super::rules::Rule;
use crate::say::say;
use crate::tap::Tap;

/// What all connections share.
pub(super) struct Shared {
    pub(super) rules: Vec<Rule>,
    pub(super) config: AgentConfig,
    pub(super) max_delayed: usize,
    pub(super) all: bool,
    pub(super) tap: Arc<Tap>,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) health_checks: AtomicU64,
    pub(super) notifies: AtomicU64,
    pub(super) acks: AtomicU64,
    pub(super) unfit: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) undelayed: AtomicU64,
}

impl Shared {
    pub(super) fn summary(&self) {
        let Counts { connections, refused, health_checks, notifies, acks, unfit, errors, undelayed } = &self.counts;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        say(format_args!(
            "{} connections ({} health checks), {} NOTIFYs, {} ACKs, {} messages without a rule, {} errors of the protocol",
            count(connections),
            count(health_checks),
            count(notifies),
            count(acks),
            count(unfit),
            count(errors)
        ));
        for (counter, what) in [
            (refused, "connections refused: --max-connections were open"),
            (undelayed, "ACKs without their delay: --max-delayed were waiting"),
        ] {
            if count(counter) > 0 {
                say(format_args!("{} {what}", count(counter)));
            }
        }
        for rule in &self.rules {
            say(format_args!("rule on {}: {} messages", rule.text, count(&rule.answered)));
        }
    }
}
