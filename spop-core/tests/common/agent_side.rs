//! An [`Agent`] with its buffers, driven as a runtime drives it.

use spop_core::{
    AckEncoder, AckError, Agent, AgentConfig, AgentEvent, Header, MAX_TRANSMIT_LEN, Messages, Negotiated,
    ProtocolError, Status, Ticket, Want,
};

use super::{Ids, check_text, plain, walk};

/// What the agent reported, owned.
#[derive(Clone, PartialEq, Debug)]
pub enum AgentLog {
    Hello {
        negotiated: Negotiated,
        engine_id: Option<Vec<u8>>,
    },
    /// The payload as the walk over its messages gives it.
    Notify {
        ticket: Ticket,
        ids: Ids,
        fragmented: bool,
        payload: Vec<u8>,
    },
    Aborted(Ids),
    TooBig(Ids),
    Disconnect {
        status: Option<Status>,
        message: Vec<u8>,
    },
    Error(ProtocolError),
}

pub struct AgentSide<const OPEN: usize = 128> {
    pub agent: Agent<OPEN>,
    /// Received and not yet used.
    pub input: Vec<u8>,
    pub reassembly: Vec<u8>,
    /// Frames on their way to HAProxy.
    pub sent: Vec<Vec<u8>>,
    pub log: Vec<AgentLog>,
    /// Answer each NOTIFY at once with an empty ACK.
    pub answers: bool,
}

impl<const OPEN: usize> AgentSide<OPEN> {
    pub fn new(config: AgentConfig) -> Self {
        AgentSide {
            agent: Agent::new(config),
            input: Vec::new(),
            reassembly: vec![0; 64 * 1024],
            sent: Vec::new(),
            log: Vec::new(),
            answers: false,
        }
    }

    /// Takes bytes as they came and goes on until nothing moves.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run();
    }

    pub fn run(&mut self) {
        // Each step but the last uses a byte or more, or sends one frame; an input byte causes at most one frame.
        let bound = 2 * self.input.len() + 4;
        for _ in 0..=bound {
            let used = self.step();
            if !self.flush() && used == 0 {
                return;
            }
        }
        panic!("no end after {bound} steps");
    }

    fn step(&mut self) -> usize {
        let (used, event) = match self.agent.handle_input(&self.input, &mut self.reassembly) {
            Ok(done) => done,
            Err(error) => {
                check_text(&error);
                assert_eq!(self.agent.pending_disconnect().unwrap_or(error.status()), error.status(), "{error}");
                self.log.push(AgentLog::Error(error));
                return 0;
            }
        };
        assert!(used <= self.input.len());
        let mut answered = None;
        if let Some(event) = &event {
            let header = Header::peek(&self.input).expect("a whole frame");
            assert_eq!(event.frame_type(), header.frame_type);
        }
        let nothing_to_do =
            |event: &AgentEvent<'_>| matches!(event, AgentEvent::Fragment { .. } | AgentEvent::Ignored(_));
        if let Some(event) = event.filter(|event| !nothing_to_do(event)) {
            let entry = match event {
                AgentEvent::Hello { negotiated, engine_id } => {
                    assert_eq!(self.agent.negotiated(), Some(negotiated));
                    AgentLog::Hello { negotiated, engine_id: engine_id.map(<[u8]>::to_vec) }
                }
                AgentEvent::Notify(notify) => {
                    let ids = plain((notify.stream_id, notify.frame_id));
                    answered = Some(notify.ticket);
                    assert_eq!(Ticket::from_bits(notify.ticket.to_bits()), notify.ticket);
                    let payload = walk::messages(Messages::new(notify.payload())).unwrap();
                    assert_eq!(walk::valid_messages(notify.messages()), payload);
                    AgentLog::Notify { ticket: notify.ticket, ids, fragmented: notify.fragmented, payload }
                }
                AgentEvent::Aborted { stream_id, frame_id } => AgentLog::Aborted(plain((stream_id, frame_id))),
                AgentEvent::TooBig { stream_id, frame_id } => AgentLog::TooBig(plain((stream_id, frame_id))),
                AgentEvent::Disconnect(d) => AgentLog::Disconnect { status: d.status, message: d.message.to_vec() },
                other => panic!("an event that the tests do not know: {other:?}"),
            };
            self.log.push(entry);
        }
        self.input.drain(..used);
        if let (true, Some(ticket)) = (self.answers, answered) {
            self.ack(ticket).unwrap();
        }
        used
    }

    /// Sends the agent's own frames; were there any?
    pub fn flush(&mut self) -> bool {
        let mut out = [0; MAX_TRANSMIT_LEN];
        let mut any = false;
        while let Some(len) = self.agent.poll_transmit(&mut out).unwrap() {
            self.sent.push(out[..len].to_vec());
            any = true;
        }
        any
    }

    /// Answers with an empty ACK.
    pub fn ack(&mut self, ticket: Ticket) -> Result<(), AckError> {
        self.ack_with(ticket, |_| ())
    }

    pub fn ack_with(&mut self, ticket: Ticket, fill: impl FnOnce(&mut AckEncoder<'_>)) -> Result<(), AckError> {
        let mut out = vec![0; 64 * 1024];
        let mut ack = self.agent.ack(&mut out, ticket).inspect_err(|error| check_text(error))?;
        fill(&mut ack);
        let len = ack.finish();
        self.sent.push(out[..len].to_vec());
        Ok(())
    }

    pub fn close(&mut self, status: Status) {
        self.agent.close(status);
        self.run();
    }

    /// Tells the time, as [`Agent::handle_timeout`], and sends what follows.
    pub fn at(&mut self, now: u64) -> Result<(), ProtocolError> {
        let result = self.agent.handle_timeout(now);
        self.run();
        result
    }

    pub fn want(&self) -> Want {
        self.agent.want(&self.input)
    }

    /// The tickets of all NOTIFYs in the log, in their order.
    pub fn tickets(&self) -> Vec<Ticket> {
        self.log
            .iter()
            .filter_map(|e| if let AgentLog::Notify { ticket, .. } = e { Some(*ticket) } else { None })
            .collect()
    }

    /// Takes what was sent and not taken yet.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    pub fn take_log(&mut self) -> Vec<AgentLog> {
        std::mem::take(&mut self.log)
    }
}
