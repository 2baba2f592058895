//! Received frames as Lua objects: bytes in a userdata, read when they are asked for.

use std::ffi::c_int;

use spop_core::raw::args_reader;
use spop_core::{
    Action, Actions, DecodeError, Flags, Frame, FrameEncoder, FrameType, Header, MAX_HEADER_LEN, Message, Messages,
    PREFIX_LEN, Status, Ticket, Value, varint,
};

use crate::raw::{Class, ClassFunctions, Functions, Misuse, Outcome, Stack, c_function, contain};
use crate::value;

/// The functions of the module.
pub(crate) const FUNCTIONS: Functions = &[(c"peek_len", c_function!(peek_len)), (c"decode", c_function!(decode))];

/// The functions of frames, messages and arguments.
pub(crate) const CLASSES: [ClassFunctions; 3] = [
    ClassFunctions {
        class: Class::Frame,
        meta: &[(c"__index", c_function!(frame_index))],
        methods: &[
            (c"messages", c_function!(messages)),
            (c"message", c_function!(message)),
            (c"actions", c_function!(actions)),
            (c"kv", c_function!(kv)),
        ],
    },
    ClassFunctions {
        class: Class::Message,
        meta: &[(c"__index", c_function!(message_index))],
        methods: &[(c"arg", c_function!(arg)), (c"get", c_function!(get)), (c"list", c_function!(list))],
    },
    ClassFunctions { class: Class::Args, meta: &[(c"__index", c_function!(args_index))], methods: &[] },
];

/// The default bound of `peek_len`: the one of an agent.
const MAX_FRAME_SIZE: u32 = spop_core::AgentConfig::DEFAULT.max_frame_size;

/// Where a frame object comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `spop.decode`.
    Decoded,
    /// An agent's event: who it was, and the ticket to answer it.
    Notify { agent: u64, ticket: Ticket, fragmented: bool },
    /// A client's event.
    Ack,
}

const ORIGIN_LEN: usize = 17;

impl Origin {
    fn to_bytes(self) -> [u8; ORIGIN_LEN] {
        let (kind, agent, ticket) = match self {
            Origin::Decoded => (0, 0, 0),
            Origin::Ack => (1, 0, 0),
            Origin::Notify { agent, ticket, fragmented } => (2 + u8::from(fragmented), agent, ticket.to_bits()),
        };
        let mut bytes = [kind; ORIGIN_LEN];
        if let Some((_, numbers)) = bytes.split_first_mut() {
            for (to, from) in numbers.iter_mut().zip(agent.to_ne_bytes().into_iter().chain(ticket.to_ne_bytes())) {
                *to = from;
            }
        }
        bytes
    }

    fn from_bytes(bytes: [u8; ORIGIN_LEN]) -> Self {
        let [kind, numbers @ ..] = bytes;
        let number =
            |at: usize| u64::from_ne_bytes(numbers.get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or_default());
        match kind {
            0 => Origin::Decoded,
            1 => Origin::Ack,
            _ => Origin::Notify { agent: number(0), ticket: Ticket::from_bits(number(8)), fragmented: kind == 3 },
        }
    }
}

/// A frame object: its origin and its body, all in the userdata.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) origin: Origin,
    pub(crate) frame: Frame<'a>,
}

impl<'a> Object<'a> {
    /// Pushes a frame object with the body of a whole frame.
    fn push_body(stack: &Stack<'_>, origin: Origin, body: &[u8]) {
        stack.push_blob(Class::Frame, &[&origin.to_bytes(), body]);
    }

    /// Pushes a frame object with a header and a payload.
    pub(crate) fn push(stack: &Stack<'_>, origin: Origin, header: Header, payload: &[u8]) {
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = FrameEncoder::new(&mut bytes, u32::MAX, header).map_or(0, FrameEncoder::finish);
        let header = bytes.get(PREFIX_LEN..len).unwrap_or_default();
        stack.push_blob(Class::Frame, &[&origin.to_bytes(), header, payload]);
    }

    /// The frame object at `index`.
    #[inline]
    pub(crate) fn read(stack: &'a Stack<'_>, index: c_int) -> Option<Self> {
        let (origin, body) = stack.blob(index, Class::Frame)?.split_first_chunk()?;
        Some(Object { origin: Origin::from_bytes(*origin), frame: Frame::decode(body).ok()? })
    }

    #[inline]
    fn this(stack: &'a Stack<'_>) -> Result<Self, Misuse> {
        Self::read(stack, 1).ok_or_else(|| stack.expected(1, "spop.frame"))
    }
}

/// Pushes nil, a text and a status: what the peer did wrong.
#[cold]
pub(crate) fn push_failure(stack: &Stack<'_>, what: impl std::fmt::Display, status: Status) -> Outcome {
    stack.push_nil();
    stack.push_text(format_args!("{what}"));
    stack.push_count(status.0.into());
    Ok(3)
}

fn malformed(stack: &Stack<'_>, error: DecodeError) -> Outcome {
    push_failure(stack, error, error.status())
}

/// `peek_len(bytes [, max])`: the length of the frame that they begin with, prefix included.
fn peek_len(stack: &Stack<'_>) -> Outcome {
    let max = value::u32_argument(stack, 2, MAX_FRAME_SIZE)?;
    match spop_core::peek_len(stack.string_argument(1)?, max) {
        Ok(Some(len)) => stack.push_count(len as u64),
        Ok(None) => stack.push_nil(),
        Err(error) => return malformed(stack, error),
    }
    Ok(1)
}

/// `decode(body)`: a frame object.
fn decode(stack: &Stack<'_>) -> Outcome {
    let body = stack.string_argument(1)?;
    match contain(|| Frame::decode(body).map(|_| ()))? {
        Ok(()) => Object::push_body(stack, Origin::Decoded, body),
        Err(error) => return malformed(stack, error),
    }
    Ok(1)
}

fn frame_index(stack: &Stack<'_>) -> Outcome {
    if stack.push_method() {
        return Ok(1);
    }
    let Object { origin, frame } = Object::this(stack)?;
    let Header { frame_type, flags, stream_id, frame_id } = frame.header;
    match stack.bytes(2).unwrap_or_default() {
        b"event" => match origin {
            Origin::Decoded => stack.push_nil(),
            Origin::Notify { .. } => stack.push_bytes(b"notify"),
            Origin::Ack => stack.push_bytes(b"ack"),
        },
        b"stream_id" => value::push_id(stack, stream_id.0),
        b"frame_id" => value::push_id(stack, frame_id.0),
        b"type" => stack.push_count(frame_type.0.into()),
        b"type_name" => match frame_type.name() {
            Some(name) => stack.push_bytes(name.as_bytes()),
            None => stack.push_nil(),
        },
        b"flags" => stack.push_count(flags.0.into()),
        b"fin" => stack.push_boolean(flags.fin()),
        b"abort" => stack.push_boolean(flags.abort()),
        b"fragmented" => stack.push_boolean(matches!(origin, Origin::Notify { fragmented: true, .. })),
        b"payload" => stack.push_bytes(frame.payload),
        _ => stack.push_nil(),
    }
    Ok(1)
}

/// Pushes a message object: the bytes of the message alone.
#[inline]
fn push_message(stack: &Stack<'_>, message: &Message<'_>) {
    let (name_len, digits) = varint::encode(message.name.len() as u64);
    let mut args = message.args();
    let bytes = args_reader(&args).remaining();
    let count = args.len() as u8;
    while let Some(Ok(_)) = args.next() {}
    let len = bytes.len().saturating_sub(args_reader(&args).remaining().len());
    let parts =
        [name_len.get(..digits).unwrap_or_default(), message.name, &[count], bytes.get(..len).unwrap_or_default()];
    stack.push_blob(Class::Message, &parts);
}

/// The message in the bytes of a message object.
#[inline]
fn message_of(bytes: &[u8]) -> Result<Message<'_>, Misuse> {
    match Messages::new(bytes).next() {
        Some(Ok(message)) => Ok(message),
        _ => Err(Misuse::plain("a message object without a message")),
    }
}

/// `frame:messages()`: all messages of a NOTIFY.
fn messages(stack: &Stack<'_>) -> Outcome {
    let Object { origin, frame } = Object::this(stack)?;
    // The messages of an agent's event were walked before it came.
    if origin == Origin::Decoded
        && let Err(error) = contain(|| frame.messages().validate())?
    {
        return malformed(stack, error);
    }
    stack.new_table(1, 0);
    for (position, message) in frame.messages().flatten().enumerate() {
        push_message(stack, &message);
        stack.set_position(position + 1);
    }
    Ok(1)
}

/// `frame:message(name)`: the first message of that name, nil if there is none.
fn message(stack: &Stack<'_>) -> Outcome {
    let Object { origin, frame } = Object::this(stack)?;
    let name = stack.string_argument(2)?;
    let found = contain(|| {
        let mut found = None;
        for message in frame.messages() {
            let message = message?;
            if found.is_none() && message.name == name {
                found = Some(message);
                // Only a frame that nobody walked yet is walked to its end.
                if origin != Origin::Decoded {
                    break;
                }
            }
        }
        Ok(found)
    })?;
    match found {
        Ok(Some(message)) => push_message(stack, &message),
        Ok(None) => stack.push_nil(),
        Err(error) => return malformed(stack, error),
    }
    Ok(1)
}

/// `frame:actions()`: the actions of an ACK, as `encode_ack` takes them. If they are malformed: nil, a text, a status, and
/// the actions before the error, which are those that HAProxy applies.
fn actions(stack: &Stack<'_>) -> Outcome {
    let Object { frame, .. } = Object::this(stack)?;
    let error = contain(|| frame.actions().find_map(Result::err))?;
    let failure = error.map_or(Ok(0), |error| malformed(stack, error))?;
    push_actions(stack, frame.actions());
    Ok(failure + 1)
}

fn push_actions(stack: &Stack<'_>, actions: Actions<'_>) {
    stack.new_table(1, 0);
    for (position, action) in actions.flatten().enumerate() {
        stack.new_table(4, 1);
        let (operation, scope, name, new) = match action {
            Action::SetVar { scope, name, value } => ("set-var", scope, name, Some(value)),
            Action::UnsetVar { scope, name } => ("unset-var", scope, name, None),
        };
        for (position, text) in [operation.as_bytes(), scope.prefix().as_bytes(), name].into_iter().enumerate() {
            stack.push_bytes(text);
            stack.set_position(position + 1);
        }
        if let Some(new) = new {
            push_value_and_type(stack, 4, &new);
        }
        stack.set_position(position + 1);
    }
}

/// Sets a position of the table on top to a value, and its field `type`.
fn push_value_and_type(stack: &Stack<'_>, position: usize, new: &Value<'_>) {
    value::push(stack, new);
    stack.set_position(position);
    stack.push_bytes(value::type_name(new).as_bytes());
    stack.set_type();
}

fn push_pairs<'a>(stack: &Stack<'_>, pairs: impl Iterator<Item = spop_core::Kv<'a>>) {
    stack.new_table(4, 0);
    for (position, pair) in pairs.enumerate() {
        stack.new_table(2, 1);
        stack.push_bytes(pair.key);
        stack.set_position(1);
        push_value_and_type(stack, 2, &pair.value);
        stack.set_position(position + 1);
    }
}

/// `frame:kv()`: the pairs of a HELLO or DISCONNECT.
fn kv(stack: &Stack<'_>) -> Outcome {
    let Object { frame, .. } = Object::this(stack)?;
    if let Some(error) = contain(|| frame.kv().find_map(Result::err))? {
        return malformed(stack, error);
    }
    push_pairs(stack, frame.kv().flatten());
    Ok(1)
}

fn message_index(stack: &Stack<'_>) -> Outcome {
    if stack.push_method() {
        return Ok(1);
    }
    let bytes = stack.this(Class::Message)?;
    match stack.bytes(2) {
        Some(b"name") => stack.push_bytes(message_of(bytes)?.name),
        Some(b"args") => stack.push_blob(Class::Args, &[bytes]),
        _ => stack.push_nil(),
    }
    Ok(1)
}

#[inline]
fn find<'a>(message: &Message<'a>, name: &[u8]) -> Option<Value<'a>> {
    message.arg(name).ok().flatten()
}

/// `message:arg(name)`: the value of the first argument of that name, and its type; nothing but nil if there is none.
fn arg(stack: &Stack<'_>) -> Outcome {
    let message = message_of(stack.this(Class::Message)?)?;
    let name = stack.string_argument(2)?;
    match find(&message, name) {
        Some(found) => {
            value::push(stack, &found);
            stack.push_bytes(value::type_name(&found).as_bytes());
            Ok(2)
        }
        None => {
            stack.push_nil();
            Ok(1)
        }
    }
}

/// `message:get(name, ...)`: the values of several arguments.
fn get(stack: &Stack<'_>) -> Outcome {
    let message = message_of(stack.this(Class::Message)?)?;
    let top = stack.top();
    stack.reserve(top)?;
    for index in 2..=top {
        match find(&message, stack.string_argument(index)?) {
            Some(found) => value::push(stack, &found),
            None => stack.push_nil(),
        }
    }
    Ok(top - 1)
}

/// `message:list()`: all arguments, as `encode_notify` takes them.
fn list(stack: &Stack<'_>) -> Outcome {
    let message = message_of(stack.this(Class::Message)?)?;
    push_pairs(stack, message.args().flatten());
    Ok(1)
}

/// `args[name]`: the value of the first argument of that name.
fn args_index(stack: &Stack<'_>) -> Outcome {
    let message = message_of(stack.this(Class::Args)?)?;
    match stack.bytes(2).and_then(|name| find(&message, name)) {
        Some(found) => value::push(stack, &found),
        None => stack.push_nil(),
    }
    Ok(1)
}

/// The header of a NOTIFY that came whole.
pub(crate) fn notify_header(stream_id: spop_core::StreamId, frame_id: spop_core::FrameId) -> Header {
    Header { frame_type: FrameType::NOTIFY, flags: Flags::FIN, stream_id, frame_id }
}
