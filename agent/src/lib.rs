#![forbid(unsafe_code)]
#![warn(missing_docs)]
pub mod addr;
pub mod ratelimit;
pub mod server;
