//! A runtime for HAProxy SPOE agents (SPOA) on tokio, and what `spoa-otel` is made of.
//!
//! - [`server`] is for any agent: give it a [`Handler`](server::Handler) and it speaks SPOP.
//! - [`tracing`]: from the messages of `spoe.cfg` to spans.
//! - [`export`]: from finished spans to a collector (OTLP), to the terminal, and to the page of recent traces.
//! - [`admin`]: what all of them count, whether they are ready, and the recent traces, over HTTP.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod addr;
pub mod admin;
pub mod duration;
pub mod export;
pub mod histogram;
mod http_server;
pub mod ratelimit;
pub mod server;
pub mod time;
pub mod tracing;
mod worker;

pub use http_server::{HttpSnapshot, HttpStats};
