//! Tokio runtime for HAProxy SPOE agents (SPOA) and the parts of the tracing
//! agent `spoa-otel`.
//!
//! - [`export`]: from finished spans to a collector (OTLP) and to the terminal.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod export;
