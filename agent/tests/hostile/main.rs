//! Hostile peers: raw bytes against the running `spoa-otel` and `ip_reputation`. Every case has an outcome of its own;
//! after each the same process serves a good client at once.

#[path = "../../runtime/tests/common/authority.rs"]
mod authority;
#[path = "../../runtime/tests/common/certificates.rs"]
mod certificates;
#[path = "../chain/collector.rs"]
#[allow(dead_code)] // A part is for the chains.
mod collector;
#[path = "../../runtime/tests/common/mod.rs"]
mod common;
#[path = "../../runtime/tests/common/golden.rs"]
mod golden;
#[path = "../chain/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../runtime/tests/common/programs.rs"]
mod programs;
#[path = "../chain/spans.rs"]
#[allow(dead_code)]
mod spans;

mod agent;
mod case;
mod crowds;
mod delivery;
mod fairness;
mod files;
mod flags;
mod fragments;
mod hello;
mod idle_connections;
mod lengths;
mod log;
mod log_lines;
mod memory;
mod payloads;
mod raw;
mod slow;
mod stop;
mod tls;
mod vectors;
mod wire;
