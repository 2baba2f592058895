//! The stack of a call: arguments, results, tables, and userdata that are bytes.

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::marker::PhantomData;

use mlua::ffi;

use super::{Class, KEY_TYPE, METHODS, Misuse, Text};

/// What a Lua value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Absent,
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Userdata,
    Other,
}

/// The stack of one call. Positive positions are those of the arguments.
///
/// All takes `&self`: what is on the stack stays there. A body has at least 20 free slots beside its arguments
/// (`LUA_MINSTACK`); what may need more calls [`reserve`](Self::reserve).
pub(crate) struct Stack<'c> {
    pub(super) state: *mut ffi::lua_State,
    call: PhantomData<&'c ()>,
}

// SAFETY of all calls of `ffi` below: `self.state` is the state that runs this call, as the maker of the
// first `Stack` says, and the others come from it. A function that may raise (it allocates) is called with nothing to drop in the frames of this
// module. The other conditions stand where they are needed.
impl Stack<'_> {
    /// # Safety
    /// Only in a function that [`build`](super::build()) made, called by Lua with `state`; not used after its return.
    #[inline]
    pub(super) unsafe fn of_call(state: *mut ffi::lua_State) -> Self {
        Stack { state, call: PhantomData }
    }

    pub(crate) fn top(&self) -> c_int {
        // SAFETY: see above.
        unsafe { ffi::lua_gettop(self.state) }
    }

    /// Makes sure of room for `slots` more values.
    pub(crate) fn reserve(&self, slots: c_int) -> Result<(), Misuse> {
        // SAFETY: see above.
        match unsafe { ffi::lua_checkstack(self.state, slots) } {
            0 => Err(Misuse::plain("too many values for the Lua stack")),
            _ => Ok(()),
        }
    }

    /// Calls `f`, then takes off the stack what it pushed. `f` gets a stack of its own, so nothing that it borrows there
    /// can be in what it returns.
    #[inline]
    pub(crate) fn scoped<R>(&self, f: impl FnOnce(&Stack<'_>) -> R) -> R {
        let top = self.top();
        let result = f(&Stack { state: self.state, call: PhantomData });
        // SAFETY: see above; everything below `top` is as it was.
        unsafe { ffi::lua_settop(self.state, top) };
        result
    }

    #[inline]
    pub(crate) fn kind(&self, index: c_int) -> Kind {
        // SAFETY: see above.
        match unsafe { ffi::lua_type(self.state, index) } {
            ffi::LUA_TNONE => Kind::Absent,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TUSERDATA => Kind::Userdata,
            _ => Kind::Other,
        }
    }

    /// Lua's name for what is there.
    pub(crate) fn type_name(&self, index: c_int) -> &'static str {
        match self.kind(index) {
            Kind::Absent => "no value",
            Kind::Nil => "nil",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Table => "a table",
            Kind::Userdata => "a userdata",
            Kind::Other => "a function or thread",
        }
    }

    pub(crate) fn is_nothing(&self, index: c_int) -> bool {
        matches!(self.kind(index), Kind::Absent | Kind::Nil)
    }

    pub(crate) fn boolean(&self, index: c_int) -> bool {
        // SAFETY: see above.
        unsafe { ffi::lua_toboolean(self.state, index) != 0 }
    }

    /// The bytes of a string; numbers are not taken for strings.
    #[inline]
    pub(crate) fn bytes(&self, index: c_int) -> Option<&[u8]> {
        if self.kind(index) != Kind::String {
            return None;
        }
        let mut len = 0;
        // SAFETY: it is a string, so nothing is converted and the pointer is valid for `len` bytes while it is on the
        // stack, that is while `self` is borrowed.
        unsafe {
            let bytes = ffi::lua_tolstring(self.state, index, &mut len);
            Some(std::slice::from_raw_parts(bytes.cast::<u8>(), len))
        }
    }

    #[inline]
    pub(crate) fn string_argument(&self, index: c_int) -> Result<&[u8], Misuse> {
        self.bytes(index).ok_or_else(|| self.expected(index, "a string"))
    }

    #[cold]
    pub(crate) fn expected(&self, index: c_int, what: &str) -> Misuse {
        Misuse::argument(index, format_args!("{what} expected, got {}", self.type_name(index)))
    }

    /// A number that is an integer. LuaJIT's numbers are exact up to 2^53 only; beyond, this is `None`.
    #[inline]
    pub(crate) fn integer(&self, index: c_int) -> Option<i64> {
        if self.kind(index) != Kind::Number {
            return None;
        }
        #[cfg(not(feature = "luajit"))]
        {
            let mut is_integer = 0;
            // SAFETY: see above.
            let integer = unsafe { ffi::lua_tointegerx(self.state, index, &mut is_integer) };
            (is_integer != 0).then_some(integer)
        }
        #[cfg(feature = "luajit")]
        {
            // SAFETY: see above.
            let number = unsafe { ffi::lua_tonumber(self.state, index) };
            (number.trunc() == number && number.abs() <= MAX_EXACT as f64).then_some(number as i64)
        }
    }

    pub(crate) fn push_nil(&self) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub(crate) fn push_boolean(&self, value: bool) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushboolean(self.state, c_int::from(value)) }
    }

    /// Pushes an integer if a number of this Lua holds it exactly.
    #[inline]
    pub(crate) fn push_integer(&self, value: i64) -> bool {
        #[cfg(not(feature = "luajit"))]
        // SAFETY: see above.
        unsafe {
            ffi::lua_pushinteger(self.state, value);
            true
        }
        #[cfg(feature = "luajit")]
        {
            let exact = value.unsigned_abs() <= MAX_EXACT;
            if exact {
                // SAFETY: see above.
                unsafe { ffi::lua_pushnumber(self.state, value as f64) }
            }
            exact
        }
    }

    /// Pushes a count or a size, far from the bounds of exact numbers.
    pub(crate) fn push_count(&self, value: u64) {
        if !self.push_integer(i64::try_from(value).unwrap_or(i64::MAX)) {
            // SAFETY: see above.
            unsafe { ffi::lua_pushnumber(self.state, value as f64) }
        }
    }

    #[inline]
    pub(crate) fn push_bytes(&self, bytes: &[u8]) {
        // SAFETY: see above; Lua copies the bytes.
        unsafe {
            ffi::lua_pushlstring(self.state, bytes.as_ptr().cast(), bytes.len());
        }
    }

    pub(crate) fn push_text(&self, text: fmt::Arguments<'_>) {
        self.push_bytes(Text::new(text).as_bytes());
    }

    pub(crate) fn new_table(&self, array: usize, fields: usize) {
        // SAFETY: see above; the sizes are hints.
        unsafe { ffi::lua_createtable(self.state, array.min(4096) as c_int, fields as c_int) }
    }

    /// `table[position] = top`, and pops it: it lives on in the table, which is just below.
    #[inline]
    pub(crate) fn set_position(&self, position: usize) {
        // SAFETY: see above; the caller pushed a table, then the value.
        unsafe { ffi::lua_rawseti(self.state, -2, position as _) }
    }

    /// `table[name] = top`, and pops it: it lives on in the table, which is just below and has no metatable.
    pub(crate) fn set_field(&self, name: &CStr) {
        // SAFETY: see above.
        unsafe { ffi::lua_setfield(self.state, -2, name.as_ptr()) }
    }

    /// `table.type = top`, as [`set_field`](Self::set_field).
    pub(crate) fn set_type(&self) {
        // SAFETY: see above; upvalue KEY_TYPE is a string, inserted below the value.
        unsafe {
            ffi::lua_pushvalue(self.state, ffi::lua_upvalueindex(KEY_TYPE));
            ffi::lua_insert(self.state, -2);
            ffi::lua_rawset(self.state, -3);
        }
    }

    /// The number of positions of a table, without its metamethods.
    pub(crate) fn len(&self, table: c_int) -> usize {
        // SAFETY: see above.
        unsafe { ffi::lua_rawlen(self.state, table) }
    }

    /// Pushes `table[position]`, without metamethods.
    #[inline]
    pub(crate) fn get_position(&self, table: c_int, position: usize) {
        // SAFETY: see above; the callers know that it is a table.
        unsafe {
            ffi::lua_rawgeti(self.state, table, position as _);
        }
    }

    /// Pushes `table.type`, without metamethods.
    #[inline]
    pub(crate) fn get_type(&self, table: c_int) {
        // SAFETY: see above; `table` is a position from the bottom, so the push does not move it.
        unsafe {
            ffi::lua_pushvalue(self.state, ffi::lua_upvalueindex(KEY_TYPE));
            ffi::lua_rawget(self.state, table);
        }
    }

    /// Pushes `table[name]`, without metamethods. `table` is a position from the bottom.
    pub(crate) fn get_field(&self, table: c_int, name: &CStr) {
        // SAFETY: see above.
        unsafe {
            ffi::lua_pushstring(self.state, name.as_ptr());
            ffi::lua_rawget(self.state, table);
        }
    }

    /// Pushes memory that Lua owns: `len` zeros.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn scratch(&self, len: usize) -> &mut [u8] {
        // SAFETY: see above. New memory of `len` bytes, set before the slice is made, that nothing else points to; it is not
        // collected while it is on the stack, that is while `self` is borrowed.
        unsafe {
            let bytes = new_userdata(self.state, len).cast::<u8>();
            bytes.write_bytes(0, len);
            std::slice::from_raw_parts_mut(bytes, len)
        }
    }

    /// Calls `f` for each key and value of a table, without its metamethods. `f` must not change the table.
    pub(crate) fn each(
        &self,
        table: c_int,
        mut f: impl FnMut(&Stack<'_>, c_int, c_int) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        self.scoped(|outer| {
            outer.push_nil();
            let key = outer.top();
            // SAFETY: see above; the key on top is nil, or one that `lua_next` gave.
            while unsafe { ffi::lua_next(outer.state, table) } != 0 {
                f(&Stack { state: self.state, call: PhantomData }, key, key + 1)?;
                // SAFETY: see above.
                unsafe { ffi::lua_settop(outer.state, key) };
            }
            Ok(())
        })
    }

    /// In an `__index`: pushes the method that the second argument names; false if there is none.
    #[inline]
    pub(crate) fn push_method(&self) -> bool {
        // SAFETY: see above; upvalue METHODS is a table.
        unsafe {
            ffi::lua_pushvalue(self.state, 2);
            ffi::lua_rawget(self.state, ffi::lua_upvalueindex(METHODS));
            if ffi::lua_type(self.state, -1) != ffi::LUA_TNIL {
                return true;
            }
            ffi::lua_pop(self.state, 1);
            false
        }
    }

    #[inline]
    pub(super) fn is(&self, index: c_int, class: Class) -> bool {
        // SAFETY: see above; upvalue `class` is the metatable of that class, and scripts cannot reach it (`__metatable`).
        unsafe {
            if ffi::lua_type(self.state, index) != ffi::LUA_TUSERDATA || ffi::lua_getmetatable(self.state, index) == 0 {
                return false;
            }
            let same = ffi::lua_rawequal(self.state, -1, ffi::lua_upvalueindex(class as c_int)) != 0;
            ffi::lua_pop(self.state, 1);
            same
        }
    }

    /// The bytes of a userdata of one of the first four classes.
    #[inline]
    pub(crate) fn blob(&self, index: c_int, class: Class) -> Option<&[u8]> {
        if !self.is(index, class) {
            return None;
        }
        // SAFETY: a userdata of `rawlen` bytes, all written when it was made and never changed; it lives as long as it is
        // on the stack, that is while `self` is borrowed.
        unsafe {
            let bytes = ffi::lua_touserdata(self.state, index).cast::<u8>();
            Some(std::slice::from_raw_parts(bytes, ffi::lua_rawlen(self.state, index)))
        }
    }

    /// The bytes of the userdata that a method was called on.
    #[inline]
    pub(crate) fn this(&self, class: Class) -> Result<&[u8], Misuse> {
        let name = class.name();
        self.blob(1, class).ok_or_else(|| self.expected(1, name.to_str().unwrap_or_default()))
    }

    /// Pushes a new userdata with the bytes of `parts`, one after the other.
    #[inline]
    pub(crate) fn push_blob(&self, class: Class, parts: &[&[u8]]) {
        let len = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        // SAFETY: see above; the userdata has room for all parts. Its upvalue `class` is the metatable.
        unsafe {
            let mut to = new_userdata(self.state, len).cast::<u8>();
            for part in parts {
                std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
                to = to.add(part.len());
            }
            ffi::lua_pushvalue(self.state, ffi::lua_upvalueindex(class as c_int));
            ffi::lua_setmetatable(self.state, -2);
        }
    }
}

/// What a number of LuaJIT holds exactly, with everything below.
#[cfg(feature = "luajit")]
const MAX_EXACT: u64 = 1 << 53;

/// # Safety
/// Called by Lua with `state`; nothing to drop in the frames below Lua.
#[inline]
pub(super) unsafe fn new_userdata(state: *mut ffi::lua_State, len: usize) -> *mut c_void {
    #[cfg(feature = "lua54")]
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_newuserdatauv(state, len, 0)
    }
    #[cfg(not(feature = "lua54"))]
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_newuserdata(state, len)
    }
}
