//! The state of a connection, and what of it the shared counters get.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spop_core::{Agent, AgentStats, FrameType, Negotiated, Ticket};
use tokio::task::JoinSet;

use crate::buffer::{Input, Output};
use crate::engine::{AtWork, Ids};
use crate::frames::Frames;
use crate::gauge::Part;
use crate::member::Member;
use crate::notify::Connection;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::stats::{HandlerDurations, ServerStats};

/// The state of a connection.
pub(crate) struct Session<S, const OPEN: usize> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) stream: S,
    pub(crate) agent: Agent<OPEN>,
    pub(crate) inbound: Inbound,
    pub(crate) output: Output,
    /// The asynchronous handlers at work; they end with the connection, unless others answer for it.
    pub(crate) tasks: JoinSet<Outcome>,
    /// The payloads that they hold.
    pub(crate) request_bytes: usize,
    /// With `async`: its place among the connections of its engine, and what their handlers are at work on.
    pub(crate) engine: Option<Member>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) started: Instant,
    /// When it began with what it does now: where an answer ends the work on the next one begins, which saves to ask the time.
    pub(crate) busy_since: Instant,
    pub(crate) turn: Turn,
    /// What of the agent's counters the shared ones have already.
    reported: AgentStats,
    /// What the shared counters do not have yet.
    pub(crate) received: Received,
    /// What the shared histogram does not have yet.
    pub(crate) durations: HandlerDurations,
    in_flight: Part,
    /// The protocol was broken: nobody can tell where a frame begins.
    pub(crate) broken: bool,
    /// The agent ended it, since what it wrote was not read: no error of the transport.
    pub(crate) gave_up: bool,
    /// What came after the agent had ended it.
    pub(crate) unhandled: Frames,
    /// Bytes held beyond [`OWN_BUFFERS`](crate::OWN_BUFFERS).
    pub(crate) buffered: Part,
}

/// What a handler is at work on.
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) at_work: AtWork,
    /// Did HAProxy use its ids again? Then it waits for its answer no more.
    pub(crate) superseded: bool,
}

/// What was received and is not handled yet. Events borrow from it, not from the rest of the connection.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) input: Input,
    pub(crate) reassembly: Vec<u8>,
}

/// What a connection did since it let others go on.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) bytes: usize,
    pub(crate) handler: Duration,
}

impl Turn {
    /// Has it done enough for once?
    pub(crate) fn is_over(&self) -> bool {
        self.bytes >= TURN_BYTES || self.handler >= TURN_TIME
    }
}

/// Frames received, by type.
#[derive(Default)]
pub(crate) struct Received {
    hello: u64,
    notify: u64,
    unset: u64,
    disconnect: u64,
    unknown: u64,
}

impl Received {
    pub(crate) fn count(&mut self, frame_type: FrameType) {
        let counter = match frame_type {
            FrameType::NOTIFY => &mut self.notify,
            FrameType::UNSET => &mut self.unset,
            FrameType::HAPROXY_HELLO => &mut self.hello,
            FrameType::HAPROXY_DISCONNECT => &mut self.disconnect,
            _ => &mut self.unknown,
        };
        *counter += 1;
    }
}

/// After so many bytes of frames a connection lets others go on.
const TURN_BYTES: usize = 64 * 1024;
/// After so much time in the handler it does so, too.
const TURN_TIME: Duration = Duration::from_micros(200);

impl<S, const OPEN: usize> Session<S, OPEN> {
    pub(crate) fn new(stream: S, shared: Arc<Shared>, id: u64) -> Self {
        let mut nothing_yet = Negotiated::default();
        nothing_yet.max_frame_size = shared.config.max_frame_size;
        let started = Instant::now();
        Self {
            connection: Arc::new(Connection { id, negotiated: nothing_yet, engine_id: None }),
            stream,
            agent: Agent::new(shared.config.agent()),
            inbound: Inbound::default(),
            output: Output::default(),
            tasks: JoinSet::new(),
            request_bytes: 0,
            engine: None,
            asked: Vec::new(),
            started,
            busy_since: started,
            turn: Turn::default(),
            reported: AgentStats::default(),
            received: Received::default(),
            durations: HandlerDurations::default(),
            in_flight: Part::new(&shared.stats, |stats| &stats.in_flight),
            broken: false,
            gave_up: false,
            unhandled: Frames::default(),
            buffered: Part::new(&shared.stats, |stats| &stats.buffered),
            shared,
        }
    }

    /// The bytes that stay while it waits for input.
    pub(crate) fn held(&self) -> usize {
        self.inbound.input.capacity() + self.inbound.reassembly.len() + self.request_bytes
    }

    pub(crate) fn stats(&self) -> &ServerStats {
        &self.shared.stats
    }

    /// Is an answer to leave, and nothing else open, so that HAProxy waits for no other on this connection?
    pub(crate) fn is_last_answer(&self) -> bool {
        self.agent.stats().acks > self.reported.acks
            && !self.output.pending().is_empty()
            && self.agent.open() == 0
            && self.inbound.input.unread().is_empty()
            && self.inbound.reassembly.is_empty()
    }

    /// Adds what the agent counted since the last time to the shared counters.
    pub(crate) fn report(&mut self) {
        let now = *self.agent.stats();
        let then = std::mem::replace(&mut self.reported, now);
        self.in_flight.set(self.agent.open() as u64);
        let received = std::mem::take(&mut self.received);
        let durations = std::mem::take(&mut self.durations);
        let stats = self.stats();
        ServerStats::add(&stats.received_hello, received.hello);
        ServerStats::add(&stats.received_notify, received.notify);
        ServerStats::add(&stats.received_unset, received.unset);
        ServerStats::add(&stats.received_disconnect, received.disconnect);
        ServerStats::add(&stats.received_unknown, received.unknown);
        stats.handler_durations.add(&durations);
        ServerStats::add(&stats.sent_ack, now.acks - then.acks);
        ServerStats::add(&stats.notifies, now.notifies - then.notifies);
        ServerStats::add(&stats.acks, now.acks - then.acks);
        ServerStats::add(&stats.superseded, now.superseded - then.superseded);
        ServerStats::add(&stats.cancelled, now.cancelled - then.cancelled);
        ServerStats::add(&stats.aborted, now.aborted - then.aborted);
        ServerStats::add(&stats.too_big, now.too_big - then.too_big);
        ServerStats::add(&stats.fragments, now.fragments - then.fragments);
        ServerStats::add(&stats.unanswered, now.voided - then.voided);
        ServerStats::add(&stats.ignored, now.ignored - then.ignored);
    }

    /// HAProxy waits for no earlier answer to these ids any more, neither of this connection nor of one that is gone.
    pub(crate) fn supersede(&mut self, ids: Ids) {
        let Some(engine) = &self.engine else { return };
        for earlier in self.asked.iter_mut().filter(|asked| asked.at_work.ids == ids) {
            earlier.superseded = true;
        }
        engine.supersede(ids);
    }

    /// At its end, before what became void is reported: other connections of its engine answer what is open, if they can.
    pub(crate) fn leave_to_others(&mut self) {
        let Some(engine) = &self.engine else { return };
        let (superseded, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.asked).into_iter().partition(|asked| asked.superseded);
        // They are not among those that are bounded.
        for asked in superseded {
            asked.at_work.task.abort();
        }
        if open.is_empty() || !engine.reserve(open.len()) {
            return;
        }
        for asked in &open {
            // They count when they are answered; what has ended the connection may have made them void already.
            let counted = match self.agent.release(asked.ticket) {
                Some(_) => &mut self.reported.acks,
                None => &mut self.reported.voided,
            };
            *counted += 1;
        }
        let open = open.into_iter().map(|asked| (asked.ticket, asked.at_work)).collect();
        engine.adopt(std::mem::take(&mut self.tasks), open, self.connection.id);
    }

    /// What is open when the connection ends will never be answered.
    pub(crate) fn end(&mut self) {
        self.agent.handle_eof();
        self.report();
    }
}

/// A connection that is cut off at the end of the grace time ends here.
impl<S, const OPEN: usize> Drop for Session<S, OPEN> {
    fn drop(&mut self) {
        self.end();
    }
}
