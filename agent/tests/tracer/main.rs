//! The tracer, from NOTIFY payloads to finished spans and the actions of the ACK.

mod bounds;
mod content;
mod formats;
mod language;
mod propagation;
mod properties;
mod rules;
mod sampling;
mod sessions;
mod support;
