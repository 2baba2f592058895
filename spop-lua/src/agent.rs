//! The agent's side of a connection as a Lua object.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

use spop_core::{
    AckEncoder, AgentConfig, AgentEvent, Capabilities, EncodeError, Header, Negotiated, PREFIX_LEN, Status, Ticket,
    Want,
};

use crate::buffers::{Input, Output};
use crate::encode::{NO_ROOM, Options, more_room, write_actions};
use crate::frame::{Object as FrameObject, Origin, notify_header, push_failure};
use crate::raw::{Class, ClassFunctions, Functions, Misuse, Object, Outcome, Stack, c_function, contain};
use crate::value;

/// The functions of the module.
pub(crate) const FUNCTIONS: Functions = &[(c"agent", c_function!(new))];

/// The methods of agents.
pub(crate) const CLASS: ClassFunctions = ClassFunctions {
    class: Class::Agent,
    meta: &[(c"__gc", c_function!(collect))],
    methods: &[
        (c"want", c_function!(want)),
        (c"feed", c_function!(feed)),
        (c"ack", c_function!(ack)),
        (c"release", c_function!(release)),
        (c"output", c_function!(output)),
        (c"close", c_function!(close)),
        (c"eof", c_function!(eof)),
        (c"open", c_function!(open)),
        (c"negotiated", c_function!(negotiated)),
        (c"stats", c_function!(stats)),
        (c"poll_timeout", c_function!(poll_timeout)),
        (c"handle_timeout", c_function!(handle_timeout)),
    ],
};

/// The room that most ACKs fit in.
const FIRST_ROOM: usize = 512;
/// The default bound of a fragmented NOTIFY, in bytes.
const REASSEMBLY: u64 = 64 * 1024;
const MAX_REASSEMBLY: u64 = 64 * 1024 * 1024;

struct Connection {
    agent: spop_core::Agent,
    /// Tells the NOTIFYs of this agent from those of others.
    serial: u64,
    input: Input,
    output: Output,
    /// Empty but from the first fragment of a NOTIFY to its last.
    reassembly: Vec<u8>,
    /// The length that `reassembly` gets when fragments come.
    reassembly_len: usize,
}

impl Connection {
    /// Lua's collector does not see what the buffers hold, so it may be long in coming for one whose connection is over.
    fn release_if_over(&mut self) {
        if self.agent.want(&[]) == Want::Close {
            self.input = Input::default();
            self.reassembly = Vec::new();
            self.output.release_if_empty();
        }
    }
}

impl Object for Connection {
    const CLASS: Class = Class::Agent;
}

/// `agent{ ... }`.
fn new(stack: &Stack<'_>) -> Outcome {
    let options = Options::push(
        stack,
        1,
        &[
            c"max_frame_size",
            c"capabilities",
            c"reassembly",
            c"max_fragments",
            c"hello_timeout",
            c"half_frame_timeout",
            c"idle_timeout",
        ],
    )?;
    let default = AgentConfig::DEFAULT;
    let size = |name, min, default: u32| -> Result<u32, Misuse> {
        Ok(options.integer(name, min, u32::MAX.into())?.map_or(default, |n| n as u32))
    };
    let ticks = |name| options.integer(name, 1, u64::MAX);
    let reassembly_len = options.integer(c"reassembly", 0, MAX_REASSEMBLY)?.unwrap_or(REASSEMBLY) as usize;
    let capabilities = options.capabilities(c"capabilities")?.unwrap_or(default.capabilities);
    // Without memory for fragments they are not announced.
    let unheard = if reassembly_len == 0 { Capabilities::FRAGMENTATION } else { Capabilities::NONE };
    let config = default
        .with_max_frame_size(size(c"max_frame_size", spop_core::MIN_MAX_FRAME_SIZE.into(), default.max_frame_size)?)
        .with_capabilities(capabilities.without(unheard))
        .with_max_fragments(size(c"max_fragments", 1, default.max_fragments)?)
        .with_hello_timeout(ticks(c"hello_timeout")?)
        .with_half_frame_timeout(ticks(c"half_frame_timeout")?)
        .with_idle_timeout(ticks(c"idle_timeout")?);
    static SERIALS: AtomicU64 = AtomicU64::new(0);
    let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
    stack.push_object(|| Connection {
        agent: spop_core::Agent::new(config),
        serial,
        input: Input::default(),
        output: Output::default(),
        reassembly: Vec::new(),
        reassembly_len,
    });
    Ok(1)
}

fn collect(stack: &Stack<'_>) -> Outcome {
    stack.collect::<Connection>()
}

/// Pushes what to read next: a number of bytes, or 0 and why.
pub(crate) fn push_want(stack: &Stack<'_>, want: Want) -> Outcome {
    stack.push_count(want.bytes() as u64);
    match want {
        Want::Read(_) => return Ok(1),
        Want::Pause => stack.push_bytes(b"pause"),
        Want::Close => stack.push_bytes(b"close"),
    }
    Ok(2)
}

/// `agent:want()`.
fn want(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let want = match connection.agent.want(connection.input.unread()) {
            Want::Read(_) if connection.output.is_full() => Want::Pause,
            want => want,
        };
        push_want(stack, want)
    })
}

/// `agent:feed(bytes)`: the events, as a list; and true if it stopped before a whole frame, because NOTIFYs must be answered
/// or output be sent first: then feed("") goes on.
fn feed(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let fed = stack.string_argument(2)?;
        let Connection { agent, serial, input, output, reassembly, reassembly_len } = connection;
        input.check(fed.len(), agent.negotiated().map_or(0, |negotiated| negotiated.max_frame_size))?;
        // Whole frames are read where Lua has them.
        let direct = input.unread().is_empty();
        if !direct {
            input.push(fed);
        }
        let mut rest = if direct { fed } else { input.unread() };
        let all = rest.len();
        stack.new_table(1, 0);
        let mut events = 0;
        loop {
            if output.is_full() {
                break;
            }
            let begins = || Header::peek(rest).is_some_and(|next| next.is_first_fragment());
            if reassembly.is_empty() && begins() && agent.negotiated().is_some_and(has_fragmentation) {
                *reassembly = vec![0; *reassembly_len];
            }
            let step = contain(|| agent.handle_input(rest, reassembly))?;
            let (used, event) = match step {
                Ok(step) => step,
                Err(error) => {
                    output.transmit(|out| agent.poll_transmit(out));
                    connection.release_if_over();
                    return push_failure(stack, error, error.status());
                }
            };
            rest = rest.get(used..).unwrap_or_default();
            let is_reassembled = event.as_ref().is_some_and(AgentEvent::ends_reassembly);
            let nothing_to_do =
                |event: &AgentEvent<'_>| matches!(event, AgentEvent::Fragment { .. } | AgentEvent::Ignored(_));
            if let Some(event) = event.filter(|event| !nothing_to_do(event)) {
                events += 1;
                push_event(stack, *serial, event);
                stack.set_position(events);
            }
            if is_reassembled {
                *reassembly = Vec::new();
            }
            let transmitted = contain(|| output.transmit(|out| agent.poll_transmit(out)))?;
            if used == 0 && !transmitted {
                break;
            }
        }
        let used = all.saturating_sub(rest.len());
        if direct {
            input.push(fed.get(used..).unwrap_or_default());
        } else {
            input.consume(used);
        }
        let frame_waits = match agent.want(&[]) {
            Want::Read(_) if !output.is_full() => false,
            Want::Close => false,
            _ => !input.unread().is_empty(),
        };
        connection.release_if_over();
        stack.push_boolean(frame_waits);
        Ok(2)
    })
}

fn has_fragmentation(negotiated: Negotiated) -> bool {
    negotiated.capabilities.contains(Capabilities::FRAGMENTATION)
}

fn push_event(stack: &Stack<'_>, serial: u64, event: AgentEvent<'_>) {
    match event {
        AgentEvent::Notify(notify) => {
            let origin = Origin::Notify { agent: serial, ticket: notify.ticket, fragmented: notify.fragmented };
            FrameObject::push(stack, origin, notify_header(notify.stream_id, notify.frame_id), notify.payload());
        }
        AgentEvent::Hello { negotiated, engine_id } => {
            push_negotiated(stack, "hello", negotiated);
            if let Some(id) = engine_id {
                stack.push_bytes(id);
                stack.set_field(c"engine_id");
            }
        }
        AgentEvent::Aborted { stream_id, frame_id } => push_ids(stack, "aborted", stream_id.0, frame_id.0),
        AgentEvent::TooBig { stream_id, frame_id } => push_ids(stack, "too-big", stream_id.0, frame_id.0),
        AgentEvent::Disconnect(disconnect) => push_disconnect(stack, disconnect),
        _ => push_named(stack, "other"),
    }
}

/// Pushes an event without anything but its name.
pub(crate) fn push_named(stack: &Stack<'_>, name: &str) {
    stack.new_table(0, 6);
    stack.push_bytes(name.as_bytes());
    stack.set_field(c"event");
}

fn push_ids(stack: &Stack<'_>, name: &str, stream_id: u64, frame_id: u64) {
    push_named(stack, name);
    value::push_id(stack, stream_id);
    stack.set_field(c"stream_id");
    value::push_id(stack, frame_id);
    stack.set_field(c"frame_id");
}

/// Pushes the peer's DISCONNECT.
pub(crate) fn push_disconnect(stack: &Stack<'_>, disconnect: spop_core::Disconnect<'_>) {
    push_named(stack, "disconnect");
    if let Some(status) = disconnect.status {
        stack.push_count(status.0.into());
        stack.set_field(c"status");
    }
    stack.push_bytes(disconnect.message);
    stack.set_field(c"message");
}

/// Pushes what was agreed on, as an event of that name.
pub(crate) fn push_negotiated(stack: &Stack<'_>, event: &str, negotiated: Negotiated) {
    push_named(stack, event);
    stack.push_count(negotiated.max_frame_size.into());
    stack.set_field(c"max_frame_size");
    stack.push_boolean(negotiated.healthcheck);
    stack.set_field(c"healthcheck");
    stack.new_table(0, 3);
    for name in negotiated.capabilities.names() {
        stack.push_boolean(true);
        match name {
            "pipelining" => stack.set_field(c"pipelining"),
            "async" => stack.set_field(c"async"),
            _ => stack.set_field(c"fragmentation"),
        }
    }
    stack.set_field(c"capabilities");
}

/// The NOTIFY of this agent that is the argument.
fn notify_argument(stack: &Stack<'_>, serial: u64) -> Result<(Ticket, Header), Misuse> {
    let notify = FrameObject::read(stack, 2).ok_or_else(|| stack.expected(2, "a NOTIFY of feed()"))?;
    match notify.origin {
        Origin::Notify { agent, ticket, .. } if agent == serial => Ok((ticket, notify.frame.header)),
        _ => Err(Misuse::argument(2, format_args!("a NOTIFY of this agent's feed() expected"))),
    }
}

/// `agent:ack(notify [, actions])`: true; nil, a text and maybe a status if the actions did not go out.
fn ack(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { agent, serial, output, .. } = connection;
        let (ticket, header) = notify_argument(stack, *serial)?;
        let max = agent.negotiated().map_or(0, |negotiated| negotiated.max_frame_size);
        let limit = (max as usize).saturating_add(PREFIX_LEN);
        let mut encode = |room: usize, with_actions: bool| -> Result<Result<usize, EncodeError>, Misuse> {
            let mut ack = match AckEncoder::new(output.room(room), max, header.stream_id, header.frame_id) {
                Ok(ack) => ack,
                Err(error) => return Ok(Err(error)),
            };
            if with_actions && !write_actions(stack, 3, &mut ack)? {
                return Ok(Err(EncodeError::NoSpace));
            }
            Ok(Ok(ack.finish()))
        };
        let mut room = FIRST_ROOM.min(limit);
        let mut written = encode(room, true)?;
        while let (Err(_), Some(more)) = (written, more_room(room, limit)) {
            room = more;
            written = encode(room, true)?;
        }
        let fits = written.is_ok();
        if !fits {
            written = encode(room, false)?;
        }
        // The ids may belong to a later NOTIFY by now; the ticket knows.
        if agent.release(ticket).is_none() {
            return Ok(push_nothing(stack, "this NOTIFY is not open any more"));
        }
        output.commit(written.unwrap_or_default());
        output.transmit(|out| agent.poll_transmit(out));
        if !fits {
            return push_failure(stack, NO_ROOM, Status::FRAME_TOO_BIG);
        }
        stack.push_boolean(true);
        Ok(1)
    })
}

/// `agent:release(notify)`: its stream-id and frame-id, for an ACK on another connection; nil and a text if it cannot leave this one.
fn release(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { agent, serial, .. } = connection;
        let (ticket, _) = notify_argument(stack, *serial)?;
        if !agent.negotiated().is_some_and(|agreed| agreed.capabilities.contains(Capabilities::ASYNC)) {
            return Ok(push_nothing(stack, "async was not agreed on"));
        }
        let Some((stream_id, frame_id)) = agent.release(ticket) else {
            return Ok(push_nothing(stack, "this NOTIFY is not open any more"));
        };
        value::push_id(stack, stream_id.0);
        value::push_id(stack, frame_id.0);
        Ok(2)
    })
}

/// Pushes nil and why.
fn push_nothing(stack: &Stack<'_>, why: &str) -> c_int {
    stack.push_nil();
    stack.push_bytes(why.as_bytes());
    2
}

/// `agent:output()`: the bytes to send now, "" if there are none.
fn output(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_bytes(connection.output.frames());
        connection.output.clear();
        connection.release_if_over();
        Ok(1)
    })
}

/// `agent:close([status])`.
fn close(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { agent, output, .. } = connection;
        agent.close(Status(value::u32_argument(stack, 2, 0)?));
        output.transmit(|out| agent.poll_transmit(out));
        connection.release_if_over();
        Ok(0)
    })
}

/// `agent:eof()`: how many NOTIFYs were open.
fn eof(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_count(connection.agent.handle_eof() as u64);
        connection.output.clear();
        connection.release_if_over();
        Ok(1)
    })
}

/// `agent:open()`: how many NOTIFYs are open.
fn open(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_count(connection.agent.open() as u64);
        Ok(1)
    })
}

/// `agent:negotiated()`: what was agreed on, nil before HELLO.
fn negotiated(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        match connection.agent.negotiated() {
            Some(negotiated) => push_negotiated(stack, "hello", negotiated),
            None => stack.push_nil(),
        }
        Ok(1)
    })
}

/// `agent:stats()`: the counters.
fn stats(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let stats = connection.agent.stats();
        stack.new_table(0, 8);
        for (name, count) in [
            (c"notifies", stats.notifies),
            (c"acks", stats.acks),
            (c"superseded", stats.superseded),
            (c"cancelled", stats.cancelled),
            (c"aborted", stats.aborted),
            (c"too_big", stats.too_big),
            (c"fragments", stats.fragments),
            (c"ignored", stats.ignored),
        ] {
            stack.push_count(count);
            stack.set_field(name);
        }
        Ok(1)
    })
}

/// `agent:poll_timeout()`: the tick at which `handle_timeout` is due, nil for none.
fn poll_timeout(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        push_tick(stack, connection.agent.poll_timeout());
        Ok(1)
    })
}

pub(crate) fn push_tick(stack: &Stack<'_>, tick: Option<u64>) {
    match tick {
        Some(tick) => stack.push_count(tick),
        None => stack.push_nil(),
    }
}

/// A number of ticks as an argument.
pub(crate) fn tick_argument(stack: &Stack<'_>, index: c_int) -> Result<u64, Misuse> {
    let tick = stack.integer(index).and_then(|n| u64::try_from(n).ok());
    tick.ok_or_else(|| stack.expected(index, "a number of ticks"))
}

/// `agent:handle_timeout(now)`: true, or nil, a text and a status.
fn handle_timeout(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { agent, output, .. } = connection;
        let result = agent.handle_timeout(tick_argument(stack, 2)?);
        output.transmit(|out| agent.poll_transmit(out));
        connection.release_if_over();
        match result {
            Ok(()) => {
                stack.push_boolean(true);
                Ok(1)
            }
            Err(error) => push_failure(stack, error, error.status()),
        }
    })
}
