//! Frames from Lua tables.

use std::ffi::{CStr, c_int};
use std::fmt::Arguments;

use spop_core::{
    AckEncoder, Capabilities, DisconnectEncoder, EncodeError, Flags, FrameEncoder, FrameId, FrameType, Header,
    HelloEncoder, NotifyEncoder, PREFIX_LEN, Scope, Status, StreamId, Value,
};

use crate::frame::push_failure;
use crate::raw::{Functions, Kind, Misuse, Outcome, Stack, c_function};
use crate::value;

/// The functions of the module.
pub(crate) const FUNCTIONS: Functions = &[
    (c"encode_ack", c_function!(encode_ack)),
    (c"encode_notify", c_function!(encode_notify)),
    (c"encode_hello", c_function!(encode_hello)),
    (c"encode_disconnect", c_function!(encode_disconnect)),
    (c"encode_frame", c_function!(encode_frame)),
];

/// The default bound of a frame: HAProxy's own.
const MAX_FRAME_SIZE: u32 = 16380;
/// A buffer that most frames fit in.
const FIRST_ROOM: usize = 256;
pub(crate) const NO_ROOM: &str = "the frame is longer than max-frame-size";

/// What an encoder left: the length, or that the frame needs more room.
pub(crate) type Encoded = Result<Result<usize, EncodeError>, Misuse>;

/// The next buffer to try after `room`, at most `limit`; `None` when that was tried.
pub(crate) fn more_room(room: usize, limit: usize) -> Option<usize> {
    (room < limit).then(|| room.saturating_mul(16).min(limit))
}

/// Pushes the frame that `encode` writes, at most `max_frame_size` long.
#[inline]
fn push_frame(stack: &Stack<'_>, max_frame_size: u32, encode: impl Fn(&mut [u8]) -> Encoded) -> Outcome {
    let mut buf = [0; FIRST_ROOM];
    match encode(&mut buf)? {
        Ok(len) => {
            stack.push_bytes(buf.get(..len).unwrap_or_default());
            Ok(1)
        }
        Err(_) => push_long_frame(stack, max_frame_size, encode),
    }
}

#[cold]
fn push_long_frame(stack: &Stack<'_>, max_frame_size: u32, encode: impl Fn(&mut [u8]) -> Encoded) -> Outcome {
    let limit = (max_frame_size as usize).saturating_add(PREFIX_LEN);
    let mut room = FIRST_ROOM;
    while let Some(more) = more_room(room, limit) {
        room = more;
        let buf = stack.scratch(room);
        if let Ok(len) = encode(buf)? {
            stack.push_bytes(buf.get(..len).unwrap_or_default());
            return Ok(1);
        }
    }
    push_failure(stack, NO_ROOM, Status::FRAME_TOO_BIG)
}

/// Takes an encoder's result apart: written, or no room for it. Everything else is the script's mistake.
fn written(result: Result<(), EncodeError>) -> Result<bool, Misuse> {
    match result {
        Ok(()) => Ok(true),
        Err(EncodeError::NoSpace) => Ok(false),
        Err(EncodeError::TooManyArgs) => Err(Misuse::plain("a message cannot have more than 255 arguments")),
        Err(_) => Err(Misuse::plain("an argument needs a message before it")),
    }
}

#[cold]
fn bad_entry(argument: c_int, list: &str, position: usize, what: Arguments<'_>) -> Misuse {
    Misuse::argument(argument, format_args!("{list}[{position}]: {what}"))
}

/// Writes the actions of the table at `argument`; false if they do not fit.
#[inline]
pub(crate) fn write_actions(stack: &Stack<'_>, argument: c_int, ack: &mut AckEncoder<'_>) -> Result<bool, Misuse> {
    match stack.kind(argument) {
        Kind::Absent | Kind::Nil => return Ok(true),
        Kind::Table => {}
        _ => return Err(stack.expected(argument, "a table of actions")),
    }
    for position in 1..=stack.len(argument) {
        let fits = stack.scoped(|entry| {
            entry.get_position(argument, position);
            let action = entry.top();
            if entry.kind(action) != Kind::Table {
                return Err(bad_entry(argument, "actions", position, format_args!("a table expected")));
            }
            write_action(entry, action, ack)
                .map_err(|what| bad_entry(argument, "actions", position, format_args!("{what}")))
        })?;
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes `{"set-var", scope, name, value [, type = name]}` or `{"unset-var", scope, name}`; false if it does not fit.
#[inline]
fn write_action(stack: &Stack<'_>, action: c_int, ack: &mut AckEncoder<'_>) -> Result<bool, &'static str> {
    for position in 1..=3 {
        stack.get_position(action, position);
    }
    let scope = match stack.bytes(action + 2) {
        Some(b"proc") => Scope::Process,
        Some(b"sess") => Scope::Session,
        Some(b"txn") => Scope::Transaction,
        Some(b"req") => Scope::Request,
        Some(b"res") => Scope::Response,
        _ => return Err("the scope is none of proc, sess, txn, req, res"),
    };
    let name = stack.bytes(action + 3).ok_or("the variable's name is not a string")?;
    let result = match stack.bytes(action + 1) {
        Some(b"set-var") => ack.set_var(scope, name, typed_entry(stack, action, 4)?),
        Some(b"unset-var") => ack.unset_var(scope, name),
        _ => return Err("neither set-var nor unset-var"),
    };
    Ok(result.is_ok())
}

/// The value at a position of a table, in the type that its field `type` names.
#[inline]
fn typed_entry<'s>(stack: &'s Stack<'_>, table: c_int, position: usize) -> Result<Value<'s>, &'static str> {
    stack.get_position(table, position);
    let value = stack.top();
    stack.get_type(table);
    match stack.kind(value + 1) {
        Kind::Nil => value::read(stack, value),
        _ => value::read_as(stack, value, stack.bytes(value + 1).unwrap_or_default()),
    }
}

/// `encode_ack(stream_id, frame_id [, actions [, max_frame_size]])`.
fn encode_ack(stack: &Stack<'_>) -> Outcome {
    let (stream_id, frame_id) = (value::id_argument(stack, 1)?, value::id_argument(stack, 2)?);
    let max = value::u32_argument(stack, 4, MAX_FRAME_SIZE)?;
    push_frame(stack, max, |buf| {
        let mut ack = match AckEncoder::new(buf, max, StreamId(stream_id), FrameId(frame_id)) {
            Ok(ack) => ack,
            Err(error) => return Ok(Err(error)),
        };
        Ok(if write_actions(stack, 3, &mut ack)? { Ok(ack.finish()) } else { Err(EncodeError::NoSpace) })
    })
}

/// Writes the messages of the table at `argument`: `{ {name, args}, ... }`; false if they do not fit.
pub(crate) fn write_messages(
    stack: &Stack<'_>,
    argument: c_int,
    notify: &mut NotifyEncoder<'_>,
) -> Result<bool, Misuse> {
    if stack.kind(argument) != Kind::Table {
        return Err(stack.expected(argument, "a table of messages"));
    }
    for position in 1..=stack.len(argument) {
        let bad = |what: Arguments<'_>| bad_entry(argument, "messages", position, what);
        let fits = stack.scoped(|entry| {
            entry.get_position(argument, position);
            let message = entry.top();
            if entry.kind(message) != Kind::Table {
                return Err(bad(format_args!("a table expected")));
            }
            entry.get_position(message, 1);
            let name = entry.bytes(message + 1).ok_or_else(|| bad(format_args!("the name is not a string")))?;
            if !written(notify.message(name))? {
                return Ok(false);
            }
            entry.get_position(message, 2);
            write_args(entry, message + 2, notify, &bad)
        })?;
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes arguments: first the list part, `{key, value [, type = name]}` each, then the fields, in no certain order.
fn write_args(
    stack: &Stack<'_>,
    args: c_int,
    notify: &mut NotifyEncoder<'_>,
    bad: &dyn Fn(Arguments<'_>) -> Misuse,
) -> Result<bool, Misuse> {
    match stack.kind(args) {
        Kind::Nil => return Ok(true),
        Kind::Table => {}
        _ => return Err(bad(format_args!("the arguments are not a table"))),
    }
    let listed = stack.len(args);
    for position in 1..=listed {
        let fits = stack.scoped(|entry| {
            entry.get_position(args, position);
            let pair = entry.top();
            if entry.kind(pair) != Kind::Table {
                return Err(bad(format_args!("argument {position}: a table of key and value expected")));
            }
            entry.get_position(pair, 1);
            let key = entry.bytes(pair + 1);
            let key = key.ok_or_else(|| bad(format_args!("argument {position}: the key is not a string")))?;
            let value = typed_entry(entry, pair, 2);
            let value = value.map_err(|what| bad(format_args!("argument {position}: {what}")))?;
            written(notify.arg(key, value))
        })?;
        if !fits {
            return Ok(false);
        }
    }
    let mut fits = true;
    stack.each(args, |entry, key, value| {
        let Some(name) = entry.bytes(key) else {
            return match entry.integer(key) {
                Some(1..) => Ok(()),
                _ => Err(bad(format_args!("an argument's key is not a string"))),
            };
        };
        let value =
            value::read(entry, value).map_err(|what| bad(format_args!("argument {}: {what}", name.escape_ascii())))?;
        fits = fits && written(notify.arg(name, value))?;
        Ok(())
    })?;
    Ok(fits)
}

/// `encode_notify(stream_id, frame_id, messages [, max_frame_size])`.
fn encode_notify(stack: &Stack<'_>) -> Outcome {
    let (stream_id, frame_id) = (value::id_argument(stack, 1)?, value::id_argument(stack, 2)?);
    let max = value::u32_argument(stack, 4, MAX_FRAME_SIZE)?;
    push_frame(stack, max, |buf| {
        let mut notify = match NotifyEncoder::new(buf, max, StreamId(stream_id), FrameId(frame_id)) {
            Ok(notify) => notify,
            Err(error) => return Ok(Err(error)),
        };
        Ok(if write_messages(stack, 3, &mut notify)? { Ok(notify.finish()) } else { Err(EncodeError::NoSpace) })
    })
}

/// The values of a table of options, pushed one after the other.
pub(crate) struct Options<'s, 'c> {
    stack: &'s Stack<'c>,
    argument: c_int,
    names: &'static [&'static CStr],
    first: c_int,
}

impl<'s, 'c> Options<'s, 'c> {
    /// Pushes the value of each name, in order; a name that is not among them is the script's mistake. A table that is not
    /// there has no options.
    pub(crate) fn push(stack: &'s Stack<'c>, argument: c_int, names: &'static [&'static CStr]) -> Result<Self, Misuse> {
        stack.reserve(names.len() as c_int + 20)?;
        let options = Options { stack, argument, names, first: stack.top().max(argument) + 1 };
        while stack.top() < argument {
            stack.push_nil();
        }
        if stack.is_nothing(argument) {
            names.iter().for_each(|_| stack.push_nil());
            return Ok(options);
        }
        if stack.kind(argument) != Kind::Table {
            return Err(stack.expected(argument, "a table of options"));
        }
        stack.each(argument, |entry, key, _| {
            let known = entry.bytes(key).is_some_and(|key| names.iter().any(|name| name.to_bytes() == key));
            if known {
                return Ok(());
            }
            let key = entry.bytes(key).map(<[u8]>::escape_ascii);
            Err(match key {
                Some(key) => Misuse::argument(argument, format_args!("unknown option '{key}'")),
                None => Misuse::argument(argument, format_args!("an option's name is not a string")),
            })
        })?;
        for name in names {
            stack.get_field(argument, name);
        }
        Ok(options)
    }

    fn index(&self, name: &CStr) -> c_int {
        let position = self.names.iter().position(|known| *known == name).unwrap_or(self.names.len());
        self.first + position as c_int
    }

    /// Is the option there? Then its place on the stack.
    fn given(&self, name: &CStr) -> Option<c_int> {
        let index = self.index(name);
        (!self.stack.is_nothing(index)).then_some(index)
    }

    pub(crate) fn bad(&self, name: &CStr, what: Arguments<'_>) -> Misuse {
        let name = name.to_str().unwrap_or_default();
        Misuse::argument(self.argument, format_args!("option '{name}': {what}"))
    }

    /// An integer from `min` to `max`.
    pub(crate) fn integer(&self, name: &CStr, min: u64, max: u64) -> Result<Option<u64>, Misuse> {
        let Some(index) = self.given(name) else { return Ok(None) };
        match self.stack.integer(index).and_then(|n| u64::try_from(n).ok()) {
            Some(n) if (min..=max).contains(&n) => Ok(Some(n)),
            _ => Err(self.bad(name, format_args!("an integer from {min} to {max} expected"))),
        }
    }

    pub(crate) fn boolean(&self, name: &CStr) -> Result<Option<bool>, Misuse> {
        let Some(index) = self.given(name) else { return Ok(None) };
        match self.stack.kind(index) {
            Kind::Boolean => Ok(Some(self.stack.boolean(index))),
            _ => Err(self.bad(name, format_args!("a boolean expected"))),
        }
    }

    pub(crate) fn string(&self, name: &CStr) -> Result<Option<&'s [u8]>, Misuse> {
        let Some(index) = self.given(name) else { return Ok(None) };
        self.stack.bytes(index).map(Some).ok_or_else(|| self.bad(name, format_args!("a string expected")))
    }

    /// Capabilities, as in a HELLO: words with commas in between. A word that SPOP does not have is a mistake.
    pub(crate) fn capabilities(&self, name: &CStr) -> Result<Option<Capabilities>, Misuse> {
        let Some(list) = self.string(name)? else { return Ok(None) };
        let unknown = |word: &&[u8]| !word.trim_ascii().is_empty() && Capabilities::parse(word) == Capabilities::NONE;
        match list.split(|&byte| byte == b',').find(unknown) {
            Some(_) => Err(self.bad(name, format_args!("words out of pipelining, async, fragmentation expected"))),
            None => Ok(Some(Capabilities::parse(list))),
        }
    }
}

/// Which side sends a frame.
fn is_agent(stack: &Stack<'_>, index: c_int) -> Option<bool> {
    match stack.bytes(index) {
        None if stack.is_nothing(index) => Some(true),
        Some(b"agent") => Some(true),
        Some(b"haproxy") => Some(false),
        _ => None,
    }
}

/// `encode_hello{ from =, version =, max_frame_size =, capabilities =, healthcheck =, engine_id = }`.
fn encode_hello(stack: &Stack<'_>) -> Outcome {
    let options = Options::push(
        stack,
        1,
        &[c"from", c"version", c"max_frame_size", c"capabilities", c"healthcheck", c"engine_id"],
    )?;
    let from_agent = is_agent(stack, options.index(c"from"))
        .ok_or_else(|| options.bad(c"from", format_args!("'agent' or 'haproxy' expected")))?;
    let version = Value::String(options.string(c"version")?.unwrap_or(b"2.0"));
    let size = options.integer(c"max_frame_size", 0, u32::MAX.into())?.unwrap_or(MAX_FRAME_SIZE.into()) as u32;
    let capabilities = Value::String(options.string(c"capabilities")?.unwrap_or_default());
    let healthcheck = options.boolean(c"healthcheck")?;
    let engine_id = options.string(c"engine_id")?;
    let write = |buf: &mut [u8]| -> Result<usize, EncodeError> {
        let mut hello = if from_agent {
            let mut hello = HelloEncoder::agent(buf, MAX_FRAME_SIZE)?;
            hello.kv(b"version", version)?;
            hello
        } else {
            let mut hello = HelloEncoder::haproxy(buf, MAX_FRAME_SIZE)?;
            hello.kv(b"supported-versions", version)?;
            hello
        };
        hello.max_frame_size(size)?;
        hello.kv(b"capabilities", capabilities)?;
        if let Some(healthcheck) = healthcheck {
            hello.healthcheck(healthcheck)?;
        }
        if let Some(id) = engine_id {
            hello.engine_id(id)?;
        }
        Ok(hello.finish())
    };
    push_frame(stack, MAX_FRAME_SIZE, |buf| Ok(write(buf)))
}

/// `encode_disconnect(status [, message [, from]])`; without a message the usual one.
fn encode_disconnect(stack: &Stack<'_>) -> Outcome {
    let status = Status(value::u32_argument(stack, 1, 0)?);
    let message = match stack.bytes(2) {
        Some(message) => message,
        None if stack.is_nothing(2) => status.reason().as_bytes(),
        None => return Err(stack.expected(2, "a string")),
    };
    let from_agent = is_agent(stack, 3).ok_or_else(|| stack.expected(3, "'agent' or 'haproxy'"))?;
    let write = |buf: &mut [u8]| -> Result<usize, EncodeError> {
        let mut disconnect = if from_agent {
            DisconnectEncoder::agent(buf, MAX_FRAME_SIZE, status)?
        } else {
            DisconnectEncoder::haproxy(buf, MAX_FRAME_SIZE, status)?
        };
        disconnect.message(message)?;
        Ok(disconnect.finish())
    };
    push_frame(stack, MAX_FRAME_SIZE, |buf| Ok(write(buf)))
}

/// `encode_frame(type, flags, stream_id, frame_id, payload [, max_frame_size])`: any frame, also a wrong one.
fn encode_frame(stack: &Stack<'_>) -> Outcome {
    let frame_type = stack.integer(1).and_then(|n| u8::try_from(n).ok());
    let header = Header {
        frame_type: FrameType(frame_type.ok_or_else(|| stack.expected(1, "an integer from 0 to 255"))?),
        flags: Flags(value::u32_argument(stack, 2, Flags::FIN.0)?),
        stream_id: StreamId(value::id_argument(stack, 3)?),
        frame_id: FrameId(value::id_argument(stack, 4)?),
    };
    let payload = stack.string_argument(5)?;
    let max = value::u32_argument(stack, 6, MAX_FRAME_SIZE)?;
    let write = |buf: &mut [u8]| -> Result<usize, EncodeError> {
        let mut frame = FrameEncoder::new(buf, max, header)?;
        frame.payload().bytes(payload)?;
        Ok(frame.finish())
    };
    push_frame(stack, max, |buf| Ok(write(buf)))
}
