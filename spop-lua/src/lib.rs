//! The Lua module `spop`: SPOP 2.0, the protocol between HAProxy's SPOE filter and its agents, for HAProxy's Lua and for
//! plain Lua. The README shows its use, `meta/spop.lua` describes the whole interface.
//!
//! What a peer sends never raises a Lua error: functions that read it return nil, a text and an SPOP status. A mistake of
//! the script raises an error.

#![warn(missing_docs)]
#![allow(unexpected_cfgs)] // spop_test_panic, which only the test of a panic sets
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod agent;
mod buffers;
mod client;
mod encode;
mod frame;
mod raw;
mod value;

use std::ffi::{CStr, c_int};

use mlua::ffi::lua_State;
use spop_core::{Flags, FrameType, Status};

/// Loads the module: what `require "spop"` calls.
///
/// # Safety
/// Only for Lua, in a protected call.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_spop(state: *mut lua_State) -> c_int {
    let functions = [
        value::FUNCTIONS,
        frame::FUNCTIONS,
        encode::FUNCTIONS,
        agent::FUNCTIONS,
        client::FUNCTIONS,
        #[cfg(spop_test_panic)]
        PANIC,
    ];
    let [frames, messages, args] = frame::CLASSES;
    let classes = [value::CLASS, frames, messages, args, agent::CLASS, client::CLASS];
    // SAFETY: the caller's; nothing here needs a drop, so an error of Lua (it ran out of memory) may jump over this frame.
    unsafe { raw::build(state, &functions, &classes, CONSTANTS, STATUSES) }
}

const CONSTANTS: &[(&CStr, u32)] = &[
    (c"UNSET", FrameType::UNSET.0 as u32),
    (c"HAPROXY_HELLO", FrameType::HAPROXY_HELLO.0 as u32),
    (c"HAPROXY_DISCONNECT", FrameType::HAPROXY_DISCONNECT.0 as u32),
    (c"NOTIFY", FrameType::NOTIFY.0 as u32),
    (c"AGENT_HELLO", FrameType::AGENT_HELLO.0 as u32),
    (c"AGENT_DISCONNECT", FrameType::AGENT_DISCONNECT.0 as u32),
    (c"ACK", FrameType::ACK.0 as u32),
    (c"FIN", Flags::FIN.0),
    (c"ABORT", Flags::ABORT.0),
];

/// The table `status`.
const STATUSES: &[(&CStr, u32)] = &[
    (c"NORMAL", Status::NORMAL.0),
    (c"IO_ERROR", Status::IO_ERROR.0),
    (c"TIMEOUT", Status::TIMEOUT.0),
    (c"FRAME_TOO_BIG", Status::FRAME_TOO_BIG.0),
    (c"INVALID_FRAME", Status::INVALID_FRAME.0),
    (c"NO_VERSION", Status::NO_VERSION.0),
    (c"NO_MAX_FRAME_SIZE", Status::NO_MAX_FRAME_SIZE.0),
    (c"NO_CAPABILITIES", Status::NO_CAPABILITIES.0),
    (c"UNSUPPORTED_VERSION", Status::UNSUPPORTED_VERSION.0),
    (c"BAD_MAX_FRAME_SIZE", Status::BAD_MAX_FRAME_SIZE.0),
    (c"NO_FRAGMENTATION", Status::NO_FRAGMENTATION.0),
    (c"INTERLACED_FRAMES", Status::INTERLACED_FRAMES.0),
    (c"FRAME_ID_NOT_FOUND", Status::FRAME_ID_NOT_FOUND.0),
    (c"RESOURCES", Status::RESOURCES.0),
    (c"UNKNOWN", Status::UNKNOWN.0),
];

/// For the test of `contain`, in no other build.
#[cfg(spop_test_panic)]
const PANIC: raw::Functions = &[(c"panic", raw::c_function!(panic))];

#[cfg(spop_test_panic)]
fn panic(_: &raw::Stack<'_>) -> raw::Outcome {
    raw::contain(|| std::panic::panic_any("on purpose"))
}
