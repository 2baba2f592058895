//! `spop_agent` and `spop_client` fed with any bytes, however cut: they send and count what spop-core's machines do.

#![no_main]

#[path = "support/c.rs"]
mod c;

use std::mem::size_of;

use c::{ptr, zeroed};
use libfuzzer_sys::fuzz_target;
use spop_core::{AgentConfig, Capabilities, ClientConfig, Want};
use spop_ffi::*;
use spop_fuzz::Stream;
use spop_fuzz::common::{AgentSide, ClientSide, hello};

/// Bytes that an agent keeps of a fragmented NOTIFY.
const REASSEMBLY: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::new(input) else { return };
    agent(&stream);
    client(&stream);
});

/// One connection of the C interface, whichever its side.
struct Machine<T> {
    handle: *mut T,
    /// Holds the machine, aligned.
    _memory: Vec<u128>,
    input: Vec<u8>,
    sent: Vec<Vec<u8>>,
    recv: unsafe extern "C" fn(*mut T, *const std::ffi::c_void, usize, *mut usize, *mut spop_event) -> spop_error,
    send: unsafe extern "C" fn(*mut T, *mut std::ffi::c_void, usize, *mut usize) -> spop_error,
}

impl<T> Machine<T> {
    /// Takes bytes as a program does, which gives an answer to each NOTIFY or none.
    fn feed(&mut self, bytes: &[u8], answers: bool) {
        self.input.extend_from_slice(bytes);
        loop {
            // In memory of its own, so that a byte read behind it is noticed.
            let exact: Box<[u8]> = self.input.as_slice().into();
            let (mut used, mut event) = (0, unsafe { zeroed() });
            // SAFETY: the machine is set up; the input lives until the event was handled.
            let code = unsafe { (self.recv)(self.handle, ptr(&exact), exact.len(), &mut used, &mut event) };
            assert!(used <= exact.len());
            self.input.drain(..used);
            if code == SPOP_OK {
                self.handle_event(&event, answers);
            } else {
                assert!(code == SPOP_AGAIN || code == SPOP_END || code <= -100, "{code}");
                assert_eq!(event.r#type, if code > 0 { SPOP_EVENT_NONE } else { SPOP_EVENT_ERROR });
            }
            if !self.flush() && used == 0 && code != SPOP_OK {
                return;
            }
        }
    }

    fn flush(&mut self) -> bool {
        let before = self.sent.len();
        loop {
            let (mut out, mut len) = (vec![0; SPOP_MAX_TRANSMIT_LEN], 0);
            // SAFETY: the machine is set up.
            match unsafe { (self.send)(self.handle, out.as_mut_ptr().cast(), out.len(), &mut len) } {
                SPOP_OK => self.sent.push(out[..len].to_vec()),
                code => {
                    assert_eq!(code, SPOP_END);
                    return self.sent.len() > before;
                }
            }
        }
    }

    fn handle_event(&mut self, event: &spop_event, answers: bool) {
        if event.r#type != SPOP_EVENT_NOTIFY {
            return;
        }
        // SAFETY: the type says so.
        let notify = unsafe { event.r#as.notify };
        let (mut messages, mut message) = (notify.messages, unsafe { zeroed() });
        // SAFETY: the input was not changed yet.
        unsafe {
            while spop_message_next(&mut messages, &mut message) == SPOP_OK {
                let (mut args, mut arg) = (message.args, zeroed());
                while spop_arg_next(&mut args, &mut arg) == SPOP_OK {}
            }
        }
        if answers {
            let (mut out, mut ack, mut len) = (vec![0; SPOP_MAX_HEADER_LEN], unsafe { zeroed() }, 0);
            // SAFETY: only an agent has this event.
            let code = unsafe {
                spop_ack_begin(self.handle.cast(), notify.ticket, out.as_mut_ptr().cast(), out.len(), &mut ack)
            };
            assert_eq!(code, SPOP_OK);
            assert_eq!(unsafe { spop_ack_finish(&mut ack, &mut len) }, SPOP_OK);
            self.sent.push(out[..len].to_vec());
        }
    }
}

fn memory(len: usize) -> Vec<u128> {
    vec![0; len.div_ceil(size_of::<u128>())]
}

fn pieces<'a>(stream: &'a Stream<'_>) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut cuts) = (stream.bytes, stream.cuts.iter().cycle());
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at((*cuts.next()?).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn bits(set: Capabilities) -> u32 {
    let all = [Capabilities::PIPELINING, Capabilities::ASYNC, Capabilities::FRAGMENTATION];
    (0..).zip(all).filter(|(_, one)| set.contains(*one)).fold(0, |bits, (at, _)| bits | 1 << at)
}

fn agent(stream: &Stream<'_>) {
    let config =
        AgentConfig::DEFAULT.with_max_frame_size(16384).with_capabilities(stream.capabilities).with_max_fragments(4);
    let mut core: AgentSide = AgentSide::new(config);
    core.reassembly.truncate(REASSEMBLY);
    core.answers = stream.switch;
    core.feed(stream.bytes);

    let mut reassembly = vec![0_u8; REASSEMBLY];
    let mut memory = memory(spop_agent_size());
    // SAFETY: the rules of the crate are kept: memory lives, and is large enough or said to be short.
    let handle = unsafe {
        let mut config: spop_agent_config = zeroed();
        assert_eq!(spop_agent_config_init(&mut config, size_of::<spop_agent_config>()), SPOP_OK);
        config.max_frame_size = 16384;
        config.capabilities = bits(stream.capabilities);
        config.max_fragments = 4;
        (config.reassembly, config.reassembly_len) = (reassembly.as_mut_ptr().cast(), reassembly.len());
        let mut handle = std::ptr::null_mut();
        let place = memory.as_mut_ptr().cast();
        assert_eq!(spop_agent_init(place, spop_agent_size() - 1, &config, &mut handle), SPOP_E_NO_SPACE);
        assert_eq!(spop_agent_init(place, spop_agent_size(), &config, &mut handle), SPOP_OK);
        handle
    };
    let mut machine = Machine {
        handle,
        _memory: memory,
        input: Vec::new(),
        sent: Vec::new(),
        recv: spop_agent_recv,
        send: spop_agent_send,
    };
    pieces(stream).for_each(|piece| machine.feed(piece, stream.switch));
    assert_eq!(machine.sent, core.sent);
    assert_eq!(machine.input, core.input);
    // SAFETY: the agent is set up.
    unsafe {
        assert_eq!(spop_agent_open(handle), core.agent.open());
        assert_eq!(spop_agent_want_close(handle), core.want() == Want::Close);
        if !stream.bytes.is_empty() {
            assert_eq!(spop_agent_want_read(handle), core.want().bytes());
        }
        let mut stats: spop_agent_stats = zeroed();
        assert_eq!(spop_agent_get_stats(handle, &mut stats), SPOP_E_SIZE);
        stats.size = size_of::<spop_agent_stats>();
        assert_eq!(spop_agent_get_stats(handle, &mut stats), SPOP_OK);
        let expected = core.agent.stats();
        assert_eq!(
            (stats.notifies, stats.acks, stats.superseded, stats.cancelled, stats.aborted),
            (expected.notifies, expected.acks, expected.superseded, expected.cancelled, expected.aborted)
        );
        assert_eq!(
            (stats.too_big, stats.fragments, stats.ignored, stats.voided),
            (expected.too_big, expected.fragments, expected.ignored, expected.voided)
        );
        assert_eq!(spop_agent_eof(handle), core.agent.handle_eof());
        assert!(spop_agent_want_close(handle));
    }
}

fn client(stream: &Stream<'_>) {
    let config = ClientConfig::DEFAULT.with_capabilities(stream.capabilities);
    let mut core: ClientSide = ClientSide::new(config);
    core.flush();
    let mut memory = memory(spop_client_size());
    // SAFETY: as for the agent.
    let handle = unsafe {
        let mut config: spop_client_config = zeroed();
        assert_eq!(spop_client_config_init(&mut config, size_of::<spop_client_config>()), SPOP_OK);
        config.capabilities = bits(stream.capabilities);
        let mut handle = std::ptr::null_mut();
        let place = memory.as_mut_ptr().cast();
        assert_eq!(spop_client_init(place, spop_client_size(), &config, &mut handle), SPOP_OK);
        handle
    };
    let mut machine = Machine {
        handle,
        _memory: memory,
        input: Vec::new(),
        sent: Vec::new(),
        recv: spop_client_recv,
        send: spop_client_send,
    };
    machine.flush();
    if stream.switch {
        let hello = hello(true, 16380, Capabilities::PIPELINING);
        core.feed(&hello);
        machine.feed(&hello, false);
        for ids in [(0, 0), (1, 0), (2, 1)] {
            let expected = core.notify(ids);
            // SAFETY: the client is set up, the buffer lives.
            unsafe {
                let (mut out, mut notify, mut len) = ([0_u8; 64], zeroed(), 0);
                let place = out.as_mut_ptr().cast();
                let code = spop_notify_begin(handle, ids.0, ids.1, place, out.len(), &mut notify);
                assert_eq!(code == SPOP_OK, expected.is_ok());
                if code == SPOP_OK {
                    assert_eq!(spop_notify_message(&mut notify, ptr(b"m"), 1), SPOP_OK);
                    assert_eq!(spop_notify_finish(&mut notify, &mut len), SPOP_OK);
                    machine.sent.push(out[..len].to_vec());
                }
            }
        }
    }
    core.feed(stream.bytes);
    pieces(stream).for_each(|piece| machine.feed(piece, false));
    assert_eq!(machine.sent, core.sent);
    assert_eq!(machine.input, core.input);
    // SAFETY: the client is set up.
    unsafe {
        assert_eq!(spop_client_in_flight(handle), core.client.in_flight());
        assert_eq!(spop_client_want_close(handle), core.want() == Want::Close);
        let mut stats: spop_client_stats = zeroed();
        stats.size = size_of::<spop_client_stats>();
        assert_eq!(spop_client_get_stats(handle, &mut stats), SPOP_OK);
        let expected = core.client.stats();
        assert_eq!(
            (stats.notifies, stats.acks, stats.ignored, stats.voided),
            (expected.notifies, expected.acks, expected.ignored, expected.voided)
        );
        assert_eq!(spop_client_eof(handle), core.client.handle_eof());
    }
}
