//! A tokio runtime for HAProxy SPOE agents (SPOA).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod addr;
pub mod descriptors;
#[cfg(feature = "clap")]
pub mod duration;
pub mod foreign;
pub mod histogram;
pub mod ratelimit;
pub mod server;
#[cfg(feature = "clap")]
pub mod size;
pub mod time;
