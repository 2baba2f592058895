//! Walks over the lists in payloads.

use core::ffi::{c_char, c_void};

use spop_core::{Action, Args, DecodeError, Kv, Message, Reader, raw};

use crate::error::{Code, SPOP_E_ARGUMENT, SPOP_END, SPOP_NOT_FOUND, spop_error};
use crate::frame::spop_frame;
use crate::memory::{Out, input, run, shared, spop_bytes, unique};
use crate::value::spop_value;

/// A list of messages (NOTIFY).
pub const SPOP_LIST_MESSAGES: u32 = 1;
/// A list of keys with values (HELLO, DISCONNECT).
pub const SPOP_LIST_KV: u32 = 2;
/// A list of actions (ACK).
pub const SPOP_LIST_ACTIONS: u32 = 3;
/// The arguments of a message.
pub const SPOP_LIST_ARGS: u32 = 4;

/// The action sets a variable.
pub const SPOP_ACTION_SET_VAR: u32 = 1;
/// The action unsets a variable.
pub const SPOP_ACTION_UNSET_VAR: u32 = 2;

/// `proc`: HAProxy's process. It sets only names that its configuration knows.
pub const SPOP_SCOPE_PROCESS: u32 = 0;
/// `sess`: the client's session.
pub const SPOP_SCOPE_SESSION: u32 = 1;
/// `txn`: request and response.
pub const SPOP_SCOPE_TRANSACTION: u32 = 2;
/// `req`: the request.
pub const SPOP_SCOPE_REQUEST: u32 = 3;
/// `res`: the response.
pub const SPOP_SCOPE_RESPONSE: u32 = 4;

/// A position in a list. It points into the payload; copy it to come back to that position. After an error the walk is at
/// its end. The members are private but for `offset`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_cursor {
    /// What is left.
    pub rest: spop_bytes,
    /// Where that begins in the frame's body, or in the bytes given to spop_cursor_init(). After an error: where it is.
    pub offset: usize,
    /// SPOP_LIST_...
    pub list: u32,
    /// How many arguments are left.
    pub args: u32,
}

impl spop_cursor {
    pub(crate) fn new(list: u32, reader: Reader<'_>, args: usize) -> Self {
        spop_cursor { rest: reader.remaining().into(), offset: reader.offset(), list, args: args as u32 }
    }

    /// What is left, for a walk over `list`.
    ///
    /// # Safety
    /// The rules of the crate.
    #[inline]
    unsafe fn reader<'a>(&self, list: u32) -> Result<Reader<'a>, Code> {
        if self.list != list {
            return Err(Code(SPOP_E_ARGUMENT));
        }
        // SAFETY: the rules of the crate.
        let rest = unsafe { input(self.rest.ptr.cast(), self.rest.len)? };
        Ok(raw::reader(rest, self.offset))
    }

    fn arg_count(&self) -> usize {
        usize::from(self.args as u8)
    }

    /// The item of a step, with the cursor moved behind it.
    #[inline]
    fn step<T>(&mut self, item: Option<Result<T, DecodeError>>, next: Reader<'_>, args: usize) -> Result<T, Code> {
        let item = match item {
            None => Err(Code(SPOP_END)),
            Some(Ok(item)) => Ok(item),
            Some(Err(error)) => {
                *self = spop_cursor { offset: error.offset, rest: spop_bytes::NONE, args: 0, ..*self };
                return Err(error.into());
            }
        };
        *self = spop_cursor::new(self.list, next, args);
        item
    }
}

/// A key with its value: an argument of a message, or an item of a HELLO or DISCONNECT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_kv {
    /// The key; empty for an unnamed argument.
    pub key: spop_bytes,
    /// The value.
    pub value: spop_value,
}

impl From<Kv<'_>> for spop_kv {
    fn from(kv: Kv<'_>) -> Self {
        spop_kv { key: kv.key.into(), value: kv.value.into() }
    }
}

/// A message of a NOTIFY.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_message {
    /// The name, as in the `spoe-message` line of HAProxy's configuration.
    pub name: spop_bytes,
    /// The arguments in the order of the configuration, for spop_arg_next(); keys may be empty or come twice.
    pub args: spop_cursor,
}

impl From<Message<'_>> for spop_message {
    fn from(message: Message<'_>) -> Self {
        let args = message.args;
        spop_message {
            name: message.name.into(),
            args: spop_cursor::new(SPOP_LIST_ARGS, raw::args_reader(&args), args.len()),
        }
    }
}

/// An action of an ACK.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_action {
    /// SPOP_ACTION_SET_VAR or SPOP_ACTION_UNSET_VAR.
    pub r#type: u32,
    /// SPOP_SCOPE_...
    pub scope: u32,
    /// The name of the variable. HAProxy puts the scope and the engine's prefix before it; together they may have 63
    /// characters.
    pub name: spop_bytes,
    /// The value to set; NULL unsets. Of unset-var: NULL.
    pub value: spop_value,
}

impl From<Action<'_>> for spop_action {
    fn from(action: Action<'_>) -> Self {
        let (r#type, scope, name, value) = match action {
            Action::SetVar { scope, name, value } => (SPOP_ACTION_SET_VAR, scope, name, value.into()),
            Action::UnsetVar { scope, name } => {
                (SPOP_ACTION_UNSET_VAR, scope, name, spop_value::from(spop_core::Value::Null))
            }
        };
        spop_action { r#type, scope: scope as u32, name: name.into(), value }
    }
}

/// A cursor at the start of a list: `list` is SPOP_LIST_MESSAGES, SPOP_LIST_KV or SPOP_LIST_ACTIONS, `data` the whole
/// payload. The data has to stay there as long as the cursor and what came from it is used.
///
/// SPOP_E_ARGUMENT for another list.
#[no_mangle]
pub unsafe extern "C" fn spop_cursor_init(
    cursor: *mut spop_cursor,
    list: u32,
    data: *const c_void,
    len: usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (cursor, data) = unsafe { (Out::new(cursor)?, input(data, len)?) };
        if !(SPOP_LIST_MESSAGES..=SPOP_LIST_ACTIONS).contains(&list) {
            return Err(Code(SPOP_E_ARGUMENT));
        }
        cursor.set(spop_cursor::new(list, Reader::new(data), 0));
        Ok(())
    })
}

/// A cursor over the payload of a frame, as spop_cursor_init(); its `offset` counts from the start of the frame's body.
#[no_mangle]
pub unsafe extern "C" fn spop_frame_cursor(
    frame: *const spop_frame,
    list: u32,
    cursor: *mut spop_cursor,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (frame, cursor) = unsafe { (shared(frame)?.to_core()?, Out::new(cursor)?) };
        let reader = match list {
            SPOP_LIST_MESSAGES => raw::args_reader(&raw::messages_pending(&frame.messages())),
            SPOP_LIST_KV => raw::kv_list_reader(&frame.kv()),
            SPOP_LIST_ACTIONS => raw::actions_reader(&frame.actions()),
            _ => return Err(Code(SPOP_E_ARGUMENT)),
        };
        cursor.set(spop_cursor::new(list, reader, 0));
        Ok(())
    })
}

/// The next message into `*message`. A broken argument of a message shows here at the next call, so that a walk over the
/// messages alone finds every error. SPOP_END after the last one; a list may be empty.
#[no_mangle]
pub unsafe extern "C" fn spop_message_next(cursor: *mut spop_cursor, message: *mut spop_message) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (cursor, out) = unsafe { (unique(cursor)?, Out::new(message)?) };
        // SAFETY: the same.
        let reader = unsafe { cursor.reader(SPOP_LIST_MESSAGES)? };
        let mut messages = raw::messages_after(raw::args(reader, cursor.arg_count()));
        let item = messages.next();
        let pending = raw::messages_pending(&messages);
        out.set(cursor.step(item, raw::args_reader(&pending), pending.len())?.into());
        Ok(())
    })
}

/// The next argument into `*arg`: `args` is the member of a spop_message, or a copy of it. SPOP_END after the last one.
#[no_mangle]
pub unsafe extern "C" fn spop_arg_next(args: *mut spop_cursor, arg: *mut spop_kv) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (cursor, out) = unsafe { (unique(args)?, Out::new(arg)?) };
        // SAFETY: the same.
        let mut args = raw::args(unsafe { cursor.reader(SPOP_LIST_ARGS)? }, cursor.arg_count());
        let item = next_arg(&mut args);
        out.set(cursor.step(item, raw::args_reader(&args), args.len())?.into());
        Ok(())
    })
}

/// The value of the first argument of that name, of those that spop_arg_next() has not passed in this message. The
/// message is left as it is. SPOP_NOT_FOUND; the errors of the arguments before it.
#[no_mangle]
pub unsafe extern "C" fn spop_arg_find(
    message: *const spop_message,
    name: *const c_void,
    name_len: usize,
    value: *mut spop_value,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (message, name, value) = unsafe { (shared(message)?, input(name, name_len)?, Out::new(value)?) };
        // SAFETY: the same.
        let reader = unsafe { message.args.reader(SPOP_LIST_ARGS)? };
        let mut args = raw::args(reader, message.args.arg_count());
        while let Some(arg) = next_arg(&mut args) {
            let arg = arg?;
            if arg.key == name {
                value.set(arg.value.into());
                return Ok(());
            }
        }
        Err(Code(SPOP_NOT_FOUND))
    })
}

/// One copy of this code is enough for a small library.
#[inline(never)]
fn next_arg<'a>(args: &mut Args<'a>) -> Option<Result<Kv<'a>, DecodeError>> {
    args.next()
}

/// The next key with its value into `*kv`, of a HELLO or DISCONNECT. SPOP_END after the last one.
#[no_mangle]
pub unsafe extern "C" fn spop_kv_next(cursor: *mut spop_cursor, kv: *mut spop_kv) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (cursor, out) = unsafe { (unique(cursor)?, Out::new(kv)?) };
        // SAFETY: the same.
        let mut list = raw::kv_list(unsafe { cursor.reader(SPOP_LIST_KV)? });
        let item = list.next();
        out.set(cursor.step(item, raw::kv_list_reader(&list), 0)?.into());
        Ok(())
    })
}

/// The next action into `*action`. SPOP_END after the last one; a list may be empty. HAProxy applies the actions before
/// an error and drops the rest.
#[no_mangle]
pub unsafe extern "C" fn spop_action_next(cursor: *mut spop_cursor, action: *mut spop_action) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (cursor, out) = unsafe { (unique(cursor)?, Out::new(action)?) };
        // SAFETY: the same.
        let mut actions = raw::actions(unsafe { cursor.reader(SPOP_LIST_ACTIONS)? });
        let item = actions.next();
        out.set(cursor.step(item, raw::actions_reader(&actions), 0)?.into());
        Ok(())
    })
}

/// Is `bytes` the same as these `len` bytes? For names and keys.
#[no_mangle]
pub unsafe extern "C" fn spop_bytes_eq(bytes: spop_bytes, other: *const c_void, len: usize) -> bool {
    // SAFETY: the rules of the crate.
    let (bytes, other) = unsafe { (input(bytes.ptr.cast(), bytes.len), input(other, len)) };
    matches!((bytes, other), (Ok(a), Ok(b)) if a == b)
}

/// HAProxy's prefix for variables of a scope, ended by NUL: "proc", "sess", "txn", "req", "res"; "unknown" for another
/// scope; never NULL. Static: it is not to be freed. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_scope_name(scope: u32) -> *const c_char {
    match scope {
        SPOP_SCOPE_PROCESS => c"proc",
        SPOP_SCOPE_SESSION => c"sess",
        SPOP_SCOPE_TRANSACTION => c"txn",
        SPOP_SCOPE_REQUEST => c"req",
        SPOP_SCOPE_RESPONSE => c"res",
        _ => c"unknown",
    }
    .as_ptr()
}
