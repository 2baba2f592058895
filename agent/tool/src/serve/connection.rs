//! One connection of HAProxy.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use spop_core::{Agent, AgentEvent, Flags, FrameType, Header, MAX_TRANSMIT_LEN, PREFIX_LEN, Scope, Status, Ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::rules::{Deed, Source};
use super::shared::Shared;
use crate::message::OwnedValue;
use crate::tap::{Connection, From, Passing};

/// NOTIFYs that may be open on a connection: those whose ACK is delayed, and the one that is looked at.
const OPEN: usize = 1024;
/// So many ACKs can be delayed.
pub(super) const MAX_DELAYED: usize = OPEN - 1;
/// A NOTIFY in fragments has so many bytes at most.
const REASSEMBLY: usize = 1 << 20;
/// How long HAProxy may take to read what is sent, and to close at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is not an ACK.
const GARBAGE: &[u8] = b"\xff\xff\xff\xffno frame";

/// The answer to a NOTIFY.
struct Planned {
    ticket: Ticket,
    actions: Vec<Action>,
    fragment: Option<usize>,
    came: Instant,
}

enum Action {
    Set(Scope, Vec<u8>, OwnedValue),
    Unset(Scope, Vec<u8>),
}

/// What is to become of a NOTIFY, or of its connection.
enum Plan {
    Answer(Planned, Duration),
    NoAck(Ticket),
    Close,
    Disconnect(Status),
    Garbage(Ticket),
}

/// An answer that is not due yet; the earliest is the greatest.
struct Waiting(Reverse<(Instant, u64)>, Planned);

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

struct Session {
    stream: Box<dyn Connection>,
    shared: Arc<Shared>,
    agent: Agent<OPEN>,
    passing: Passing,
    output: Vec<u8>,
    delayed: BinaryHeap<Waiting>,
    serial: u64,
    /// HAProxy waits in vain for an answer.
    unanswered: bool,
    /// Of a NOTIFY in fragments, so far.
    fragments: u32,
    /// It is a health check, which is shown only if all is.
    shown: bool,
}

/// Serves it to its end, which nobody asks for.
pub(super) async fn serve(
    stream: Box<dyn Connection>,
    peer: String,
    own: String,
    shared: Arc<Shared>,
    ends: watch::Receiver<bool>,
) {
    let passing = Passing::new(shared.tap.clone(), &peer, &own);
    let mut session = Session {
        stream,
        agent: Agent::new(shared.config),
        shared,
        passing,
        output: Vec::new(),
        delayed: BinaryHeap::new(),
        serial: 0,
        unanswered: false,
        fragments: 0,
        shown: true,
    };
    // What broke the connection is not ours: HAProxy resets as it likes.
    let _ended = session.run(ends).await;
}

impl Session {
    async fn run(&mut self, mut ends: watch::Receiver<bool>) -> io::Result<()> {
        let (mut input, mut reassembly) = (Vec::with_capacity(64 << 10), vec![0; REASSEMBLY]);
        let begin = Instant::now();
        let mut stopping = false;
        loop {
            // Errors are in the agent's state: it has a DISCONNECT to send.
            let _late = self.agent.handle_timeout(begin.elapsed().as_millis() as u64);
            let go_on = self.take_frames(&mut input, &mut reassembly);
            self.send_what_is_due();
            self.transmit();
            self.flush().await?;
            if !go_on || self.agent.is_closed() {
                return self.linger().await;
            }
            let due = self.delayed.peek().map(|Waiting(Reverse((at, _)), _)| *at);
            let timer = self.agent.poll_timeout().map(|at| begin + Duration::from_millis(at));
            let wake = due.into_iter().chain(timer).min();
            // What cannot be taken yet waits with HAProxy, not in memory.
            let reads = self.agent.want(&input).bytes() > 0;
            tokio::select! {
                read = self.stream.read_buf(&mut input), if reads => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    self.passing.bytes(From::Haproxy, input.get(input.len() - read..).unwrap_or_default());
                }
                () = sleep_until(wake.unwrap_or(begin)), if wake.is_some() => {}
                _ = ends.wait_for(|ends| *ends), if !stopping => {
                    stopping = true;
                    // What waits is answered now.
                    while let Some(Waiting(_, planned)) = self.delayed.pop() {
                        self.answer(planned);
                    }
                    // To those without an answer it is no normal end.
                    self.agent.close(if self.unanswered { Status::TIMEOUT } else { Status::NORMAL });
                }
            }
        }
    }

    /// False if the connection is to be closed.
    fn take_frames(&mut self, input: &mut Vec<u8>, reassembly: &mut [u8]) -> bool {
        let mut used = 0;
        let mut go_on = true;
        while go_on {
            let unread = input.get(used..).unwrap_or_default();
            let (len, event) = match self.agent.handle_input(unread, reassembly) {
                // It takes nothing before its own frame is sent; what is behind that is here already.
                Ok((0, _)) if self.transmit() => continue,
                Ok((0, _)) => break,
                Ok(step) => step,
                Err(error) => {
                    self.shared.counts.errors.fetch_add(1, Relaxed);
                    self.passing.no_frame(From::Haproxy, unread.len(), error.to_string(), Some(error.status().0));
                    used = input.len();
                    break;
                }
            };
            let frame = unread.get(..len).unwrap_or_default();
            used += len;
            let Some(event) = event else { continue };
            go_on = self.on_event(event, frame);
        }
        input.drain(..used);
        go_on
    }

    fn on_event(&mut self, event: AgentEvent<'_>, frame: &[u8]) -> bool {
        let counts = &self.shared.counts;
        let all = self.shared.all;
        match event {
            AgentEvent::Hello { negotiated, .. } => {
                counts.health_checks.fetch_add(negotiated.healthcheck.into(), Relaxed);
                self.shown = all;
                self.passing.frame(From::Haproxy, frame, all, None);
            }
            AgentEvent::Fragment { first, .. } => {
                self.fragments = if first { 1 } else { self.fragments.saturating_add(1) };
                self.passing.frame(From::Haproxy, frame, all, None);
            }
            AgentEvent::Notify(notify) => {
                counts.notifies.fetch_add(1, Relaxed);
                match std::mem::take(&mut self.fragments) {
                    0 => self.passing.frame(From::Haproxy, frame, true, None),
                    n => self.passing.reassembled(frame, notify.payload(), n + 1, true),
                }
                return self.carry_out(self.plan(&notify));
            }
            AgentEvent::Aborted { .. } | AgentEvent::TooBig { .. } => {
                self.fragments = 0;
                self.passing.frame(From::Haproxy, frame, true, None);
            }
            _ => self.passing.frame(From::Haproxy, frame, all, None),
        }
        true
    }

    /// By the first rule that fits each message.
    fn plan(&self, notify: &spop_core::Notify<'_>) -> Plan {
        let (mut actions, mut delay, mut fragment, mut instead) = (Vec::new(), Duration::ZERO, None, None);
        for message in notify.messages() {
            let Some(rule) = self.shared.rules.iter().find(|rule| rule.fits(message.name, message.args())) else {
                self.shared.counts.unfit.fetch_add(1, Relaxed);
                continue;
            };
            rule.answered.fetch_add(1, Relaxed);
            for deed in &rule.deeds {
                match deed {
                    Deed::SetVar(scope, name, Source::Value(value)) => {
                        actions.push(Action::Set(*scope, name.clone(), value.clone()));
                    }
                    Deed::SetVar(scope, name, Source::Argument(key)) => {
                        // A message without the argument leaves the variable alone.
                        let found = message.args().find(|arg| arg.key == key);
                        actions.extend(found.map(|arg| Action::Set(*scope, name.clone(), OwnedValue::of(&arg.value))));
                    }
                    Deed::UnsetVar(scope, name) => actions.push(Action::Unset(*scope, name.clone())),
                    Deed::Delay(time) => delay = delay.max(*time),
                    Deed::Fragment(size) => fragment = Some(*size),
                    Deed::NoAck => instead = instead.or(Some(Plan::NoAck(notify.ticket))),
                    Deed::Close => instead = Some(Plan::Close),
                    Deed::Disconnect(status) => instead = Some(Plan::Disconnect(*status)),
                    Deed::Garbage => instead = Some(Plan::Garbage(notify.ticket)),
                }
            }
        }
        let planned = Planned { ticket: notify.ticket, actions, fragment, came: Instant::now() };
        instead.unwrap_or(Plan::Answer(planned, delay))
    }

    fn carry_out(&mut self, plan: Plan) -> bool {
        match plan {
            Plan::Answer(planned, Duration::ZERO) => self.answer(planned),
            Plan::Answer(planned, _) if self.delayed.len() >= self.shared.max_delayed => {
                self.shared.counts.undelayed.fetch_add(1, Relaxed);
                self.answer(planned);
            }
            Plan::Answer(planned, delay) => {
                self.serial += 1;
                self.delayed.push(Waiting(Reverse((planned.came + delay, self.serial)), planned));
            }
            Plan::NoAck(ticket) => self.leave(ticket),
            Plan::Close => return false,
            Plan::Disconnect(status) => {
                self.delayed.clear();
                // Also with the status of a normal end nobody waits for what is open.
                self.agent.handle_eof();
                self.disconnect(status);
                return false;
            }
            Plan::Garbage(ticket) => {
                self.leave(ticket);
                self.output.extend_from_slice(GARBAGE);
                self.passing.no_frame(From::Agent, GARBAGE.len(), "garbage, as a rule asks for it".to_owned(), None);
            }
        }
        true
    }

    /// Without an answer. Were it left open, the agent would read nothing more once it has enough of them.
    fn leave(&mut self, ticket: Ticket) {
        self.unanswered |= self.agent.release(ticket).is_some();
    }

    fn send_what_is_due(&mut self) {
        let now = Instant::now();
        while self.delayed.peek().is_some_and(|Waiting(Reverse((at, _)), _)| *at <= now) {
            if let Some(Waiting(_, planned)) = self.delayed.pop() {
                self.answer(planned);
            }
        }
    }

    fn answer(&mut self, Planned { ticket, actions, fragment, came }: Planned) {
        let room = self.agent.negotiated().map_or(0, |negotiated| negotiated.max_frame_size as usize) + PREFIX_LEN;
        let mut frame = vec![0; room];
        // One that is not open any more was superseded or aborted by HAProxy.
        let Ok(mut ack) = self.agent.ack(&mut frame, ticket) else { return };
        for action in &actions {
            let added = match action {
                Action::Set(scope, name, value) => ack.set_var(*scope, name, value.as_value()),
                Action::Unset(scope, name) => ack.unset_var(*scope, name),
            };
            if added.is_err() {
                self.passing.no_frame(
                    From::Agent,
                    0,
                    "the actions do not fit max-frame-size: some are left out".to_owned(),
                    None,
                );
                break;
            }
        }
        let len = ack.finish();
        frame.truncate(len);
        self.shared.counts.acks.fetch_add(1, Relaxed);
        let frames = match fragment {
            Some(size) => fragments(&frame, size),
            None => vec![frame],
        };
        for frame in frames {
            self.passing.frame(From::Agent, &frame, true, Some(came.elapsed()));
            self.output.extend_from_slice(&frame);
        }
    }

    /// The frames of the agent itself; was there any?
    fn transmit(&mut self) -> bool {
        let mut own = [0; MAX_TRANSMIT_LEN];
        let mut any = false;
        while let Ok(Some(len)) = self.agent.poll_transmit(&mut own) {
            let frame = own.get(..len).unwrap_or_default();
            self.passing.frame(From::Agent, frame, self.shared.all, None);
            self.output.extend_from_slice(frame);
            any = true;
        }
        any
    }

    fn disconnect(&mut self, status: Status) {
        let mut frame = [0; MAX_TRANSMIT_LEN];
        let max = self.agent.negotiated().map_or(256, |negotiated| negotiated.max_frame_size);
        let Ok(mut disconnect) = spop_core::DisconnectEncoder::agent(&mut frame, max, status) else { return };
        let _fits = disconnect.message(status.reason().as_bytes());
        let len = disconnect.finish();
        let frame = frame.get(..len).unwrap_or_default();
        self.passing.frame(From::Agent, frame, true, None);
        self.output.extend_from_slice(frame);
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.passing.bytes(From::Agent, &self.output);
        let written = timeout(PATIENCE, async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        });
        let written = written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.output.clear();
        written
    }

    /// Closes without a reset that could overtake the last frames.
    async fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let rest = async {
            let mut rest = [0; 4096];
            while let Ok(1..) = self.stream.read(&mut rest).await {}
        };
        // Whoever does not close is left.
        let _closed = timeout(PATIENCE, rest).await;
        Ok(())
    }
}

/// A whole ACK, prefix included, cut into fragments: the first is an ACK without FIN, the others are UNSET.
fn fragments(ack: &[u8], size: usize) -> Vec<Vec<u8>> {
    let body = ack.get(PREFIX_LEN..).unwrap_or_default();
    let Ok(frame) = spop_core::Frame::decode(body) else { return vec![ack.to_vec()] };
    let pieces: Vec<_> = frame.payload.chunks(size).collect();
    let pieces = if pieces.is_empty() { vec![&[][..]] } else { pieces };
    let last = pieces.len() - 1;
    let encode = |(n, piece): (usize, &&[u8])| {
        let frame_type = if n == 0 { FrameType::ACK } else { FrameType::UNSET };
        let flags = if n == last { Flags::FIN } else { Flags(0) };
        let header = Header { frame_type, flags, ..frame.header };
        let mut bytes = vec![0; ack.len() + piece.len()];
        let mut encoder = spop_core::FrameEncoder::new(&mut bytes, u32::MAX, header).ok()?;
        encoder.payload().bytes(piece).ok()?;
        let len = encoder.finish();
        bytes.truncate(len);
        Some(bytes)
    };
    pieces.iter().enumerate().filter_map(encode).collect()
}
