//! Writers of frames into the caller's buffer.

use core::ffi::c_void;

use spop_core::encoded_len;
use spop_core::{
    AckEncoder, DisconnectEncoder, FrameEncoder, FrameId, HelloEncoder, PREFIX_LEN, Scope, Status, StreamId, Version,
    Writer, raw, varint,
};

use crate::error::{Code, SPOP_E_ARGUMENT, SPOP_E_WRITER, spop_error};
use crate::frame::{
    SPOP_FRAME_AGENT_DISCONNECT, SPOP_FRAME_AGENT_HELLO, SPOP_FRAME_HAPROXY_DISCONNECT, SPOP_FRAME_HAPROXY_HELLO,
    spop_frame,
};
use crate::memory::{Out, input, output, run, shared, unique};
use crate::payload::capabilities_from_bits;
use crate::value::spop_value;

/// A frame that is being written. A call that does not fit returns SPOP_E_NO_SPACE and leaves it as it was: finish it
/// with what is in it, or try something shorter. Nothing needs to be freed. All members are private.
///
/// The buffer belongs to the writer until it is finished.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_writer {
    /// The buffer.
    pub out: *mut c_void,
    /// How much of it may be filled.
    pub limit: usize,
    /// How much is filled.
    pub len: usize,
    /// Of an ACK: the length of its header. Of a NOTIFY: where the argument count of the last message is, 0 for none.
    pub mark: usize,
    /// Of a NOTIFY: that count.
    pub args: u32,
    /// What may be written.
    pub kind: u32,
}

/// The kinds of writers, as bits.
pub(crate) mod kind {
    pub(crate) const FINISHED: u32 = 0;
    pub(crate) const FRAME: u32 = 1;
    pub(crate) const ACK: u32 = 2;
    pub(crate) const NOTIFY: u32 = 4;
    pub(crate) const NOTIFY_PAYLOAD: u32 = 8;
    pub(crate) const AGENT_HELLO: u32 = 16;
    pub(crate) const HAPROXY_HELLO: u32 = 32;
    pub(crate) const HELLO: u32 = AGENT_HELLO | HAPROXY_HELLO;
}

impl spop_writer {
    /// A writer whose encoder, limited to `max_frame_size`, has `room` bytes left in `cap`.
    pub(crate) fn begun(kind: u32, out: *mut c_void, cap: usize, max_frame_size: u32, room: usize) -> Self {
        let limit = (max_frame_size as usize).saturating_add(PREFIX_LEN).min(cap);
        let len = limit.saturating_sub(room);
        let mark = if kind == kind::ACK { len } else { 0 };
        spop_writer { out, limit, len, mark, args: 0, kind }
    }

    /// The writer, if it is of one of `kinds`, and where it goes on.
    ///
    /// # Safety
    /// The rules of the crate.
    #[inline(never)]
    pub(crate) unsafe fn resume<'a>(this: *mut Self, kinds: u32) -> Result<(&'a mut Self, Writer<'a>), Code> {
        // SAFETY: the rules of the crate.
        let this = unsafe { unique(this)? };
        if this.kind & kinds == 0 {
            return Err(Code(SPOP_E_WRITER));
        }
        // SAFETY: the rules of the crate.
        let out = unsafe { output(this.out, this.limit)? };
        let writer = raw::writer(out, this.len);
        Ok((this, writer))
    }

    /// Appends to the payload.
    ///
    /// # Safety
    /// The rules of the crate.
    #[inline]
    unsafe fn append(
        this: *mut Self,
        kinds: u32,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Code>,
    ) -> Result<(), Code> {
        // SAFETY: the rules of the crate.
        let (this, mut writer) = unsafe { Self::resume(this, kinds)? };
        write(&mut writer)?;
        this.len = writer.len();
        Ok(())
    }

    /// Adds a key to a HELLO.
    ///
    /// # Safety
    /// The rules of the crate.
    unsafe fn append_hello(
        this: *mut Self,
        write: impl FnOnce(&mut HelloEncoder<'_>, u32) -> Result<(), Code>,
    ) -> Result<(), Code> {
        // SAFETY: the rules of the crate.
        let (this, writer) = unsafe { Self::resume(this, kind::HELLO)? };
        let mut hello = raw::hello_encoder(raw::frame_encoder(writer));
        write(&mut hello, this.kind)?;
        this.len = this.limit.saturating_sub(hello.room());
        Ok(())
    }

    /// Sets the length prefix; the length of the whole frame.
    ///
    /// # Safety
    /// The rules of the crate.
    #[inline(never)]
    unsafe fn finish(this: *mut Self, kinds: u32, len: *mut usize) -> spop_error {
        run(|| {
            // SAFETY: the rules of the crate.
            let (len, (this, writer)) = unsafe { (Out::new(len)?, Self::resume(this, kinds)?) };
            len.set(raw::frame_encoder(writer).finish());
            this.kind = kind::FINISHED;
            Ok(())
        })
    }
}

pub(crate) fn scope(scope: u32) -> Result<Scope, Code> {
    u8::try_from(scope).ok().and_then(Scope::from_u8).ok_or(Code(SPOP_E_ARGUMENT))
}

/// How many bytes the writer still takes; 0 for NULL and after the end.
#[no_mangle]
pub unsafe extern "C" fn spop_writer_room(writer: *const spop_writer) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { shared(writer) } {
        Ok(writer) if writer.kind != kind::FINISHED => writer.limit.saturating_sub(writer.len),
        _ => 0,
    }
}

/// Begins an ACK of one's own: for an answer on another connection of the engine (see spop_agent_release()), or without
/// a spop_agent. `max_frame_size` is what was negotiated. SPOP_E_NO_SPACE below SPOP_MAX_HEADER_LEN bytes, perhaps.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_begin_ids(
    stream_id: u64,
    frame_id: u64,
    max_frame_size: u32,
    out: *mut c_void,
    cap: usize,
    ack: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (buf, ack) = unsafe { (output(out, cap)?, Out::new(ack)?) };
        let encoder = AckEncoder::new(buf, max_frame_size, StreamId(stream_id), FrameId(frame_id))?;
        ack.set(spop_writer::begun(kind::ACK, out, cap, max_frame_size, encoder.room()));
        Ok(())
    })
}

/// Adds a set-var to an ACK. `scope` is SPOP_SCOPE_... HAProxy allows A-Z a-z 0-9 _ . in names, and 63 characters with
/// scope and engine prefix; it says nothing of others.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_set_var(
    ack: *mut spop_writer,
    scope: u32,
    name: *const c_void,
    name_len: usize,
    value: *const spop_value,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let (scope, name, value) = (self::scope(scope)?, input(name, name_len)?, shared(value)?.to_core()?);
            spop_writer::append(ack, kind::ACK, |writer| Ok(writer.set_var(scope, name, value)?))
        }
    })
}

/// Adds an unset-var to an ACK.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_unset_var(
    ack: *mut spop_writer,
    scope: u32,
    name: *const c_void,
    name_len: usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let (scope, name) = (self::scope(scope)?, input(name, name_len)?);
            spop_writer::append(ack, kind::ACK, |writer| Ok(writer.unset_var(scope, name)?))
        }
    })
}

/// Takes all actions out of an ACK again.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_clear(ack: *mut spop_writer) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (ack, _) = unsafe { spop_writer::resume(ack, kind::ACK)? };
        ack.len = ack.mark;
        Ok(())
    })
}

/// Completes an ACK: the first `*len` bytes of its buffer are the frame. Send them in one write.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_finish(ack: *mut spop_writer, len: *mut usize) -> spop_error {
    // SAFETY: the rules of the crate.
    unsafe { spop_writer::finish(ack, kind::ACK, len) }
}

/// Begins a HELLO: `type` is SPOP_FRAME_AGENT_HELLO or SPOP_FRAME_HAPROXY_HELLO. A spop_agent or spop_client sends its
/// own; this is for programs without. The peer wants all of its keys, in any order.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_begin(
    r#type: u32,
    max_frame_size: u32,
    out: *mut c_void,
    cap: usize,
    hello: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (buf, hello) = unsafe { (output(out, cap)?, Out::new(hello)?) };
        let (encoder, kind) = match r#type {
            SPOP_FRAME_AGENT_HELLO => (HelloEncoder::agent(buf, max_frame_size)?, kind::AGENT_HELLO),
            SPOP_FRAME_HAPROXY_HELLO => (HelloEncoder::haproxy(buf, max_frame_size)?, kind::HAPROXY_HELLO),
            _ => return Err(Code(SPOP_E_ARGUMENT)),
        };
        hello.set(spop_writer::begun(kind, out, cap, max_frame_size, encoder.room()));
        Ok(())
    })
}

/// Adds `version` to an AGENT-HELLO, `supported-versions` to a HAPROXY-HELLO. The version of SPOP is 2.0.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_version(hello: *mut spop_writer, major: u32, minor: u32) -> spop_error {
    run(|| {
        let version = Version { major, minor };
        let write = |hello: &mut HelloEncoder<'_>, kind| {
            Ok(if kind == kind::AGENT_HELLO { hello.version(version) } else { hello.supported_versions(version) }?)
        };
        // SAFETY: the rules of the crate.
        unsafe { spop_writer::append_hello(hello, write) }
    })
}

/// Adds `max-frame-size` to a HELLO.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_max_frame_size(hello: *mut spop_writer, size: u32) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { spop_writer::append_hello(hello, |hello, _| Ok(hello.max_frame_size(size)?)) })
}

/// Adds `capabilities` (SPOP_CAP_...) to a HELLO. SPOP_E_ARGUMENT for unknown ones.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_capabilities(hello: *mut spop_writer, capabilities: u32) -> spop_error {
    run(|| {
        let capabilities = capabilities_from_bits(capabilities)?;
        // SAFETY: the rules of the crate.
        unsafe { spop_writer::append_hello(hello, |hello, _| Ok(hello.capabilities(capabilities)?)) }
    })
}

/// Adds `healthcheck` to a HAPROXY-HELLO; 0 is false, all else true.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_healthcheck(hello: *mut spop_writer, healthcheck: i32) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { spop_writer::append_hello(hello, |hello, _| Ok(hello.healthcheck(healthcheck != 0)?)) })
}

/// Adds `engine-id` to a HAPROXY-HELLO.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_engine_id(hello: *mut spop_writer, id: *const c_void, len: usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let id = input(id, len)?;
            spop_writer::append_hello(hello, |hello, _| Ok(hello.engine_id(id)?))
        }
    })
}

/// Adds any key to a HELLO. An agent must not send a key that begins with a known one: HAProxy compares prefixes.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_kv(
    hello: *mut spop_writer,
    key: *const c_void,
    key_len: usize,
    value: *const spop_value,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let (key, value) = (input(key, key_len)?, shared(value)?.to_core()?);
            spop_writer::append_hello(hello, |hello, _| Ok(hello.kv(key, value)?))
        }
    })
}

/// Completes a HELLO: the first `*len` bytes of its buffer are the frame. Send them in one write: HAProxy 3.5-dev refuses
/// an AGENT-HELLO in two segments.
#[no_mangle]
pub unsafe extern "C" fn spop_hello_finish(hello: *mut spop_writer, len: *mut usize) -> spop_error {
    // SAFETY: the rules of the crate.
    unsafe { spop_writer::finish(hello, kind::HELLO, len) }
}

/// Writes a whole DISCONNECT to `out`, and its length into `*frame_len`: `type` is SPOP_FRAME_AGENT_DISCONNECT or
/// SPOP_FRAME_HAPROXY_DISCONNECT, `status` SPOP_STATUS_... or one's own, `message` a text for people; HAProxy 2.6 refuses
/// more than 255 bytes of it.
#[no_mangle]
pub unsafe extern "C" fn spop_disconnect_encode(
    r#type: u32,
    status: u32,
    message: *const c_void,
    message_len: usize,
    max_frame_size: u32,
    out: *mut c_void,
    cap: usize,
    frame_len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (message, out, len) = unsafe { (input(message, message_len)?, output(out, cap)?, Out::new(frame_len)?) };
        let mut disconnect = match r#type {
            SPOP_FRAME_AGENT_DISCONNECT => DisconnectEncoder::agent(out, max_frame_size, Status(status))?,
            SPOP_FRAME_HAPROXY_DISCONNECT => DisconnectEncoder::haproxy(out, max_frame_size, Status(status))?,
            _ => return Err(Code(SPOP_E_ARGUMENT)),
        };
        disconnect.message(message)?;
        len.set(disconnect.finish());
        Ok(())
    })
}

/// Begins a frame of any type, with any flags and any payload, for tests and special peers: the members of `header` but
/// `payload` are written. SPOP_E_ARGUMENT for a type above 255.
#[no_mangle]
pub unsafe extern "C" fn spop_frame_begin(
    header: *const spop_frame,
    max_frame_size: u32,
    out: *mut c_void,
    cap: usize,
    frame: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (header, buf, frame) = unsafe { (shared(header)?, output(out, cap)?, Out::new(frame)?) };
        if header.r#type > u8::MAX.into() {
            return Err(Code(SPOP_E_ARGUMENT));
        }
        let mut encoder = FrameEncoder::new(buf, max_frame_size, header.header())?;
        frame.set(spop_writer::begun(kind::FRAME, out, cap, max_frame_size, encoder.payload().room()));
        Ok(())
    })
}

/// Appends bytes as they are to a frame of spop_frame_begin().
#[no_mangle]
pub unsafe extern "C" fn spop_frame_bytes(frame: *mut spop_writer, bytes: *const c_void, len: usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let bytes = input(bytes, len)?;
            spop_writer::append(frame, kind::FRAME, |writer| Ok(writer.bytes(bytes)?))
        }
    })
}

/// Appends a varint to a frame of spop_frame_begin().
#[no_mangle]
pub unsafe extern "C" fn spop_frame_varint(frame: *mut spop_writer, number: u64) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { spop_writer::append(frame, kind::FRAME, |writer| Ok(writer.varint(number)?)) })
}

/// Appends a length as varint and so many bytes to a frame of spop_frame_begin(): a name or key.
#[no_mangle]
pub unsafe extern "C" fn spop_frame_string(frame: *mut spop_writer, bytes: *const c_void, len: usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let bytes = input(bytes, len)?;
            spop_writer::append(frame, kind::FRAME, |writer| Ok(writer.string(bytes)?))
        }
    })
}

/// Appends a typed value to a frame of spop_frame_begin().
#[no_mangle]
pub unsafe extern "C" fn spop_frame_value(frame: *mut spop_writer, value: *const spop_value) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe {
            let value = shared(value)?.to_core()?;
            spop_writer::append(frame, kind::FRAME, |writer| Ok(writer.value(value)?))
        }
    })
}

/// Completes a frame of spop_frame_begin(): the first `*len` bytes of its buffer.
#[no_mangle]
pub unsafe extern "C" fn spop_frame_finish(frame: *mut spop_writer, len: *mut usize) -> spop_error {
    // SAFETY: the rules of the crate.
    unsafe { spop_writer::finish(frame, kind::FRAME, len) }
}

/// The length of a whole frame with these ids and a payload of `payload_len` bytes. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_frame_len(stream_id: u64, frame_id: u64, payload_len: usize) -> usize {
    encoded_len::frame(StreamId(stream_id), FrameId(frame_id), payload_len)
}

/// The length of a string with its length before it: a name or key. A key with its value takes spop_string_len() and
/// spop_value_len(), a message without arguments 1 more than its name, an action 3 more than its name and value. Safe in
/// any thread.
#[no_mangle]
pub extern "C" fn spop_string_len(len: usize) -> usize {
    varint::len(len as u64).saturating_add(len)
}
