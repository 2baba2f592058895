//! The agent's side of a connection.

use core::ffi::c_void;
use core::mem::{align_of, size_of};

use spop_core::{AckError, Agent, AgentEvent, Status, Ticket, Want};

use crate::config::{spop_agent_config, spop_agent_stats};
use crate::error::{Code, SPOP_AGAIN, SPOP_E_NO_SPACE, SPOP_E_NOT_OPEN, SPOP_END, spop_error};
use crate::event::{spop_event, spop_negotiated};
use crate::memory::{Out, check_place, input, output, run, shared, unique};
use crate::writer::{kind, spop_writer};

/// The most NOTIFYs that wait for their ACK; beyond it an agent reads nothing more.
pub const SPOP_MAX_OPEN: usize = 128;
/// The bytes that spop_agent_send() and spop_client_send() need at most.
pub const SPOP_MAX_TRANSMIT_LEN: usize = 256;

/// The agent's side of one connection: handshake, NOTIFYs in, ACKs out. It lives in the caller's memory and needs no end:
/// when the connection is over, use the memory for something else.
pub struct spop_agent {
    core: Agent<SPOP_MAX_OPEN>,
    reassembly: *mut c_void,
    reassembly_len: usize,
    /// What the last spop_agent_recv() lacked for its next step; 0 if it did not say.
    missing: usize,
}

impl spop_agent {
    /// Takes frames from `input` until something happened, none is whole, or nothing is to be read.
    ///
    /// # Safety
    /// The rules of the crate.
    #[inline]
    unsafe fn receive(&mut self, input: &[u8], used: &mut usize) -> (Code, spop_event) {
        self.missing = 0;
        loop {
            let rest = input.get(*used..).unwrap_or_default();
            // SAFETY: the memory that the caller gave at the start, by the rules of the crate.
            let reassembly = match unsafe { output(self.reassembly, self.reassembly_len) } {
                Ok(reassembly) => reassembly,
                Err(code) => return (code, spop_event::none()),
            };
            match self.core.handle_input(rest, reassembly) {
                Ok((0, None)) => {
                    let want = self.core.want(rest);
                    self.missing = want.bytes();
                    let code = if want == Want::Close { SPOP_END } else { SPOP_AGAIN };
                    return (Code(code), spop_event::none());
                }
                Ok((taken, event)) => {
                    *used = used.saturating_add(taken);
                    match event {
                        None | Some(AgentEvent::Fragment { .. } | AgentEvent::Ignored(_)) => {}
                        Some(event) => return (Code(crate::error::SPOP_OK), event.into()),
                    }
                }
                Err(error) => {
                    let offset = match error {
                        spop_core::ProtocolError::Malformed(malformed) => malformed.offset,
                        _ => 0,
                    };
                    return (error.into(), spop_event::error(error.into(), offset));
                }
            }
        }
    }
}

/// The bytes that spop_agent_init() needs. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_agent_size() -> usize {
    size_of::<spop_agent>()
}

/// The alignment that spop_agent_init() needs; malloc() gives it. Safe in any thread.
#[no_mangle]
pub extern "C" fn spop_agent_align() -> usize {
    align_of::<spop_agent>()
}

/// Makes an agent for a new connection in `mem`, of `len` bytes, and sets `*agent` to it. The configuration is copied; NULL
/// for the defaults. The clock of the connection starts at 0 ticks.
///
/// SPOP_E_NO_SPACE if `len` is below spop_agent_size(). SPOP_E_ARGUMENT for misaligned memory, a max-frame-size below 256,
/// unknown capabilities. SPOP_E_SIZE for the configuration's size.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_init(
    mem: *mut c_void,
    len: usize,
    config: *const spop_agent_config,
    agent: *mut *mut spop_agent,
) -> spop_error {
    run(|| {
        check_place::<spop_agent>(mem, len)?;
        // SAFETY: the rules of the crate.
        let (place, out) = unsafe { (Out::new(mem.cast::<spop_agent>())?, Out::new(agent)?) };
        // SAFETY: the rules of the crate.
        let config = unsafe { spop_agent_config::read(config)? };
        // SAFETY: the same.
        unsafe { output(config.reassembly, config.reassembly_len)? };
        place.set(spop_agent {
            core: Agent::new(config.to_core()?),
            reassembly: config.reassembly,
            reassembly_len: config.reassembly_len,
            missing: spop_core::PREFIX_LEN,
        });
        out.set(mem.cast());
        Ok(())
    })
}

/// Takes what arrived, `len` bytes at `data`, up to the first event: `*consumed` bytes were used, and are not to be given
/// again; `*event` tells what happened.
///
/// - SPOP_OK: an event. Handle it, then call again with the rest.
/// - SPOP_AGAIN: no whole frame is left, or nothing is read now (spop_agent_want_read() is 0). Send what spop_agent_send()
///   has. If it had something, or a NOTIFY was answered, call again with the rest; else read more.
/// - SPOP_END: the connection is over. Send what spop_agent_send() has, then close.
/// - -100 and below: the peer broke the protocol, or a NOTIFY is malformed (SPOP_EVENT_ERROR). Open NOTIFYs are void. Send
///   what spop_agent_send() has, the DISCONNECT, then close.
///
/// In all these cases `*consumed` and `*event` are set.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_recv(
    agent: *mut spop_agent,
    data: *const c_void,
    len: usize,
    consumed: *mut usize,
    event: *mut spop_event,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, data, consumed, event) =
            unsafe { (unique(agent)?, input(data, len)?, Out::new(consumed)?, Out::new(event)?) };
        let mut used = 0;
        // SAFETY: the same.
        let (code, what) = unsafe { agent.receive(data, &mut used) };
        consumed.set(used);
        event.set(what);
        match code {
            Code(crate::error::SPOP_OK) => Ok(()),
            code => Err(code),
        }
    })
}

/// Writes the next frame of the agent itself (HELLO, DISCONNECT, the ACK of a NOTIFY that was too big) to `out`, and its
/// length into `*len`; SPOP_MAX_TRANSMIT_LEN bytes suffice. SPOP_END if there is none. SPOP_E_NO_SPACE: it stays ready.
///
/// Send each frame in one write: HAProxy 3.5-dev refuses an AGENT-HELLO that comes in two segments.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_send(
    agent: *mut spop_agent,
    out: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, out, len) = unsafe { (unique(agent)?, output(out, cap)?, Out::new(len)?) };
        len.set(agent.core.poll_transmit(out)?.ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// How many bytes to read at least: 0 for none now, that is, first send what spop_agent_send() has, answer an open NOTIFY,
/// or close (spop_agent_want_close()). 0 for NULL.
///
/// After spop_agent_recv() returned SPOP_AGAIN it is exactly what the next step lacks, beyond the bytes that were given and
/// not consumed: the length prefix, or the rest of the frame. Otherwise, 1.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_want_read(agent: *const spop_agent) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { shared(agent) } {
        Ok(agent) => match agent.core.want(&[]) {
            Want::Read(_) => agent.missing.max(1),
            Want::Pause | Want::Close => 0,
        },
        Err(_) => 0,
    }
}

/// True if the connection is over: send what spop_agent_send() has, then close. True for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_want_close(agent: *const spop_agent) -> bool {
    // SAFETY: the rules of the crate.
    match unsafe { shared(agent) } {
        Ok(agent) => agent.core.want(&[]) == Want::Close,
        Err(_) => true,
    }
}

/// Answers a NOTIFY: begins its ACK in `out`, at most `cap` bytes and at most the negotiated size. Add actions by
/// spop_ack_set_var() and spop_ack_unset_var(), then spop_ack_finish(), then send it. An ACK that is begun and not sent
/// leaves the NOTIFY without an answer.
///
/// SPOP_E_NOT_OPEN: nothing is to be sent. SPOP_E_NO_SPACE: `out` has no room for an empty ACK, at most
/// SPOP_MAX_HEADER_LEN bytes; the NOTIFY stays open.
#[no_mangle]
pub unsafe extern "C" fn spop_ack_begin(
    agent: *mut spop_agent,
    ticket: u64,
    out: *mut c_void,
    cap: usize,
    ack: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, buf, ack) = unsafe { (unique(agent)?, output(out, cap)?, Out::new(ack)?) };
        let max_frame_size = agent.core.negotiated().map_or(0, |negotiated| negotiated.max_frame_size);
        let encoder = agent.core.ack(buf, Ticket::from_bits(ticket)).map_err(|error| match error {
            AckError::NoSpace => Code(SPOP_E_NO_SPACE),
            _ => Code(SPOP_E_NOT_OPEN),
        })?;
        ack.set(spop_writer::begun(kind::ACK, out, cap, max_frame_size, encoder.room()));
        Ok(())
    })
}

/// Takes a NOTIFY over, to be answered on another connection of the same engine-id by spop_ack_begin_ids(); only if
/// SPOP_CAP_ASYNC was agreed on. SPOP_E_NOT_OPEN.
///
/// With SPOP_CAP_ASYNC it is also how to drop one: an event that HAProxy gave up (`timeout processing`) and the next one of
/// its stream have the same ids, perhaps on two connections of the engine. When the second arrives, the first, released or
/// not, must not be answered any more.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_release(
    agent: *mut spop_agent,
    ticket: u64,
    stream_id: *mut u64,
    frame_id: *mut u64,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, stream_out, frame_out) = unsafe { (unique(agent)?, Out::new(stream_id)?, Out::new(frame_id)?) };
        let released = agent.core.release(Ticket::from_bits(ticket));
        let (stream_id, frame_id) = released.ok_or(Code(SPOP_E_NOT_OPEN))?;
        stream_out.set(stream_id.0);
        frame_out.set(frame_id.0);
        Ok(())
    })
}

/// Ends the connection by a DISCONNECT, which spop_agent_send() gives.
///
/// With SPOP_STATUS_NORMAL nothing more is read, and the DISCONNECT follows when the last open NOTIFY has its ACK; an agent
/// that still waits for HAProxy's HELLO closes without one. With any other status the open NOTIFYs are void and the
/// DISCONNECT is ready at once.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_close(agent: *mut spop_agent, status: u32) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        unsafe { unique(agent)? }.core.close(Status(status));
        Ok(())
    })
}

/// The transport ended: nothing more is sent, and open NOTIFYs are void; returns how many there were, 0 for NULL. That is
/// a normal end: HAProxy 3.1 and later close without a word.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_eof(agent: *mut spop_agent) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { unique(agent) } {
        Ok(agent) => agent.core.handle_eof(),
        Err(_) => 0,
    }
}

/// What was agreed on. SPOP_AGAIN before HELLO.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_negotiated(
    agent: *const spop_agent,
    negotiated: *mut spop_negotiated,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, out) = unsafe { (shared(agent)?, Out::new(negotiated)?) };
        out.set(agent.core.negotiated().ok_or(Code(SPOP_AGAIN))?.into());
        Ok(())
    })
}

/// The number of NOTIFYs that wait for their ACK; 0 for NULL.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_open(agent: *const spop_agent) -> usize {
    // SAFETY: the rules of the crate.
    unsafe { shared(agent) }.map_or(0, |agent| agent.core.open())
}

/// The status of the DISCONNECT that waits in spop_agent_send(). SPOP_END if none does.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_pending_disconnect(agent: *const spop_agent, status: *mut u32) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, out) = unsafe { (shared(agent)?, Out::new(status)?) };
        out.set(agent.core.pending_disconnect().ok_or(Code(SPOP_END))?.0);
        Ok(())
    })
}

/// What was counted so far. Set `stats->size` before. SPOP_E_SIZE for a wrong size.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_get_stats(agent: *const spop_agent, stats: *mut spop_agent_stats) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| unsafe { spop_agent_stats::write(stats, shared(agent)?.core.stats()) })
}

/// When spop_agent_handle_timeout() has to be called at the latest, in ticks since the connection began. SPOP_END: no
/// timeout runs.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_poll_timeout(agent: *const spop_agent, at: *mut u64) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (agent, at) = unsafe { (shared(agent)?, Out::new(at)?) };
        at.set(agent.core.poll_timeout().ok_or(Code(SPOP_END))?);
        Ok(())
    })
}

/// Tells the time, in ticks since the connection began; only for agents with timeouts. Call it before input that came
/// later than the last call, and at spop_agent_poll_timeout(). SPOP_E_HELLO_TIMEOUT, SPOP_E_HALF_FRAME_TIMEOUT,
/// SPOP_E_IDLE_TIMEOUT: send what spop_agent_send() has, then close.
#[no_mangle]
pub unsafe extern "C" fn spop_agent_handle_timeout(agent: *mut spop_agent, now: u64) -> spop_error {
    // SAFETY: the rules of the crate.
    run(|| Ok(unsafe { unique(agent)? }.core.handle_timeout(now)?))
}
