//! The tool as a user runs it, against real agents and agents that misbehave.

mod asynchronous;
mod call;
mod capture;
mod decode;
mod examples;
mod haproxy;
mod lint;
mod load;
#[path = "../../../runtime/tests/common/matrix.rs"]
mod matrix;
mod otel;
mod proxy;
mod readme;
mod relay;
mod serve;
mod support;
mod tls;
