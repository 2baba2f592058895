//! What the agent tells over HTTP.

pub mod traces;
