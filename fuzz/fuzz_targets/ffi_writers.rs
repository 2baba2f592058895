//! The writers of the C interface: the same calls in any order give the same codes and bytes as spop-core's encoders, and
//! nothing is written beyond the buffer.

#![no_main]

#[path = "support/c.rs"]
mod c;

use std::ptr::null_mut;

use c::{ptr, zeroed};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spop_core::{
    AckEncoder, DisconnectEncoder, EncodeError, Flags, FrameEncoder, FrameId, FrameType, Header, HelloEncoder,
    NotifyEncoder, Scope, Status, StreamId, Value, Version,
};
use spop_ffi::*;
use spop_fuzz::common::owned::Val;
use spop_fuzz::{Bytes, Number, capabilities};

#[derive(Arbitrary, Debug)]
enum Begin {
    Frame { kind: u8, flags: u32 },
    Ack,
    Notify,
    Payload,
    Hello { agent: bool },
}

#[derive(Arbitrary, Debug)]
enum Call {
    SetVar(u8, Bytes, Val),
    UnsetVar(u8, Bytes),
    Clear,
    Message(Bytes),
    Arg(Bytes, Val),
    Version(u32, u32),
    Size(u32),
    Capabilities(u8),
    Healthcheck(bool),
    EngineId(Bytes),
    HelloKv(Bytes, Val),
    FrameBytes(Bytes),
    FrameVarint(Number),
    FrameString(Bytes),
    FrameValue(Val),
}

/// The encoder of spop-core that a writer stands for.
enum Model<'b> {
    Frame(FrameEncoder<'b>),
    Ack(AckEncoder<'b>),
    Notify(NotifyEncoder<'b>),
    Hello { encoder: HelloEncoder<'b>, agent: bool },
}

#[derive(Arbitrary, Debug)]
struct Input {
    begin: Begin,
    ids: (Number, Number),
    /// Bytes of the buffer, and max-frame-size.
    room: u16,
    max: u16,
    calls: Vec<Call>,
    disconnect: (bool, u32, Bytes),
}

fuzz_target!(|input: Input| {
    let room = usize::from(input.room % 1024);
    let max = u32::from(input.max);
    disconnect(&input.disconnect, max, room);
    let (mut out, mut expected) = (vec![0; room], vec![0; room]);
    let mut writer: spop_writer = unsafe { zeroed() };
    let (code, model) = begin(&input, max, &mut out, &mut expected, &mut writer);
    let mut model = match model {
        Ok(model) => model,
        Err(error) => {
            assert_eq!(code, code_of(error));
            return;
        }
    };
    assert_eq!(code, SPOP_OK);
    for call in &input.calls {
        let expected = model.call(call).map_or(SPOP_E_WRITER, |result| result.map_or_else(code_of, |()| SPOP_OK));
        assert_eq!(unsafe { write(&mut writer, call) }, expected, "{call:?}");
        assert_eq!(unsafe { spop_writer_room(&writer) }, model.room(), "{call:?}");
    }
    let mut len = 0;
    let finish = match input.begin {
        Begin::Frame { .. } => spop_frame_finish,
        Begin::Ack => spop_ack_finish,
        Begin::Notify | Begin::Payload => spop_notify_finish,
        Begin::Hello { .. } => spop_hello_finish,
    };
    assert_eq!(unsafe { finish(&mut writer, null_mut()) }, SPOP_E_NULL);
    assert_eq!(unsafe { finish(&mut writer, &mut len) }, SPOP_OK);
    assert_eq!(len, model.finish());
    assert_eq!(out[..len], expected[..len]);
    // It is finished: no call does anything.
    for call in &input.calls {
        assert_eq!(unsafe { write(&mut writer, call) }, SPOP_E_WRITER);
    }
    assert_eq!(unsafe { spop_writer_room(&writer) }, 0);
    absurd(&mut writer);
});

fn code_of(error: EncodeError) -> spop_error {
    match error {
        EncodeError::NoSpace => SPOP_E_NO_SPACE,
        EncodeError::TooManyArgs => SPOP_E_TOO_MANY_ARGS,
        EncodeError::NoMessage => SPOP_E_NO_MESSAGE,
        other => panic!("{other}"),
    }
}

fn begin<'b>(
    input: &Input,
    max: u32,
    out: &mut [u8],
    expected: &'b mut [u8],
    writer: &mut spop_writer,
) -> (spop_error, Result<Model<'b>, EncodeError>) {
    let (Number(stream), Number(frame)) = input.ids;
    let (place, cap) = (out.as_mut_ptr().cast(), out.len());
    let (stream_id, frame_id) = (StreamId(stream), FrameId(frame));
    match input.begin {
        Begin::Frame { kind, flags } => {
            let header = spop_frame {
                r#type: kind.into(),
                flags,
                stream_id: stream,
                frame_id: frame,
                payload: spop_bytes { ptr: std::ptr::null(), len: 0 },
            };
            let code = unsafe { spop_frame_begin(&header, max, place, cap, writer) };
            let header = Header { frame_type: FrameType(kind), flags: Flags(flags), stream_id, frame_id };
            (code, FrameEncoder::new(expected, max, header).map(Model::Frame))
        }
        Begin::Ack => {
            let code = unsafe { spop_ack_begin_ids(stream, frame, max, place, cap, writer) };
            (code, AckEncoder::new(expected, max, stream_id, frame_id).map(Model::Ack))
        }
        Begin::Notify => {
            let code = unsafe { spop_notify_begin_ids(stream, frame, max, place, cap, writer) };
            (code, NotifyEncoder::new(expected, max, stream_id, frame_id).map(Model::Notify))
        }
        Begin::Payload => {
            let code = unsafe { spop_notify_begin_payload(place, cap, writer) };
            (code, Ok(Model::Notify(NotifyEncoder::payload(expected))))
        }
        Begin::Hello { agent } => {
            let kind = if agent { SPOP_FRAME_AGENT_HELLO } else { SPOP_FRAME_HAPROXY_HELLO };
            let code = unsafe { spop_hello_begin(kind, max, place, cap, writer) };
            let encoder = if agent { HelloEncoder::agent } else { HelloEncoder::haproxy }(expected, max);
            (code, encoder.map(|encoder| Model::Hello { encoder, agent }))
        }
    }
}

impl Model<'_> {
    /// `None` if the call is not for this writer.
    fn call(&mut self, call: &Call) -> Option<Result<(), EncodeError>> {
        Some(match (self, call) {
            (Model::Ack(ack), Call::SetVar(at, Bytes(name), value)) => ack.set_var(scope(*at), name, &value.get()),
            (Model::Ack(ack), Call::UnsetVar(at, Bytes(name))) => ack.unset_var(scope(*at), name),
            (Model::Ack(ack), Call::Clear) => {
                ack.clear();
                Ok(())
            }
            (Model::Notify(notify), Call::Message(Bytes(name))) => notify.message(name),
            (Model::Notify(notify), Call::Arg(Bytes(key), value)) => notify.arg(key, &value.get()),
            (Model::Hello { encoder, agent }, Call::Version(major, minor)) => {
                let version = Version { major: *major, minor: *minor };
                if *agent { encoder.version(version) } else { encoder.supported_versions(version) }
            }
            (Model::Hello { encoder, .. }, Call::Size(size)) => encoder.max_frame_size(*size),
            (Model::Hello { encoder, .. }, Call::Capabilities(bits)) => encoder.capabilities(capabilities(*bits)),
            (Model::Hello { encoder, .. }, Call::Healthcheck(flag)) => encoder.healthcheck(*flag),
            (Model::Hello { encoder, .. }, Call::EngineId(Bytes(id))) => encoder.engine_id(id),
            (Model::Hello { encoder, .. }, Call::HelloKv(Bytes(key), value)) => encoder.kv(key, &value.get()),
            (Model::Frame(frame), Call::FrameBytes(Bytes(bytes))) => frame.payload().bytes(bytes),
            (Model::Frame(frame), Call::FrameVarint(Number(n))) => frame.payload().varint(*n),
            (Model::Frame(frame), Call::FrameString(Bytes(bytes))) => frame.payload().string(bytes),
            (Model::Frame(frame), Call::FrameValue(value)) => frame.payload().value(&value.get()),
            _ => return None,
        })
    }

    fn room(&mut self) -> usize {
        match self {
            Model::Frame(frame) => frame.payload().room(),
            Model::Ack(ack) => ack.room(),
            Model::Notify(notify) => notify.room(),
            Model::Hello { encoder, .. } => encoder.room(),
        }
    }

    fn finish(self) -> usize {
        match self {
            Model::Frame(frame) => frame.finish(),
            Model::Ack(ack) => ack.finish(),
            Model::Notify(notify) => notify.finish(),
            Model::Hello { encoder, .. } => encoder.finish(),
        }
    }
}

/// # Safety
/// The writer was begun, and its buffer lives.
unsafe fn write(writer: *mut spop_writer, call: &Call) -> spop_error {
    // SAFETY: as the caller says; all else are slices.
    unsafe {
        match call {
            Call::SetVar(at, Bytes(name), value) => {
                spop_ack_set_var(writer, scope(*at) as u32, ptr(name), name.len(), &to_c(value))
            }
            Call::UnsetVar(at, Bytes(name)) => spop_ack_unset_var(writer, scope(*at) as u32, ptr(name), name.len()),
            Call::Clear => spop_ack_clear(writer),
            Call::Message(Bytes(name)) => spop_notify_message(writer, ptr(name), name.len()),
            Call::Arg(Bytes(key), value) => spop_notify_arg(writer, ptr(key), key.len(), &to_c(value)),
            Call::Version(major, minor) => spop_hello_version(writer, *major, *minor),
            Call::Size(size) => spop_hello_max_frame_size(writer, *size),
            Call::Capabilities(bits) => spop_hello_capabilities(writer, u32::from(bits % 8)),
            Call::Healthcheck(flag) => spop_hello_healthcheck(writer, (*flag).into()),
            Call::EngineId(Bytes(id)) => spop_hello_engine_id(writer, ptr(id), id.len()),
            Call::HelloKv(Bytes(key), value) => spop_hello_kv(writer, ptr(key), key.len(), &to_c(value)),
            Call::FrameBytes(Bytes(bytes)) => spop_frame_bytes(writer, ptr(bytes), bytes.len()),
            Call::FrameVarint(Number(n)) => spop_frame_varint(writer, *n),
            Call::FrameString(Bytes(bytes)) => spop_frame_string(writer, ptr(bytes), bytes.len()),
            Call::FrameValue(value) => spop_frame_value(writer, &to_c(value)),
        }
    }
}

fn scope(byte: u8) -> Scope {
    Scope::from_u8(byte % 5).expect("there are five")
}

fn to_c(value: &Val) -> spop_value {
    match value.get() {
        Value::Null => spop_null(),
        Value::Bool(b) => spop_bool(b.into()),
        Value::Int32(n) => spop_int32(n),
        Value::UInt32(n) => spop_uint32(n),
        Value::Int64(n) => spop_int64(n),
        Value::UInt64(n) => spop_uint64(n),
        Value::Ipv4(ip) => unsafe { spop_ipv4(ptr(&ip.octets())) },
        Value::Ipv6(ip) => unsafe { spop_ipv6(ptr(&ip.octets())) },
        Value::String(text) => spop_string(ptr(text), text.len()),
        Value::Binary(data) => spop_binary(ptr(data), data.len()),
    }
}

fn disconnect((agent, status, Bytes(text)): &(bool, u32, Bytes), max: u32, room: usize) {
    let (mut out, mut expected, mut len) = (vec![0; room], vec![0; room], 0);
    let kind = if *agent { SPOP_FRAME_AGENT_DISCONNECT } else { SPOP_FRAME_HAPROXY_DISCONNECT };
    let code = unsafe {
        let place = out.as_mut_ptr().cast();
        spop_disconnect_encode(kind, *status, ptr(text), text.len(), max, place, room, &mut len)
    };
    let begin = if *agent { DisconnectEncoder::agent } else { DisconnectEncoder::haproxy };
    let core = begin(&mut expected, max, Status(*status))
        .and_then(|mut disconnect| disconnect.message(text).map(|()| disconnect.finish()));
    match core {
        Ok(expected_len) => assert_eq!((code, len, &out[..len]), (SPOP_OK, expected_len, &expected[..len])),
        Err(error) => assert_eq!(code, code_of(error)),
    }
}

/// NULL and lengths that cannot be.
fn absurd(writer: &mut spop_writer) {
    let (null, value, byte) = (null_mut(), spop_null(), [0_u8]);
    unsafe {
        assert_eq!(spop_ack_set_var(null, 0, ptr(&byte), 1, &value), SPOP_E_NULL);
        assert_eq!(spop_ack_set_var(writer, 0, null.cast(), 1, &value), SPOP_E_NULL);
        assert_eq!(spop_ack_set_var(writer, 0, ptr(&byte), usize::MAX, &value), SPOP_E_ARGUMENT);
        assert_eq!(spop_ack_set_var(writer, 0, ptr(&byte), 1, std::ptr::null()), SPOP_E_NULL);
        assert_eq!(spop_ack_set_var(writer, 5, ptr(&byte), 1, &value), SPOP_E_ARGUMENT);
        let bad = spop_string(null.cast(), 1);
        assert_eq!(spop_notify_arg(writer, ptr(&byte), 1, &bad), SPOP_E_NULL);
        let bad = spop_binary(ptr(&byte), usize::MAX);
        assert_eq!(spop_hello_kv(writer, ptr(&byte), 1, &bad), SPOP_E_ARGUMENT);
        assert_eq!(spop_ack_begin_ids(1, 1, 256, null.cast(), 64, writer), SPOP_E_NULL);
        assert_eq!(spop_notify_begin_payload(null.cast(), usize::MAX, writer), SPOP_E_NULL);
        assert_eq!(spop_writer_room(null), 0);
    }
}
