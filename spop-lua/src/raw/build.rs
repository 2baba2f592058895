//! The module's table, and the metatables of its userdata.

use std::ffi::{CStr, c_int};

use mlua::ffi;

use super::{Class, KEY_TYPE, METHODS};

/// Functions of a table or of a class: their names and what they do.
pub(crate) type Functions = &'static [(&'static CStr, ffi::lua_CFunction)];

/// The functions of a class.
pub(crate) struct ClassFunctions {
    pub(crate) class: Class,
    /// The metamethods. An `__index` among them finds `methods` first; without one they are the `__index`.
    pub(crate) meta: Functions,
    pub(crate) methods: Functions,
}

/// Pushes the module's table with `functions`, `constants`, and the table `status`; returns how many values that is.
///
/// # Safety
/// In a protected call of Lua with `state`; nothing to drop in the frames below Lua.
pub(crate) unsafe fn build(
    state: *mut ffi::lua_State,
    functions: &[Functions],
    classes: &[ClassFunctions],
    constants: &[(&CStr, u32)],
    statuses: &[(&CStr, u32)],
) -> c_int {
    // SAFETY: the caller's; 20 slots are free, and 8 + 7 + 2 are the most used.
    unsafe {
        let base = ffi::lua_gettop(state);
        for class in Class::ALL {
            ffi::lua_createtable(state, 0, 8);
            // What `getmetatable` gives instead of the metatable.
            ffi::lua_pushstring(state, class.name().as_ptr());
            ffi::lua_setfield(state, -2, c"__metatable".as_ptr());
            ffi::lua_pushstring(state, class.name().as_ptr());
            ffi::lua_setfield(state, -2, c"__name".as_ptr());
        }
        ffi::lua_pushstring(state, c"type".as_ptr());
        for class in classes {
            ffi::lua_createtable(state, 0, class.methods.len() as c_int);
            let methods = ffi::lua_gettop(state);
            set_functions(state, base, methods, methods, class.methods);
            let metatable = base + class.class as c_int;
            ffi::lua_pushvalue(state, methods);
            ffi::lua_setfield(state, metatable, c"__index".as_ptr());
            set_functions(state, base, methods, metatable, class.meta);
            ffi::lua_pop(state, 1);
        }
        ffi::lua_createtable(state, 0, 48);
        let module = ffi::lua_gettop(state);
        for functions in functions {
            set_functions(state, base, module, module, functions);
        }
        ffi::lua_pushstring(state, concat!("spop ", env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast());
        ffi::lua_setfield(state, module, c"_VERSION".as_ptr());
        set_numbers(state, module, constants);
        ffi::lua_createtable(state, 0, statuses.len() as c_int);
        set_numbers(state, module + 1, statuses);
        ffi::lua_setfield(state, module, c"status".as_ptr());
        1 // the table on top
    }
}

/// # Safety
/// As in [`build`].
unsafe fn set_numbers(state: *mut ffi::lua_State, table: c_int, numbers: &[(&CStr, u32)]) {
    for (name, number) in numbers {
        // SAFETY: the caller's. All numbers are small: flags, types and status codes.
        unsafe {
            ffi::lua_pushinteger(state, *number as ffi::lua_Integer);
            ffi::lua_setfield(state, table, name.as_ptr());
        }
    }
}

/// Puts functions into `table`, with the upvalues that `Stack` counts on: the metatables and the key from `base` on, and
/// `methods`.
///
/// # Safety
/// As in [`build`].
unsafe fn set_functions(state: *mut ffi::lua_State, base: c_int, methods: c_int, table: c_int, functions: Functions) {
    for (name, function) in functions {
        // SAFETY: the caller's.
        unsafe {
            for upvalue in 1..=KEY_TYPE {
                ffi::lua_pushvalue(state, base + upvalue);
            }
            ffi::lua_pushvalue(state, methods);
            ffi::lua_pushcclosure(state, *function, METHODS);
            ffi::lua_setfield(state, table, name.as_ptr());
        }
    }
}
