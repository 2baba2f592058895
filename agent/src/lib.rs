//! Tokio runtime for HAProxy SPOE agents (SPOA) and the parts of the tracing agent `spoa-otel`.
//!
//! - [`tracing`]: from the messages of `spoe.cfg` to finished spans.
//! - [`export`]: what is finished.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod export;
pub mod ratelimit;
pub mod tracing;
