//! What `spoa-otel` is made of: the SPOE agent that turns HAProxy's events into OpenTelemetry spans.
//!
//! - [`tracer`]: from the messages of `spoe.cfg` to spans.
//! - [`mod@line`]: from HAProxy's log lines to spans.
//! - [`export`]: from finished spans to a collector (OTLP), to the terminal, and to the page of recent traces.
//! - [`red`]: from the same requests to metrics, sampled or not.
//! - [`passed`]: the sockets that systemd opened before the start.
//! - [`admin`]: what all of them count, whether they are ready, and the recent traces, over HTTP.
//!
//! The server that speaks SPOP is [`spop_agent`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
mod cut;
pub mod environment;
pub mod export;
mod heap;
mod hex;
mod http_server;
mod ipv4;
pub mod line;
mod list;
mod lossy;
mod metric;
mod named;
pub mod passed;
mod peer;
pub mod red;
pub mod reloads;
mod request_context;
mod resource;
mod semconv;
pub mod span;
pub mod tracer;
mod worker;

pub use http_server::credentials::Credentials;
pub use http_server::{HttpSnapshot, HttpStats};
