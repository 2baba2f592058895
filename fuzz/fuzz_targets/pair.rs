//! An `Agent` and a `Client` joined by two pipes, and whatever their users may do: what arrives is what was sent, nothing is
//! lost from the accounts, and both come to an end.

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use spop_core::{
    AgentConfig, ClientConfig, EngineId, FrameId, FrameType, NotifyError, ProtocolError, Status, StreamId, Ticket, Want,
};
use spop_fuzz::common::owned::{Act, Msg, payload, write_messages};
use spop_fuzz::common::{AgentLog, AgentSide, ClientLog, ClientSide, Ids, check_text, decode};
use spop_fuzz::{Bytes, capabilities};

#[derive(Arbitrary, Debug)]
struct Setup {
    agent_capabilities: u8,
    client_capabilities: u8,
    healthcheck: bool,
    agent_size: u8,
    client_size: u8,
    reassembly: u8,
    max_fragments: u8,
    timeouts: bool,
    engine_id: Option<Bytes>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Notify(u8, Vec<Msg>),
    StartFragmented(u8, Vec<Msg>),
    Fragment {
        room: u8,
        most: u8,
    },
    AbortFragmented,
    Forget(u8),
    Ack(u8, Vec<Act>),
    Release(u8),
    ToAgent(u8),
    ToClient(u8),
    AgentTime(u8),
    ClientTime(u8),
    AgentClose(u8),
    ClientClose(u8),
    AgentEof,
    ClientEof,
    /// Bytes that are nobody's, into the pipe to the agent or to the client.
    Noise(bool, u8),
}

/// What the agent must report next.
#[derive(Debug, PartialEq)]
enum Due {
    Notify { ids: Ids, fragmented: bool, payload: Vec<u8> },
    Aborted(Ids),
}

struct Pair {
    agent: AgentSide<4>,
    client: ClientSide<6>,
    to_agent: VecDeque<u8>,
    to_client: VecDeque<u8>,
    due: VecDeque<Due>,
    engine_id: Option<Vec<u8>>,
    /// The NOTIFY that is being sent in fragments, and how many are out.
    fragmented: Option<(Ids, Vec<u8>, usize)>,
    /// Of all NOTIFYs that came.
    tickets: Vec<Ticket>,
    agent_said_goodbye: bool,
    /// ACKs on their way, in their order.
    acks: VecDeque<(Ids, Vec<u8>)>,
    /// NOTIFYs that the client does not wait for any more.
    forgotten: u64,
    noise: bool,
    /// Of both clocks.
    now: [u64; 2],
}

fuzz_target!(|input: (Setup, Vec<Step>)| {
    let (setup, steps) = input;
    let mut pair = Pair::new(&setup);
    for step in steps {
        pair.step(step);
        pair.settle();
    }
    pair.end();
});

impl Pair {
    fn new(setup: &Setup) -> Self {
        let size = |byte: u8| 256 + 8 * u32::from(byte);
        let timeout = |ticks| setup.timeouts.then_some(ticks);
        let agent = AgentConfig::DEFAULT
            .with_max_frame_size(size(setup.agent_size))
            .with_capabilities(capabilities(setup.agent_capabilities))
            .with_max_fragments(u32::from(setup.max_fragments))
            .with_hello_timeout(timeout(300))
            .with_half_frame_timeout(timeout(200))
            .with_idle_timeout(timeout(500));
        // A health check tells none.
        let engine_id = setup.engine_id.as_ref().filter(|Bytes(id)| id.len() <= 64 && !setup.healthcheck);
        let engine_id = engine_id.map(|Bytes(id)| id.clone());
        let client = ClientConfig::DEFAULT
            .with_max_frame_size(size(setup.client_size))
            .with_capabilities(capabilities(setup.client_capabilities))
            .with_healthcheck(setup.healthcheck)
            .with_engine_id(engine_id.as_deref().and_then(EngineId::new))
            .with_hello_timeout(timeout(400));
        let mut agent = AgentSide::new(agent);
        agent.reassembly.truncate(4 * usize::from(setup.reassembly));
        Pair {
            agent,
            client: ClientSide::new(client),
            to_agent: VecDeque::new(),
            to_client: VecDeque::new(),
            due: VecDeque::new(),
            engine_id,
            fragmented: None,
            tickets: Vec::new(),
            agent_said_goodbye: false,
            acks: VecDeque::new(),
            forgotten: 0,
            noise: false,
            now: [0; 2],
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Notify(ids, list) => self.notify(few(ids), &list),
            Step::StartFragmented(ids, list) => self.start_fragmented(few(ids), &list),
            Step::Fragment { room, most } => self.fragment(usize::from(room) + 16, usize::from(most)),
            Step::AbortFragmented => self.abort_fragmented(),
            Step::Forget(ids) => {
                let (stream, frame) = few(ids);
                self.forgotten += u64::from(self.client.client.forget(StreamId(stream), FrameId(frame)));
            }
            Step::Ack(at, list) => self.ack(usize::from(at), &list),
            Step::Release(at) => {
                if let Some(ticket) = self.ticket(usize::from(at)) {
                    self.agent.agent.release(ticket);
                }
            }
            Step::ToAgent(len) => self.agent.feed(&take(&mut self.to_agent, 4 * usize::from(len))),
            Step::ToClient(len) => self.client.feed(&take(&mut self.to_client, 4 * usize::from(len))),
            Step::AgentTime(ticks) => {
                self.now[0] += u64::from(ticks);
                match self.agent.at(self.now[0]) {
                    Ok(()) => assert!(self.agent.agent.poll_timeout().is_none_or(|at| at > self.now[0])),
                    Err(error) => {
                        check_text(&error);
                        assert!(matches!(error, ProtocolError::TimedOut(_)), "{error}");
                    }
                }
            }
            Step::ClientTime(ticks) => {
                self.now[1] += u64::from(ticks);
                match self.client.client.handle_timeout(self.now[1]) {
                    Ok(()) => assert!(self.client.client.poll_timeout().is_none_or(|at| at > self.now[1])),
                    Err(error) => {
                        check_text(&error);
                        assert!(matches!(error, ProtocolError::TimedOut(_)), "{error}");
                    }
                }
            }
            Step::AgentClose(status) => self.agent.close(Status(status.into())),
            Step::ClientClose(status) => self.client.close(Status(status.into())),
            Step::AgentEof => assert!(self.agent.agent.handle_eof() <= 4),
            Step::ClientEof => assert!(self.client.client.handle_eof() <= 6),
            Step::Noise(to_agent, byte) => {
                self.noise = true;
                if to_agent { &mut self.to_agent } else { &mut self.to_client }.push_back(byte);
            }
        }
    }

    fn notify(&mut self, ids: Ids, list: &[Msg]) {
        let begun = self.client.notify_with(ids, |notify| {
            let _what_does_not_fit_is_left_out = write_messages(notify, list);
        });
        if begun.is_ok() {
            let frame = self.client.sent.last().expect("the NOTIFY");
            let payload = decode(frame).payload.to_vec();
            self.due.push_back(Due::Notify { ids, fragmented: false, payload });
        }
    }

    fn start_fragmented(&mut self, ids: Ids, list: &[Msg]) {
        match self.client.client.start_fragmented(StreamId(ids.0), FrameId(ids.1)) {
            Ok(()) => self.fragmented = Some((ids, payload(list), 0)),
            Err(NotifyError::Fragmenting) => assert!(self.fragmented.is_some()),
            Err(error) => check_text(&error),
        }
    }

    fn fragment(&mut self, room: usize, most: usize) {
        let Some((ids, payload, sent)) = &mut self.fragmented else {
            assert_eq!(self.client.client.notify_fragment(&mut [], b"", 1), Ok(None));
            return;
        };
        let mut out = vec![0; room];
        match self.client.client.notify_fragment(&mut out, payload, most) {
            Ok(Some(len)) => {
                let frame = decode(&out[..len]);
                *sent += 1;
                if frame.header.flags.fin() {
                    let (payload, fragmented) = (std::mem::take(payload), *sent > 1);
                    self.due.push_back(Due::Notify { ids: *ids, fragmented, payload });
                    self.fragmented = None;
                }
                self.client.sent.push(out[..len].to_vec());
            }
            // The connection ended, or the agent gave up on it.
            Ok(None) => self.fragmented = None,
            Err(error) => panic!("{room} bytes are enough for a fragment: {error}"),
        }
    }

    fn abort_fragmented(&mut self) {
        let before = self.client.client.in_flight();
        let mut out = [0; 64];
        let len = self.client.client.abort_fragmented(&mut out).expect("room for a header");
        if let Some(len) = len {
            let (ids, _, sent) = self.fragmented.take().expect("a NOTIFY in fragments");
            assert!(sent > 0);
            self.due.push_back(Due::Aborted(ids));
            self.client.sent.push(out[..len].to_vec());
        }
        self.forgotten += (before - self.client.client.in_flight()) as u64;
        self.fragmented = None;
    }

    fn ticket(&self, at: usize) -> Option<Ticket> {
        self.tickets.get(at.checked_rem(self.tickets.len())?).copied()
    }

    fn ack(&mut self, at: usize, list: &[Act]) {
        let Some(ticket) = self.ticket(at) else { return };
        let answered = self.agent.ack_with(ticket, |ack| {
            for act in list {
                // What does not fit is left out.
                let _full = match act {
                    Act::Set(scope, name, value) => ack.set_var(*scope, name, &value.get()),
                    Act::Unset(scope, name) => ack.unset_var(*scope, name),
                };
            }
        });
        if answered.is_ok() {
            // An answer that ends a drain is followed by the DISCONNECT.
            self.agent.run();
        }
    }

    /// Puts what was sent into the pipes, checks what was reported.
    fn settle(&mut self) {
        self.client.flush();
        self.agent.flush();
        self.to_agent.extend(std::mem::take(&mut self.client.sent).concat());
        for frame in self.agent.take_sent() {
            let decoded = decode(&frame);
            match decoded.header.frame_type {
                FrameType::ACK => {
                    let ids = (decoded.header.stream_id.0, decoded.header.frame_id.0);
                    self.acks.push_back((ids, decoded.payload.to_vec()));
                }
                FrameType::AGENT_DISCONNECT => self.agent_said_goodbye = true,
                _ => {}
            }
            self.to_client.extend(frame);
        }
        for entry in self.agent.take_log() {
            self.agent_reported(entry);
        }
        for entry in self.client.take_log() {
            self.client_reported(entry);
        }
        let (stats, open) = (self.agent.agent.stats(), self.agent.agent.open() as u64);
        assert_eq!(stats.notifies, stats.acks + stats.superseded + stats.voided + open, "{stats:?}");
        let (stats, in_flight) = (self.client.client.stats(), self.client.client.in_flight() as u64);
        assert_eq!(stats.notifies, stats.acks + stats.voided + self.forgotten + in_flight, "{stats:?}");
    }

    fn agent_reported(&mut self, entry: AgentLog) {
        let due = match entry {
            AgentLog::Notify { ticket, ids, fragmented, payload } => {
                self.tickets.push(ticket);
                Due::Notify { ids, fragmented, payload }
            }
            AgentLog::Aborted(ids) => Due::Aborted(ids),
            AgentLog::TooBig(ids) => match self.due.pop_front() {
                Some(Due::Notify { ids: expected, fragmented: true, .. }) if expected == ids => return,
                _ if self.noise => return,
                other => panic!("too big: {ids:?}; due: {other:?}"),
            },
            AgentLog::Hello { engine_id, .. } => {
                assert!(self.noise || engine_id == self.engine_id, "{engine_id:?}");
                return;
            }
            AgentLog::Disconnect { .. } => return,
            AgentLog::Error(_) => {
                assert!(self.noise, "{entry:?}");
                return;
            }
        };
        let expected = self.due.pop_front();
        assert!(self.noise || expected.as_ref() == Some(&due), "{due:?}; due: {expected:?}");
    }

    fn client_reported(&mut self, entry: ClientLog) {
        match entry {
            ClientLog::Hello(_) | ClientLog::Disconnect { .. } => {}
            _ if self.noise => {}
            ClientLog::Ack { ids, aborted: false, actions, error: None } => {
                // Those before it came too late for the client.
                while self.acks.pop_front().expect("an ACK that was sent") != (ids, actions.clone()) {}
            }
            ClientLog::Error(ProtocolError::UnknownAck) => assert!(self.forgotten > 0),
            ClientLog::Ack { .. } | ClientLog::Error(_) => panic!("{entry:?}"),
        }
    }

    /// Everything arrives, everything is answered, and the agent ends the connection.
    fn end(mut self) {
        let mut tickets = None;
        while !self.to_agent.is_empty() || !self.to_client.is_empty() || self.agent.agent.open() > 0 {
            self.agent.feed(&take(&mut self.to_agent, usize::MAX));
            self.client.feed(&take(&mut self.to_client, usize::MAX));
            self.settle();
            let open = self.agent.agent.open();
            assert!(open == 0 || tickets != Some(self.tickets.len()), "a NOTIFY that no ticket answers");
            tickets = Some(self.tickets.len());
            // With each answer it may read a NOTIFY that it left: that one's turn is the next.
            for at in 0..self.tickets.len() {
                self.ack(at, &[]);
            }
            self.agent.run();
            self.settle();
        }
        assert_ne!(self.agent.want(), Want::Pause);
        self.agent.close(Status::NORMAL);
        self.settle();
        assert!(self.agent.agent.is_closed() && self.agent.input.is_empty());
        self.client.feed(&take(&mut self.to_client, usize::MAX));
        self.settle();
        if !self.agent_said_goodbye || self.noise {
            self.client.client.handle_eof();
        }
        assert!(self.client.client.is_closed());
    }
}

/// Few ids, so that they come again.
fn few(byte: u8) -> Ids {
    (u64::from(byte >> 2 & 3), u64::from(byte & 3))
}

fn take(pipe: &mut VecDeque<u8>, len: usize) -> Vec<u8> {
    pipe.drain(..len.min(pipe.len())).collect()
}
