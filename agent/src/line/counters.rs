//! What the lines count.

use crate::metric::metrics;

metrics! {
    /// What became of the lines since the start.
    snapshot LineStats, counters Counters;
    Counter "log_lines" "Lines of HAProxy's log, by what they are." by "result" {
        /// Lines with our element, whole and valid.
        ours = "ours",
        /// Messages of syslog without our element.
        foreign = "foreign",
        /// Lines that HAProxy cut, as a rule to nothing: `len` of its `log` directive is too small.
        cut = "cut",
        /// What is no message of syslog, or has an element of ours that is malformed.
        malformed = "malformed",
    }
    Counter "log_requests" "Lines with our element, by what became of their request." by "outcome" {
        /// Sampled: there is a SERVER span of it.
        traced = "traced",
        /// Not sampled, but failed: kept by `--keep-errors`.
        kept_error = "kept_error",
        /// Not sampled, but slow: kept by `--keep-slower-than`.
        kept_slow = "kept_slow",
        /// Not sampled.
        unsampled = "unsampled",
        /// Spans of messages were open under its id: ended by the line.
        completed = "completed",
        /// Spans of messages were open under its id and have ended before.
        ended_before = "ended_before",
        /// A request of which nobody knows: the filter left it out, or the agent was away.
        untraced = "untraced",
        /// The end of a connection without a request.
        no_request = "no_request",
    }
    Counter "log_spans" "Spans made of lines." {
        /// Spans made of lines.
        spans,
    }
    Gauge "log_lines_missing" "Lines that HAProxy numbered and that did not come, or cut or malformed, give or take its threads." {
        /// Lines that HAProxy numbered and that did not come, or cut or malformed, give or take its threads; of all its
        /// processes so far.
        missing,
    }
    Gauge "log_sources" "Frontends of processes whose lines are counted to see which are missing." {
        /// Frontends of HAProxy's processes whose lines are counted.
        sources,
    }
    Counter "log_sources_forgotten" "Those that were forgotten because there are too many." {
        /// Frontends of HAProxy's processes that were forgotten, because there are too many.
        sources_forgotten,
    }
}
