//! libspop: the C interface of `spop-core`, and nothing else. C programs include `spop.h`, which is made from this crate
//! and documents every function for them.
//!
//! # The rules that callers keep
//!
//! The `SAFETY` lines of this crate refer to them; the header tells them to C programmers:
//!
//! 1. A pointer is NULL, or points to a live, aligned object of its type; one with a length, to that many bytes.
//! 2. Memory that a call writes overlaps no other memory that the same call is given.
//! 3. What a view points to stays unchanged as long as the view is used.
//! 4. No object is used by two threads at the same time.
//! 5. An object is set up by its function (`..._init`, `..._begin`, `..._decode`) before others use it, and its private
//!    fields are left alone.
//! 6. From Rust, where the compiler may see through a call: memory that is given to be written is initialised.
//!
//! NULL, short buffers and lengths above half the address space are not covered by the rules: they give an error. So does
//! misaligned memory for an agent or client.
//!
//! Unwinding never reaches C: without the feature `std` a panic aborts, and the tests prove by linking that there is none;
//! with it, an `extern "C"` function aborts.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![allow(non_camel_case_types)] // the names of C
#![allow(clippy::missing_safety_doc)] // the rules above are those of every function

mod memory;
#[cfg(all(not(feature = "std"), not(test)))]
mod no_std;

// In the order of the header, which follows that of these lines; the empty ones keep rustfmt from sorting them.
mod error;

mod library;

mod frame;

mod value;

mod cursor;

mod payload;

mod writer;

mod message_writer;

mod event;

mod config;

mod agent;

mod client;

mod varint;

pub use agent::*;
pub use client::*;
pub use config::*;
pub use cursor::*;
pub use error::*;
pub use event::*;
pub use frame::*;
pub use library::*;
pub use memory::spop_bytes;
pub use message_writer::*;
pub use payload::*;
pub use value::*;
pub use varint::*;
pub use writer::*;
