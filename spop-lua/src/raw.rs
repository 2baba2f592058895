//! The Lua stack, as far as this module uses it: all its `unsafe` is in this file.
//!
//! mlua's own callbacks and tables cost several times the work that the hot functions do (the benchmark shows it), so the
//! functions of this module are plain C functions. What makes them sound:
//!
//! - A Lua error jumps over the Rust frames between the function that raises it and Lua. So no frame of this module that
//!   calls Lua owns anything that needs a drop: bodies hold borrowed slices, numbers and `Copy` errors. Misuse by the
//!   script is returned as a [`Misuse`] and raised by the outermost frame.
//! - A slice that Lua owns borrows the [`Stack`] it is on, and stays on it as long: values only come off at the end of
//!   [`Stack::scoped`], which nothing borrowed inside outlives. Lua's collector does not move objects.
//! - A panic does not reach Lua: what computes runs in [`contain`], and nothing in there calls Lua.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};

use mlua::ffi;

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

/// The upvalue with the string "type", so that its look-up in a table allocates nothing.
const KEY_TYPE: c_int = Class::ALL.len() as c_int + 1;
/// The upvalue with the methods of a class, for its `__index`.
const METHODS: c_int = KEY_TYPE + 1;

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
        if taken == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
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
            // SAFETY: Lua calls this with its state and the upvalues that `Builder` gave the function.
            unsafe { $crate::raw::run($body, state) }
        }
        function as mlua::ffi::lua_CFunction
    }};
}
pub(crate) use c_function;

/// Runs a body, then raises what it returned.
///
/// # Safety
/// Only for a function that [`Builder`] made, called by Lua with `state`.
#[inline]
pub(crate) unsafe fn run(body: Body, state: *mut ffi::lua_State) -> c_int {
    match body(&Stack { state, call: PhantomData }) {
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

/// The stack of one call. Positive positions are those of the arguments.
///
/// All takes `&self`: what is on the stack stays there. A body has at least 20 free slots beside its arguments
/// (`LUA_MINSTACK`); what may need more calls [`reserve`](Self::reserve).
pub(crate) struct Stack<'c> {
    state: *mut ffi::lua_State,
    call: PhantomData<&'c ()>,
}

// SAFETY of all calls of `ffi` below: `self.state` is the state that runs this call, and `run` is the only maker of a
// `Stack` besides `Builder`. A function that may raise (it allocates) is called with nothing to drop in the frames of this
// module. The other conditions stand where they are needed.
impl Stack<'_> {
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
    fn is(&self, index: c_int, class: Class) -> bool {
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

    /// Pushes a new object. `make` is called when nothing can be raised any more.
    pub(crate) fn push_object<T: Object>(&self, make: impl FnOnce() -> T + Copy) {
        // SAFETY: see above. Until the pointer is written the userdata has no metatable, so no `__gc` sees it; the layout
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

    /// In a `__gc`: drops the object.
    pub(crate) fn collect<T: Object>(&self) -> Outcome {
        if self.is(1, T::CLASS) {
            // SAFETY: as in `with_this`; the pointer is dropped once, since it becomes null, and not while in use.
            unsafe {
                let memory = ffi::lua_touserdata(self.state, 1).cast::<*mut Slot<T>>();
                if !(*memory).is_null() && !(**memory).in_use {
                    drop(Box::from_raw(memory.replace(std::ptr::null_mut())));
                }
            }
        }
        Ok(0)
    }
}

/// What a number of LuaJIT holds exactly, with everything below.
#[cfg(feature = "luajit")]
const MAX_EXACT: u64 = 1 << 53;

/// # Safety
/// Called by Lua with `state`; nothing to drop in the frames below Lua.
#[inline]
unsafe fn new_userdata(state: *mut ffi::lua_State, len: usize) -> *mut c_void {
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

/// A Rust object behind a userdata.
pub(crate) trait Object: Sized {
    const CLASS: Class;
}

struct Slot<T> {
    value: T,
    in_use: bool,
}

/// Functions of a table or of a class: their names and what they do.
pub(crate) type Functions = &'static [(&'static CStr, ffi::lua_CFunction)];

/// The functions of a class.
pub(crate) struct ClassFunctions {
    pub(crate) class: Class,
    /// The metamethods. An `__index` among them finds `methods` first; without one they are the `__index`.
    pub(crate) meta: Functions,
    pub(crate) methods: Functions,
}

/// Pushes the module's table with `functions`.
///
/// # Safety
/// In a protected call of Lua with `state`; nothing to drop in the frames below Lua.
pub(crate) unsafe fn build(state: *mut ffi::lua_State, functions: &[Functions], classes: &[ClassFunctions]) {
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
        ffi::lua_replace(state, base + 1);
        ffi::lua_settop(state, base + 1);
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
