//! The tool as a user runs it, against real agents and agents that misbehave.

mod call;
mod decode;
mod haproxy;
mod load;
mod otel;
mod support;
