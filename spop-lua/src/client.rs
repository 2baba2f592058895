//! HAProxy's side of a connection as a Lua object.

use spop_core::raw::actions_reader;
use spop_core::{
    Capabilities, ClientConfig, ClientEvent, EncodeError, EngineId, Flags, FrameId, FrameType, Header, MAX_HEADER_LEN,
    NotifyEncoder, NotifyError, PREFIX_LEN, Status, StreamId, Want,
};

use crate::agent::{push_disconnect, push_named, push_negotiated, push_tick, push_want, tick_argument};
use crate::buffers::{Input, Output};
use crate::encode::{NO_ROOM, Options, more_room, write_messages};
use crate::frame::{Object as FrameObject, Origin, push_failure};
use crate::raw::{Class, ClassFunctions, Functions, Misuse, Object, Outcome, Stack, c_function, contain};
use crate::value;

/// The functions of the module.
pub(crate) const FUNCTIONS: Functions = &[(c"client", c_function!(new))];

/// The methods of clients.
pub(crate) const CLASS: ClassFunctions = ClassFunctions {
    class: Class::Client,
    meta: &[(c"__gc", c_function!(collect))],
    methods: &[
        (c"want", c_function!(want)),
        (c"feed", c_function!(feed)),
        (c"notify", c_function!(notify)),
        (c"forget", c_function!(forget)),
        (c"output", c_function!(output)),
        (c"close", c_function!(close)),
        (c"eof", c_function!(eof)),
        (c"in_flight", c_function!(in_flight)),
        (c"negotiated", c_function!(negotiated)),
        (c"stats", c_function!(stats)),
        (c"poll_timeout", c_function!(poll_timeout)),
        (c"handle_timeout", c_function!(handle_timeout)),
    ],
};

/// The room that most NOTIFYs fit in.
const FIRST_ROOM: usize = 1024;
/// The longest payload that is sent in fragments.
const MAX_PAYLOAD: usize = 1024 * 1024;

struct Connection {
    client: spop_core::Client,
    input: Input,
    output: Output,
    next_stream: u64,
}

impl Connection {
    /// Lua's collector does not see what the buffers hold, so it may be long in coming for one whose connection is over.
    fn release_if_over(&mut self) {
        if self.client.want(&[]) == Want::Close {
            self.input = Input::default();
            self.output.release_if_empty();
        }
    }
}

impl Object for Connection {
    const CLASS: Class = Class::Client;
}

/// `client{ ... }`.
fn new(stack: &Stack<'_>) -> Outcome {
    let options =
        Options::push(stack, 1, &[c"max_frame_size", c"capabilities", c"healthcheck", c"engine_id", c"hello_timeout"])?;
    let default = ClientConfig::DEFAULT;
    let engine_id = match options.string(c"engine_id")? {
        None => None,
        Some(id) => Some(
            EngineId::new(id).ok_or_else(|| options.bad(c"engine_id", format_args!("at most 64 bytes expected")))?,
        ),
    };
    let min = spop_core::MIN_MAX_FRAME_SIZE.into();
    let config = ClientConfig::DEFAULT
        .with_max_frame_size(
            options.integer(c"max_frame_size", min, u32::MAX.into())?.map_or(default.max_frame_size, |n| n as u32),
        )
        .with_capabilities(options.capabilities(c"capabilities")?.unwrap_or(default.capabilities))
        .with_healthcheck(options.boolean(c"healthcheck")?.unwrap_or(false))
        .with_engine_id(engine_id)
        .with_hello_timeout(options.integer(c"hello_timeout", 1, u64::MAX)?);
    stack.push_object(|| {
        let mut client = spop_core::Client::new(config);
        let mut output = Output::default();
        output.transmit(|out| client.poll_transmit(out));
        Connection { client, input: Input::default(), output, next_stream: 1 }
    });
    Ok(1)
}

fn collect(stack: &Stack<'_>) -> Outcome {
    stack.collect::<Connection>()
}

/// `client:want()`.
fn want(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| push_want(stack, connection.client.want(connection.input.unread())))
}

/// `client:feed(bytes)`: the events, as a list.
fn feed(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let fed = stack.string_argument(2)?;
        let Connection { client, input, output, .. } = connection;
        // What is left over is less than a frame, and that is bounded.
        let direct = input.unread().is_empty();
        if !direct {
            input.push(fed);
        }
        let mut rest = if direct { fed } else { input.unread() };
        let all = rest.len();
        stack.new_table(1, 0);
        let mut events = 0;
        loop {
            let (used, event) = match contain(|| client.handle_input(rest))? {
                Ok(step) => step,
                Err(error) => {
                    output.transmit(|out| client.poll_transmit(out));
                    connection.release_if_over();
                    return push_failure(stack, error, error.status());
                }
            };
            rest = rest.get(used..).unwrap_or_default();
            if let Some(event) = event.filter(|event| !matches!(event, ClientEvent::Ignored(_))) {
                events += 1;
                push_event(stack, event);
                stack.set_position(events);
            }
            if used == 0 || rest.is_empty() {
                break;
            }
        }
        let used = all.saturating_sub(rest.len());
        if direct {
            input.push(fed.get(used..).unwrap_or_default());
        } else {
            input.consume(used);
        }
        connection.release_if_over();
        Ok(1)
    })
}

fn push_event(stack: &Stack<'_>, event: ClientEvent<'_>) {
    match event {
        ClientEvent::Hello(negotiated) => push_negotiated(stack, "hello", negotiated),
        ClientEvent::Ack { stream_id, frame_id, aborted, actions } => {
            let flags = if aborted { Flags::FIN.union(Flags::ABORT) } else { Flags::FIN };
            let header = Header { frame_type: FrameType::ACK, flags, stream_id, frame_id };
            FrameObject::push(stack, Origin::Ack, header, actions_reader(&actions).remaining());
        }
        ClientEvent::Disconnect(disconnect) => push_disconnect(stack, disconnect),
        _ => push_named(stack, "other"),
    }
}

/// `client:notify(messages [, stream_id, frame_id])`: the ids; nil and a text if it cannot be sent now, and status 3 if it
/// is too long. Without ids the client counts.
fn notify(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let own_ids = stack.is_nothing(3);
        let (stream_id, frame_id) = if own_ids {
            (StreamId(connection.next_stream), FrameId(1))
        } else {
            (StreamId(value::id_argument(stack, 3)?), FrameId(value::id_argument(stack, 4)?))
        };
        let Connection { client, output, next_stream, .. } = connection;
        let max = client.negotiated().map_or(0, |negotiated| negotiated.max_frame_size);
        let limit = (max as usize).saturating_add(PREFIX_LEN);
        let mut room = FIRST_ROOM.min(limit);
        let sent = loop {
            let mut written = Err(EncodeError::NoSpace);
            if let Ok(mut notify) = NotifyEncoder::new(output.room(room), max, stream_id, frame_id)
                && write_messages(stack, 2, &mut notify)?
            {
                written = Ok(notify.finish());
            }
            match (written, more_room(room, limit)) {
                (Ok(len), _) => {
                    // The machine counts it as in flight from here on; what it writes is the header once more.
                    let mut header = [0; MAX_HEADER_LEN];
                    let begun = client.notify(&mut header, stream_id, frame_id).map(|_| ());
                    break begun.map(|()| output.commit(len));
                }
                (Err(_), Some(more)) => room = more,
                (Err(_), None) => match notify_in_fragments(stack, client, output, stream_id, frame_id)? {
                    Some(sent) => break sent,
                    None => return push_failure(stack, NO_ROOM, Status::FRAME_TOO_BIG),
                },
            }
        };
        if let Err(error) = sent {
            stack.push_nil();
            stack.push_text(format_args!("{error}"));
            return Ok(2);
        }
        if own_ids {
            *next_stream = next_stream.wrapping_add(1);
        }
        value::push_id(stack, stream_id.0);
        value::push_id(stack, frame_id.0);
        Ok(2)
    })
}

/// Sends a NOTIFY that is too long for one frame; `None` if it is too long for fragments too, or if the agent takes none.
fn notify_in_fragments(
    stack: &Stack<'_>,
    client: &mut spop_core::Client,
    output: &mut Output,
    stream_id: StreamId,
    frame_id: FrameId,
) -> Result<Option<Result<(), NotifyError>>, Misuse> {
    let Some(negotiated) = client.negotiated() else { return Ok(Some(Err(NotifyError::NotRunning))) };
    if !negotiated.capabilities.contains(Capabilities::FRAGMENTATION) {
        return Ok(None);
    }
    let memory = stack.scratch(MAX_PAYLOAD);
    let mut notify = NotifyEncoder::payload(memory);
    if !write_messages(stack, 2, &mut notify)? {
        return Ok(None);
    }
    let len = notify.finish();
    let payload = memory.get(..len).unwrap_or_default();
    if let Err(error) = client.start_fragmented(stream_id, frame_id) {
        return Ok(Some(Err(error)));
    }
    let room = (negotiated.max_frame_size as usize).saturating_add(PREFIX_LEN);
    while let Ok(Some(len)) = client.notify_fragment(output.room(room), payload, usize::MAX) {
        output.commit(len);
    }
    Ok(Some(Ok(())))
}

/// `client:forget(stream_id, frame_id)`: gives up waiting; was it in flight?
fn forget(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let ids = (StreamId(value::id_argument(stack, 2)?), FrameId(value::id_argument(stack, 3)?));
        stack.push_boolean(connection.client.forget(ids.0, ids.1));
        Ok(1)
    })
}

/// `client:output()`: the bytes to send now, "" if there are none.
fn output(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_bytes(connection.output.frames());
        connection.output.clear();
        connection.release_if_over();
        Ok(1)
    })
}

/// `client:close([status])`.
fn close(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { client, output, .. } = connection;
        client.close(Status(value::u32_argument(stack, 2, 0)?));
        output.transmit(|out| client.poll_transmit(out));
        Ok(0)
    })
}

/// `client:eof()`: how many NOTIFYs were in flight.
fn eof(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_count(connection.client.handle_eof() as u64);
        connection.output.clear();
        connection.release_if_over();
        Ok(1)
    })
}

/// `client:in_flight()`.
fn in_flight(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        stack.push_count(connection.client.in_flight() as u64);
        Ok(1)
    })
}

/// `client:negotiated()`: what was agreed on, nil before the agent's HELLO.
fn negotiated(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        match connection.client.negotiated() {
            Some(negotiated) => push_negotiated(stack, "hello", negotiated),
            None => stack.push_nil(),
        }
        Ok(1)
    })
}

/// `client:stats()`: the counters.
fn stats(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let stats = connection.client.stats();
        stack.new_table(0, 3);
        for (name, count) in [(c"notifies", stats.notifies), (c"acks", stats.acks), (c"ignored", stats.ignored)] {
            stack.push_count(count);
            stack.set_field(name);
        }
        Ok(1)
    })
}

/// `client:poll_timeout()`: the tick at which `handle_timeout` is due, nil for none.
fn poll_timeout(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        push_tick(stack, connection.client.poll_timeout());
        Ok(1)
    })
}

/// `client:handle_timeout(now)`: true, or nil, a text and a status.
fn handle_timeout(stack: &Stack<'_>) -> Outcome {
    stack.with_this(|connection: &mut Connection| {
        let Connection { client, output, .. } = connection;
        let result = client.handle_timeout(tick_argument(stack, 2)?);
        output.transmit(|out| client.poll_transmit(out));
        match result {
            Ok(()) => {
                stack.push_boolean(true);
                Ok(1)
            }
            Err(error) => push_failure(stack, error, error.status()),
        }
    })
}
