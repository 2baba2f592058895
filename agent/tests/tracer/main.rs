//! The tracer, from NOTIFY payloads to finished spans and the actions of the ACK.

mod bounds;
mod content;
mod formats;
mod language;
mod lean;
mod lines;
mod log_cases;
mod log_lines;
mod log_support;
mod propagation;
mod properties;
mod reconfigured;
mod reuse;
mod rules;
mod sampling;
mod sessions;
#[path = "../span_support/mod.rs"]
mod span_support;
mod support;
