//! The Lua stack, as far as this module uses it: all its `unsafe` is in this folder.
//!
//! A binding that wraps callbacks and tables costs several times the work that the hot functions do (the benchmark of this
//! folder's crate shows it), and cannot be relied on when Lua runs out of memory. So the functions of this module are plain C
//! functions over the declarations of Lua's API. What makes them sound:
//!
//! - A Lua error jumps over the Rust frames between the function that raises it and Lua. So no frame of this module that
//!   calls Lua owns anything that needs a drop: bodies hold borrowed slices, numbers and `Copy` errors. Misuse by the
//!   script is returned as a [`Misuse`] and raised by the outermost frame.
//! - A slice that Lua owns borrows the [`Stack`] it is on, and stays on it as long: values only come off at the end of
//!   [`Stack::scoped`], which nothing borrowed inside outlives. Lua's collector does not move objects.
//! - A panic does not reach Lua: what computes runs in [`contain`], and nothing in there calls Lua.

use std::ffi::{CStr, c_char, c_int};
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi;

mod build;
mod object;
mod stack;

pub(crate) use build::{ClassFunctions, Functions, build};
pub(crate) use object::Object;
pub(crate) use stack::{Kind, Stack};

/// The kinds of userdata, each by the position of its metatable among the upvalues of every function.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Class {
    Frame = 1,
    Message,
    Args,
    Typed,
    Agent,
    Client,
}

impl Class {
    pub(crate) const ALL: [Class; 6] =
        [Class::Frame, Class::Message, Class::Args, Class::Typed, Class::Agent, Class::Client];

    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Class::Frame => c"spop.frame",
            Class::Message => c"spop.message",
            Class::Args => c"spop.args",
            Class::Typed => c"spop.value",
            Class::Agent => c"spop.agent",
            Class::Client => c"spop.client",
        }
    }
}

/// A text of bounded length that needs no drop.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; Text::CAPACITY],
    len: u8,
}

impl Text {
    const CAPACITY: usize = 119;

    /// Longer texts are cut.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Self {
        let mut new = Text { bytes: [0; Text::CAPACITY], len: 0 };
        let _cut = new.write_fmt(text);
        new
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays 0 for C.
        let room = (Text::CAPACITY - 1).saturating_sub(usize::from(self.len));
        let taken = text.len().min(room);
        let at = usize::from(self.len);
        if let (Some(room), Some(part)) = (self.bytes.get_mut(at..at + taken), text.as_bytes().get(..taken)) {
            room.copy_from_slice(part);
            self.len += taken as u8;
        }
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// A mistake of the script, to be raised as a Lua error.
#[derive(Clone, Copy)]
pub(crate) struct Misuse {
    /// The argument, 0 for none.
    argument: u8,
    /// The module panicked: what it worked on must not be used again.
    panicked: bool,
    text: Text,
}

impl Misuse {
    #[cold]
    pub(crate) fn argument(argument: c_int, text: fmt::Arguments<'_>) -> Self {
        Misuse { argument: argument as u8, panicked: false, text: Text::new(text) }
    }

    #[cold]
    pub(crate) fn plain(text: &str) -> Self {
        Misuse::argument(0, format_args!("{text}"))
    }
}

/// The number of results, or what to raise.
pub(crate) type Outcome = Result<c_int, Misuse>;

/// What a function of this module does.
pub(crate) type Body = fn(&Stack<'_>) -> Outcome;

/// Runs what computes, without any call of Lua in it. A panic becomes an error of the script's call.
#[inline]
pub(crate) fn contain<R>(compute: impl FnOnce() -> R) -> Result<R, Misuse> {
    catch_unwind(AssertUnwindSafe(compute)).map_err(|_payload| Misuse {
        argument: 0,
        panicked: true,
        text: Text::new(format_args!("the spop module panicked (its message is on standard error)")),
    })
}

/// Makes a C function of a [`Body`].
macro_rules! c_function {
    ($body:path) => {{
        unsafe extern "C-unwind" fn function(state: *mut mlua::ffi::lua_State) -> std::ffi::c_int {
            // SAFETY: Lua calls this with its state and the upvalues that `build` gave the function.
            unsafe { $crate::raw::run($body, state) }
        }
        function as mlua::ffi::lua_CFunction
    }};
}
pub(crate) use c_function;

/// Runs a body, then raises what it returned.
///
/// # Safety
/// Only for a function that [`build()`] made, called by Lua with `state`.
#[inline]
pub(crate) unsafe fn run(body: Body, state: *mut ffi::lua_State) -> c_int {
    // SAFETY: the caller's.
    match body(&unsafe { Stack::of_call(state) }) {
        Ok(results) => results,
        // SAFETY: this frame, and the C function around it, own nothing.
        Err(misuse) => unsafe { raise(state, &misuse) },
    }
}

/// # Safety
/// Called by Lua with `state`; does not return.
#[cold]
unsafe fn raise(state: *mut ffi::lua_State, misuse: &Misuse) -> c_int {
    let text = misuse.text.bytes.as_ptr().cast::<c_char>();
    // SAFETY: `text` ends with 0; Lua copies it before the jump.
    unsafe {
        if misuse.argument > 0 {
            return ffi::luaL_argerror(state, c_int::from(misuse.argument), text);
        }
        ffi::luaL_where(state, 1);
        ffi::lua_pushstring(state, text);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// The upvalue with the string "type", so that its look-up in a table allocates nothing.
const KEY_TYPE: c_int = Class::ALL.len() as c_int + 1;
/// The upvalue with the methods of a class, for its `__index`.
const METHODS: c_int = KEY_TYPE + 1;
