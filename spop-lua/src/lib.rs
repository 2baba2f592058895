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

use mlua::{Lua, Result, Table};
use spop_core::{Flags, FrameType, Status};

/// Loads the module: `luaopen_spop`.
#[mlua::lua_module(name = "spop")]
fn spop(lua: &Lua) -> Result<Table> {
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
    // SAFETY: mlua calls the closure in a protected call; what it borrows needs no drop.
    let module: Table = unsafe { lua.exec_raw((), |state| raw::build(state, &functions, &classes)) }?;

    module.set("_VERSION", concat!("spop ", env!("CARGO_PKG_VERSION")))?;
    for frame_type in [
        FrameType::UNSET,
        FrameType::HAPROXY_HELLO,
        FrameType::HAPROXY_DISCONNECT,
        FrameType::NOTIFY,
        FrameType::AGENT_HELLO,
        FrameType::AGENT_DISCONNECT,
        FrameType::ACK,
    ] {
        if let Some(name) = frame_type.name() {
            module.set(name.replace('-', "_"), frame_type.0)?;
        }
    }
    module.set("FIN", Flags::FIN.0)?;
    module.set("ABORT", Flags::ABORT.0)?;
    let status = lua.create_table()?;
    for (name, code) in [
        ("NORMAL", Status::NORMAL),
        ("IO_ERROR", Status::IO_ERROR),
        ("TIMEOUT", Status::TIMEOUT),
        ("FRAME_TOO_BIG", Status::FRAME_TOO_BIG),
        ("INVALID_FRAME", Status::INVALID_FRAME),
        ("NO_VERSION", Status::NO_VERSION),
        ("NO_MAX_FRAME_SIZE", Status::NO_MAX_FRAME_SIZE),
        ("NO_CAPABILITIES", Status::NO_CAPABILITIES),
        ("UNSUPPORTED_VERSION", Status::UNSUPPORTED_VERSION),
        ("BAD_MAX_FRAME_SIZE", Status::BAD_MAX_FRAME_SIZE),
        ("NO_FRAGMENTATION", Status::NO_FRAGMENTATION),
        ("INTERLACED_FRAMES", Status::INTERLACED_FRAMES),
        ("FRAME_ID_NOT_FOUND", Status::FRAME_ID_NOT_FOUND),
        ("RESOURCES", Status::RESOURCES),
        ("UNKNOWN", Status::UNKNOWN),
    ] {
        status.set(name, code.0)?;
    }
    module.set("status", status)?;
    Ok(module)
}

/// For the test of `contain`, in no other build.
#[cfg(spop_test_panic)]
const PANIC: raw::Functions = &[(c"panic", raw::c_function!(panic))];

#[cfg(spop_test_panic)]
fn panic(_: &raw::Stack<'_>) -> raw::Outcome {
    raw::contain(|| std::panic::panic_any("on purpose"))
}
