//! Rust objects behind userdata.

use std::ffi::c_int;

use mlua::ffi;

use super::stack::new_userdata;
use super::{Class, Misuse, Outcome, Stack};

/// A Rust object behind a userdata.
pub(crate) trait Object: Sized {
    const CLASS: Class;
}

struct Slot<T> {
    value: T,
    in_use: bool,
}

// SAFETY of the calls of `ffi`: as in `stack`.
impl Stack<'_> {
    /// Pushes a new object. `make` is called when nothing can be raised any more.
    pub(crate) fn push_object<T: Object>(&self, make: impl FnOnce() -> T + Copy) {
        // SAFETY: as in `stack`. Until the pointer is written the userdata has no metatable, so no `__gc` sees it; the layout
        // of a pointer is what `object` and `collect` read.
        unsafe {
            let memory = new_userdata(self.state, size_of::<*mut Slot<T>>()).cast::<*mut Slot<T>>();
            memory.write(Box::into_raw(Box::new(Slot { value: make(), in_use: false })));
            ffi::lua_pushvalue(self.state, ffi::lua_upvalueindex(T::CLASS as c_int));
            ffi::lua_setmetatable(self.state, -2);
        }
    }

    /// Calls `f` with the object that a method was called on. The object is marked while it is in use: the collector may
    /// run a script's finalizer in between, and that may call methods of the same object. If Lua raises an error inside
    /// (it ran out of memory), or the module panics, the mark stays.
    #[inline]
    pub(crate) fn with_this<T: Object>(&self, f: impl FnOnce(&mut T) -> Outcome) -> Outcome {
        if !self.is(1, T::CLASS) {
            return Err(self.expected(1, T::CLASS.name().to_str().unwrap_or_default()));
        }
        // SAFETY: the class says that the userdata holds the pointer of `push_object`, or null after `collect`. It is on
        // the stack as the first argument for the whole call, so it is not collected. `in_use` keeps out a second `&mut`.
        let slot = unsafe {
            let slot = *ffi::lua_touserdata(self.state, 1).cast::<*mut Slot<T>>();
            if slot.is_null() || (*slot).in_use {
                return Err(Misuse::plain("this object cannot be used any more: an earlier call on it was cut short"));
            }
            &mut *slot
        };
        slot.in_use = true;
        let outcome = f(&mut slot.value);
        slot.in_use = matches!(outcome, Err(Misuse { panicked: true, .. }));
        outcome
    }

    /// In a `__gc`: drops the object. It may carry the mark of `with_this`, from a call that was cut short: an object that
    /// is really in use is on the stack, so it is not collected. (A script that takes `__gc` out of the metatable with the
    /// debug library can break this, as it can break any module.)
    pub(crate) fn collect<T: Object>(&self) -> Outcome {
        if self.is(1, T::CLASS) {
            // SAFETY: as in `with_this`; the pointer is dropped once, since it becomes null.
            unsafe {
                let memory = ffi::lua_touserdata(self.state, 1).cast::<*mut Slot<T>>();
                if !(*memory).is_null() {
                    drop(Box::from_raw(memory.replace(std::ptr::null_mut())));
                }
            }
        }
        Ok(0)
    }
}
