//! What the receiver counts beside its connections.

use crate::http_server::HttpSnapshot;
use crate::metric::metrics;

metrics! {
    /// The receiver's counters at one instant.
    snapshot ReceiverSnapshot, counters Counters
    and {
        /// Its connections.
        http: HttpSnapshot,
    };
    Counter "receiver_requests" "OTLP requests received, by what was made of them." by "result" {
        /// Valid requests.
        requests = "accepted",
        /// Requests answered with an error because of what they contain.
        rejected_requests = "invalid",
        /// Requests answered 503, to be sent again: too much was being handled, or the queue to the collector is full.
        busy_requests = "busy",
    }
    Counter "receiver_spans" "Spans received." {
        /// Spans in them.
        spans,
    }
    Counter "receiver_spans_rejected" "Spans reported to their sender as rejected." {
        /// Spans reported to their sender as rejected: more than a queue can ever hold.
        rejected_spans,
    }
}
