//! Finished spans on their way to the console, to collectors, and from other programs.

#[path = "../export_common/mod.rs"]
mod export_common;

mod console;
mod environment;
mod failures;
mod forwarded;
mod metrics;
mod otlp;
mod receiver;
mod replaced;
mod tls;
