//! The runtime, over real sockets.

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/authority.rs"]
mod authority;
#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/cpu.rs"]
mod cpu;

mod answers;
mod drain;
mod limits;
mod others;
mod passed;
mod tls;
mod turns;
mod unix;
