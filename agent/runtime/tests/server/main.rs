//! The runtime, over real sockets.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod drain;
mod limits;
mod passed;
mod turns;
mod unix;
