//! HAProxy's log lines: each tells all about a request at its true end.
//!
//! A line carries, in structured data of its own (RFC 5424), the ids that the request's answer gave to HAProxy, or that
//! HAProxy made: nothing is kept in between.

mod config;
mod counters;
mod ended;
mod gaps;
mod lines;
pub mod listener;
mod outcome;
mod record;
mod request;
mod sink;
mod spans;
mod syslog;
mod times;
mod word;

pub use config::LineConfig;
pub use counters::LineStats;
pub use lines::Lines;
pub use sink::{LineSink, Sender};
