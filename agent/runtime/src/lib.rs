#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, unnameable_types, unreachable_pub, clippy::exhaustive_structs, clippy::use_self)]

pub mod addr;
mod answer;
mod buffer;
mod config;
mod connection;
pub mod descriptors;
mod drain;
#[cfg(feature = "clap")]
pub mod duration;
mod engine;
pub mod foreign;
mod frames;
mod gauge;
#[cfg(feature = "generate")]
pub mod generate;
mod handler;
pub mod histogram;
mod listener;
mod member;
mod notify;
mod outcome;
mod pulse;
pub mod ratelimit;
mod server;
mod session;
mod shared;
mod signals;
#[cfg(feature = "clap")]
pub mod size;
pub mod socket_file;
mod stats;
pub mod time;
pub mod tls;
pub mod watched;
mod write;

pub use addr::{Addr, ListenAddr};
#[cfg(feature = "clap")]
pub use config::AsyncOptions;
pub use config::{MAX_IN_FLIGHT, ServerConfig};
pub use handler::{Answer, AnswerFuture, AsyncHandler, Error, Handler, Result};
pub use listener::ListeningSocket;
pub use notify::{Ack, Connection, Notify, Request};
pub use pulse::{Beat, Pulse};
pub use server::{LiveConfig, Server};
pub use shared::OWN_BUFFERS;
pub use signals::{end_signal, stop_signal};
pub use spop_core;
pub use spop_core::valid::{Args, Message, Messages};
pub use spop_core::{Capabilities, EncodeError, FrameId, Kv, Negotiated, Scope, Status, StreamId, Value};
pub use stats::{HandlerDurations, ServerStats, Side, StatsSnapshot};
