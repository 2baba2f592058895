//! SPOP 2.0, the protocol between HAProxy's SPOE filter and its agents (SPOA).
//!
//! - A **codec**: [`peek_len`] and [`Frame::decode`] for what arrives, with views that borrow the bytes; encoders
//!   ([`AckEncoder`] and its like) for what is sent, into `&mut [u8]`.
//! - The **state machines** of both sides without I/O: [`Agent`] (the server) and [`Client`] (HAProxy's part).
//! - A bounded [`Reassembler`] for fragmented NOTIFYs.
//!
//! The section numbers in this documentation are those of `SPOE.txt`, which comes with HAProxy.
//!
//! # Guarantees
//!
//! `no_std`, no allocation, no `unsafe`, no dependency. No input makes it panic: the tests link a binary whose panic
//! handler calls a symbol that does not exist. Work is bounded by the bytes given, memory by the caller's slices and by
//! the type (`Agent<OPEN>`).
//!
//! # Features
//!
//! None is on by default; the guarantees are those without them.
//!
//! - `heapless`: lists, owned messages and reassembly in containers of fixed capacity (module `heapless`). Needs Rust
//!   1.87.
//! - `bytes`: frames out of any `Buf`, owned without a copy, and into `BufMut` (module `bytes`). That crate allocates.
//!
//! # An agent over a byte pipe
//!
//! ```
//! use spop_core::{Agent, AgentConfig, AgentEvent, Scope, Value, MAX_TRANSMIT_LEN};
//! use std::io::{Read, Write};
//!
//! fn serve(mut pipe: impl Read + Write) -> std::io::Result<()> {
//!     let mut agent: Agent = Agent::new(AgentConfig::DEFAULT);
//!     let mut input = Vec::new();
//!     let mut reassembly = vec![0; 64 * 1024];
//!     let mut out = [0; 16 * 1024];
//!     loop {
//!         let mut used = 0;
//!         loop {
//!             // A protocol error queues the DISCONNECT that tells the peer.
//!             let (n, event) = agent.handle_input(&input[used..], &mut reassembly).unwrap_or((0, None));
//!             used += n;
//!             if let Some(AgentEvent::Notify(notify)) = event {
//!                 if let Ok(mut ack) = agent.ack(&mut out, notify.ticket) {
//!                     for message in notify.messages() {
//!                         if let Some(Value::Ipv4(ip)) = message.arg("ip") {
//!                             let score = ip.octets().map(i64::from).iter().sum::<i64>() % 101;
//!                             let _full = ack.set_var(Scope::Session, "ip_score", score);
//!                         }
//!                     }
//!                     let len = ack.finish();
//!                     pipe.write_all(&out[..len])?;
//!                 }
//!             }
//!             let mut sent = 0;
//!             while let Ok(Some(len)) = agent.poll_transmit(&mut out[..MAX_TRANSMIT_LEN]) {
//!                 pipe.write_all(&out[..len])?;
//!                 sent += len;
//!             }
//!             if n == 0 && sent == 0 {
//!                 break;
//!             }
//!         }
//!         input.drain(..used);
//!         let want = agent.want(&input).bytes();
//!         if want == 0 {
//!             return Ok(());
//!         }
//!         let have = input.len();
//!         input.resize(have + want, 0);
//!         match pipe.read(&mut input[have..])? {
//!             0 => return Ok(()),
//!             n => input.truncate(have + n),
//!         }
//!     }
//! }
//! # // A pipe that holds HAProxy's part and keeps the agent's.
//! # struct Pipe(std::io::Cursor<Vec<u8>>, Vec<u8>);
//! # impl Read for Pipe { fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> { self.0.read(b) } }
//! # impl Write for Pipe { fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.1.write(b) } fn flush(&mut self) -> std::io::Result<()> { Ok(()) } }
//! # let hello = b"\0\0\0\x4b\x01\0\0\0\x01\0\0\x12supported-versions\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08\x0apipelining";
//! # let notify = b"\0\0\0\x20\x03\0\0\0\x01\x05\x07\x0fcheck-client-ip\x01\x02ip\x06\xc0\0\x02\x11";
//! # let mut pipe = Pipe(std::io::Cursor::new([&hello[..], &notify[..]].concat()), Vec::new());
//! # serve(&mut pipe)?;
//! # assert!(pipe.1.ends_with(b"\x03\x01\x08ip_score\x04\x09"));
//! # Ok::<(), std::io::Error>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, unnameable_types, unreachable_pub, clippy::exhaustive_structs, clippy::use_self)]

#[cfg(feature = "bytes")]
pub mod bytes;
mod conn;
pub mod encoded_len;
mod error;
mod frame;
#[cfg(feature = "heapless")]
pub mod heapless;
mod kv;
#[doc(hidden)]
pub mod raw;
mod reader;
mod reassembly;
pub mod valid;
mod value;
pub mod varint;
mod writer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use conn::{
    AckError, Agent, AgentConfig, AgentEvent, AgentStats, Client, ClientConfig, ClientEvent, ClientStats, EngineId,
    MAX_TRANSMIT_LEN, Negotiated, Notify, NotifyError, ProtocolError, Ticket, Timer, Want,
};
pub use error::{DecodeError, DecodeReason, EncodeError, ParseError, Status};
pub use frame::{
    ACTION_SET_VAR, ACTION_UNSET_VAR, AckEncoder, Action, Actions, AgentHello, Capabilities, Disconnect,
    DisconnectEncoder, Flags, Frame, FrameEncoder, FrameId, FrameType, HaproxyHello, Header, HelloEncoder,
    MAX_HEADER_LEN, MIN_BODY_LEN, MIN_MAX_FRAME_SIZE, Message, Messages, NotifyEncoder, PREFIX_LEN, Scope, StreamId,
    Version, peek_len, supports_2_0,
};
pub use kv::{Args, Kv, KvList};
pub use reader::Reader;
pub use reassembly::{Reassembled, Reassembler};
pub use value::{Value, data_type};
pub use writer::Writer;
