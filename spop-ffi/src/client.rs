//! HAProxy's side of a connection.

use core::ffi::c_void;
use core::mem::{align_of, size_of};

use spop_core::{Client, ClientEvent, FrameId, NotifyError, ProtocolError, Status, StreamId, Want};

use crate::agent::SPOP_MAX_OPEN;
use crate::config::{spop_client_config, spop_client_stats};
use crate::error::*;
use crate::event::{spop_event, spop_negotiated};
use crate::memory::{Out, check_place, input, output, run, shared, unique};
use crate::writer::{kind, spop_writer};

/// HAProxy's side of one connection, for tests, health checks, load generators: handshake, NOTIFYs out, ACKs in. It lives
/// in the caller's memory and needs no end.
pub struct spop_client {
    core: Client<SPOP_MAX_OPEN>,
    /// What the last spop_client_recv() lacked for its next step; 0 if it did not say.
    missing: usize,
}

impl spop_client {
    fn receive(&mut self, input: &[u8], used: &mut usize) -> (Code, spop_event) {
        self.missing = 0;
        loop {
            let rest = input.get(*used..).unwrap_or_default();
            match self.core.handle_input(rest) {
                Ok((0, None)) => {
                    let want = self.core.want(rest);
                    self.missing = want.bytes();
                    let code = if want == Want::Close { SPOP_END } else { SPOP_AGAIN };
                    return (Code(code), spop_event::none());
                }
                Ok((taken, event)) => {
                    *used = used.saturating_add(taken);
                    match event {
                        None | Some(ClientEvent::Ignored(_)) => {}
                        Some(event) => return (Code(SPOP_OK), event.into()),
                    }
                }
                Err(error) => {
                    let offset = match error {
                        ProtocolError::Malformed(malformed) => malformed.offset,
                        _ => 0,
                    };
                    return (error.into(), spop_event::error(error.into(), offset));
                }
            }
        }
    }
}

impl From<NotifyError> for Code {
    fn from(error: NotifyError) -> Self {
        Code(match error {
            NotifyError::NotRunning => SPOP_E_NOT_RUNNING,
            NotifyError::TooManyInFlight => SPOP_E_IN_FLIGHT,
            NotifyError::IdsInUse => SPOP_E_IDS_IN_USE,
            NotifyError::Fragmenting => SPOP_E_FRAGMENTING,
            NotifyError::NoFragmentation => SPOP_E_NO_FRAGMENTATION,
            _ => SPOP_E_NO_SPACE,
        })
    }
}

/// The bytes that spop_client_init() needs. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_client_size() -> usize {
    size_of::<spop_client>()
}

/// The alignment that spop_client_init() needs; malloc() gives it. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_client_align() -> usize {
    align_of::<spop_client>()
}

/// Makes a client for a new connection in `mem`, of `len` bytes, and sets `*client` to it; its HELLO is ready in
/// spop_client_send(). The configuration is copied; NULL for the defaults. The clock starts at 0 ticks.
///
/// SPOP_E_NO_SPACE if `len` is below spop_client_size(). SPOP_E_ARGUMENT for misaligned memory, a max-frame-size below 256,
/// unknown capabilities, an engine-id above 64 bytes. SPOP_E_SIZE for the configuration's size.
#[no_mangle]
pub unsafe extern "C" fn spop_client_init(
    mem: *mut c_void,
    len: usize,
    config: *const spop_client_config,
    client: *mut *mut spop_client,
) -> spop_error {
    run(|| {
        check_place::<spop_client>(mem, len)?;
        // SAFETY: the rules of the crate.
        let (place, out) = unsafe { (Out::new(mem.cast::<spop_client>())?, Out::new(client)?) };
        // SAFETY: the rules of the crate.
        let config = unsafe { spop_client_config::read(config)? };
        place.set(spop_client { core: Client::new(config), missing: spop_core::PREFIX_LEN });
        out.set(mem.cast());
        Ok(())
    })
}

/// Takes what arrived, `len` bytes at `data`, up to the first event, as spop_agent_recv() does: SPOP_OK with an event,
/// SPOP_AGAIN for more bytes, SPOP_END after the end, or an error of -100 and below.
#[no_mangle]
pub unsafe extern "C" fn spop_client_recv(
    client: *mut spop_client,
    data: *const c_void,
    len: usize,
    consumed: *mut usize,
    event: *mut spop_event,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, data, consumed, event) =
            unsafe { (unique(client)?, input(data, len)?, Out::new(consumed)?, Out::new(event)?) };
        let mut used = 0;
        let (code, what) = client.receive(data, &mut used);
        consumed.set(used);
        event.set(what);
        match code {
            Code(SPOP_OK) => Ok(()),
            code => Err(code),
        }
    })
}

/// Writes the next frame of the client itself (HELLO, DISCONNECT) to `out`, and its length into `*len`;
/// SPOP_MAX_TRANSMIT_LEN bytes suffice. SPOP_END if there is none. SPOP_E_NO_SPACE: it stays ready.
#[no_mangle]
pub unsafe extern "C" fn spop_client_send(
    client: *mut spop_client,
    out: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, out, len) = unsafe { (unique(client)?, output(out, cap)?, Out::new(len)?) };
        len.set(client.core.poll_transmit(out)?.ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// How many bytes to read at least, as spop_agent_want_read(); 0 for none, and for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_client_want_read(client: *const spop_client) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { shared(client) } {
        Ok(client) if client.core.want(&[]) != Want::Close => client.missing.max(1),
        _ => 0,
    }
}

/// True if the connection is over: send what spop_client_send() has, then close. True for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_client_want_close(client: *const spop_client) -> bool {
    // SAFETY: the rules of the crate.
    match unsafe { shared(client) } {
        Ok(client) => client.core.want(&[]) == Want::Close,
        Err(_) => true,
    }
}

/// Begins a NOTIFY in `out`, at most `cap` bytes and at most the negotiated size; it is in flight from now on. Add messages
/// by spop_notify_message() and spop_notify_arg(), then spop_notify_finish(), then send it, or take it back by
/// spop_client_forget().
///
/// SPOP_E_NOT_RUNNING, SPOP_E_IN_FLIGHT, SPOP_E_IDS_IN_USE, SPOP_E_FRAGMENTING, SPOP_E_NO_SPACE: nothing is in flight.
#[no_mangle]
pub unsafe extern "C" fn spop_notify_begin(
    client: *mut spop_client,
    stream_id: u64,
    frame_id: u64,
    out: *mut c_void,
    cap: usize,
    notify: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, buf, notify) = unsafe { (unique(client)?, output(out, cap)?, Out::new(notify)?) };
        let max_frame_size = client.core.negotiated().map_or(0, |negotiated| negotiated.max_frame_size);
        let encoder = client.core.notify(buf, StreamId(stream_id), FrameId(frame_id))?;
        notify.set(spop_writer::begun(kind::NOTIFY, out, cap, max_frame_size, encoder.room()));
        Ok(())
    })
}

/// Begins a fragmented NOTIFY; then spop_client_send_fragment() gives its frames. The errors of spop_notify_begin(), and
/// SPOP_E_NO_FRAGMENTATION.
#[no_mangle]
pub unsafe extern "C" fn spop_client_start_fragmented(
    client: *mut spop_client,
    stream_id: u64,
    frame_id: u64,
) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| Ok(unsafe { unique(client)? }.core.start_fragmented(StreamId(stream_id), FrameId(frame_id))?))
}

/// Writes the next frame of the fragmented NOTIFY to `out`, and its length into `*len`. `payload` is the same at every
/// call, made by spop_notify_begin_payload(); each fragment takes as much of it as `out` and the negotiated size allow, at
/// most `max_fragment` bytes (1 or more). SPOP_END when all is sent, or the agent gave it up. SPOP_E_NO_SPACE if `out` has
/// no room for a header and one byte; nothing is lost.
#[no_mangle]
pub unsafe extern "C" fn spop_client_send_fragment(
    client: *mut spop_client,
    payload: *const c_void,
    payload_len: usize,
    max_fragment: usize,
    out: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, payload, out, len) =
            unsafe { (unique(client)?, input(payload, payload_len)?, output(out, cap)?, Out::new(len)?) };
        len.set(client.core.notify_fragment(out, payload, max_fragment)?.ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// Gives up the fragmented NOTIFY: writes the frame that tells the agent to `out`, and its length into `*len`. SPOP_END if
/// no frame is to be sent. SPOP_E_NO_SPACE: it stays as it was.
#[no_mangle]
pub unsafe extern "C" fn spop_client_abort_fragmented(
    client: *mut spop_client,
    out: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, out, len) = unsafe { (unique(client)?, output(out, cap)?, Out::new(len)?) };
        len.set(client.core.abort_fragmented(out)?.ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// Gives up waiting for an ACK: a late one is then an unknown one. SPOP_E_NOT_OPEN if it was not in flight.
#[no_mangle]
pub unsafe extern "C" fn spop_client_forget(client: *mut spop_client, stream_id: u64, frame_id: u64) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let client = unsafe { unique(client)? };
        if client.core.forget(StreamId(stream_id), FrameId(frame_id)) { Ok(()) } else { Err(Code(SPOP_E_NOT_OPEN)) }
    })
}

/// Ends the connection by a DISCONNECT, which spop_client_send() gives; NOTIFYs in flight are void. The agent's DISCONNECT
/// may follow.
#[no_mangle]
pub unsafe extern "C" fn spop_client_close(client: *mut spop_client, status: u32) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe { unique(client)? }.core.close(Status(status));
        Ok(())
    })
}

/// The transport ended: nothing more is sent. Returns how many NOTIFYs were in flight, 0 for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_client_eof(client: *mut spop_client) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { unique(client) } {
        Ok(client) => client.core.handle_eof(),
        Err(_) => 0,
    }
}

/// What was agreed on. SPOP_AGAIN before the agent's HELLO.
#[no_mangle]
pub unsafe extern "C" fn spop_client_negotiated(
    client: *const spop_client,
    negotiated: *mut spop_negotiated,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, out) = unsafe { (shared(client)?, Out::new(negotiated)?) };
        out.set(client.core.negotiated().ok_or(Code(SPOP_AGAIN))?.into());
        Ok(())
    })
}

/// The number of NOTIFYs in flight; 0 for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_client_in_flight(client: *const spop_client) -> usize {
    // SAFETY: the rules of the crate.
    unsafe { shared(client) }.map_or(0, |client| client.core.in_flight())
}

/// What was counted so far. Set `stats->size` before. SPOP_E_SIZE for a wrong size.
#[no_mangle]
pub unsafe extern "C" fn spop_client_get_stats(
    client: *const spop_client,
    stats: *mut spop_client_stats,
) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { spop_client_stats::write(stats, shared(client)?.core.stats()) })
}

/// When spop_client_handle_timeout() has to be called at the latest, in ticks since the connection began. SPOP_END: no
/// timeout runs.
#[no_mangle]
pub unsafe extern "C" fn spop_client_poll_timeout(client: *const spop_client, at: *mut u64) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (client, at) = unsafe { (shared(client)?, Out::new(at)?) };
        at.set(client.core.poll_timeout().ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// Tells the time, in ticks since the connection began. SPOP_E_HELLO_TIMEOUT: send what spop_client_send() has, then close.
#[no_mangle]
pub unsafe extern "C" fn spop_client_handle_timeout(client: *mut spop_client, now: u64) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| Ok(unsafe { unique(client)? }.core.handle_timeout(now)?))
}
