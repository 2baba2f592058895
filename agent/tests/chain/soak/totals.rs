//! What an agent counts.

use std::ops::{Add, Sub};

use crate::scrape::Metrics;

macro_rules! totals {
    ($($name:ident)*) => {
        /// Signed: what one phase counted may be what an ended process had counted, less what it had counted before.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals { $(pub $name: i64,)* }

        impl Add for Totals {
            type Output = Totals;
            fn add(self, other: Totals) -> Totals { Totals { $($name: self.$name + other.$name,)* } }
        }

        impl Sub for Totals {
            type Output = Totals;
            fn sub(self, other: Totals) -> Totals { Totals { $($name: self.$name - other.$name,)* } }
        }
    };
}

totals! {
    lines outcomes completed traced missing not_taken sources
    started ended open sampled unsampled submitted exported dropped queued
    reads unread
}

impl Totals {
    pub fn of(metrics: &Metrics) -> Self {
        let get = |series: &str| metrics.get(series) as i64;
        let sum = |family: &str| metrics.sum(family, "") as i64;
        let otlp = |family: &str| metrics.sum(family, "exporter=\"otlp\"") as i64;
        Totals {
            lines: get("log_lines_total{result=\"ours\"}"),
            outcomes: sum("log_requests_total"),
            completed: get("log_requests_total{outcome=\"completed\"}"),
            traced: get("log_requests_total{outcome=\"traced\"}"),
            missing: get("log_lines_missing"),
            not_taken: sum("log_lines_not_taken_total"),
            sources: get("log_sources") + get("log_sources_forgotten_total"),
            started: get("spans_started_total"),
            ended: sum("spans_ended_total"),
            open: get("spans_open"),
            sampled: get("spans_sampled_total"),
            unsampled: get("spans_unsampled_total"),
            submitted: otlp("export_spans_submitted_total"),
            exported: otlp("export_spans_exported_total"),
            dropped: otlp("export_spans_dropped_total"),
            queued: otlp("export_queue_spans"),
            reads: get("config_reloads_total{result=\"ok\"}"),
            unread: get("config_reloads_total{result=\"failed\"}"),
        }
    }

    /// The equations of agent/docs/metrics.md, at the end: nothing is open, nothing waits.
    pub fn adds_up(&self) -> bool {
        (self.open, self.queued, self.unsampled) == (0, 0, 0)
            && self.started == self.ended
            && self.ended == self.sampled
            && self.sampled == self.submitted
            && self.submitted == self.exported + self.dropped
    }
}
