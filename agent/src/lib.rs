//! A runtime for HAProxy SPOE agents (SPOA) on tokio, and what `spoa-otel` is made of.
//!
//! [`server`] is for any agent: give it a [`Handler`](server::Handler) and it speaks SPOP.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod addr;
pub mod duration;
pub mod ratelimit;
pub mod server;
