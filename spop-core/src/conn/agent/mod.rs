//! The agent's side of a connection (SPOA).

mod config;
mod event;
mod timeouts;

pub use config::AgentConfig;
pub use event::{AckError, AgentEvent, AgentStats, Notify, Ticket};

use super::error::ProtocolError;
use super::open::{Ids, OpenTable};
use super::{Negotiated, Want, control_frame, missing};
use crate::error::{EncodeError, Status};
use crate::frame::{
    AckEncoder, Capabilities, Disconnect, DisconnectEncoder, Frame, FrameId, FrameType, HaproxyHello, HelloEncoder,
    MIN_MAX_FRAME_SIZE, Messages, PREFIX_LEN, StreamId, Version, peek_len, supports_2_0,
};
use crate::reassembly::{Reassembled, Reassembler};
use crate::valid;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    AwaitHello,
    Running,
    /// Nothing more is read; DISCONNECT 0 follows the last ACK.
    Draining,
    /// A last frame waits in `poll_transmit`.
    Closing,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transmit {
    Nothing,
    Hello,
    EmptyAck(Ids),
    Disconnect(Status),
}

/// The agent's side of one connection: handshake, NOTIFYs in, ACKs out.
///
/// `OPEN` is the most NOTIFYs that may be open at once, 1 or more; beyond it nothing more is read. See the crate's documentation
/// for a whole agent.
#[derive(Clone, Debug)]
pub struct Agent<const OPEN: usize = 128> {
    config: AgentConfig,
    state: State,
    transmit: Transmit,
    negotiated: Negotiated,
    /// HELLO came and was accepted; `negotiated` counts.
    agreed: bool,
    open: OpenTable<OPEN>,
    reassembler: Reassembler,
    stats: AgentStats,
    now: u64,
    /// When the half-received frame was seen first; never set while paused, since only a whole frame leads there.
    half_since: Option<u64>,
    /// When the last fragment came.
    fragment_at: u64,
    /// When the last frame came or the last ACK was begun.
    active_at: u64,
}

impl<const OPEN: usize> Agent<OPEN> {
    /// A new connection. Its clock starts at 0 ticks.
    pub const fn new(config: AgentConfig) -> Self {
        const { assert!(OPEN > 0, "an agent without room for a NOTIFY cannot read") };
        Self {
            config,
            state: State::AwaitHello,
            transmit: Transmit::Nothing,
            negotiated: Negotiated {
                max_frame_size: config.max_frame_size,
                capabilities: Capabilities::NONE,
                healthcheck: false,
            },
            agreed: false,
            open: OpenTable::new(),
            reassembler: Reassembler::new(config.max_fragments),
            stats: AgentStats::ZERO,
            now: 0,
            half_since: None,
            fragment_at: 0,
            active_at: 0,
        }
    }

    /// What was agreed on; `None` before HELLO, and for good if it failed.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.agreed.then_some(self.negotiated)
    }

    /// The number of NOTIFYs that wait for their ACK.
    pub const fn open(&self) -> usize {
        self.open.len()
    }

    /// What was counted so far.
    pub const fn stats(&self) -> &AgentStats {
        &self.stats
    }

    /// True once nothing more is to be read or sent.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What to read next, with `buffered` received and not yet used by [`handle_input`](Self::handle_input).
    pub fn want(&self, buffered: &[u8]) -> Want {
        match self.state {
            State::Closing | State::Closed => Want::Close,
            State::Draining => Want::Pause,
            _ if self.is_paused() => Want::Pause,
            _ => Want::Read(missing(buffered, self.frame_limit())),
        }
    }

    /// Takes at most one frame from the start of `input`: the number of bytes used, and what the frame brought.
    ///
    /// Call it until it uses 0 bytes: then `input` holds no whole frame, or [`want`](Self::want) is
    /// [`Want::Pause`]. After the connection ended all input is used up in silence. `reassembly` is the memory for
    /// fragmented NOTIFYs, always the same slice; its length is their bound, and an empty one is fine if fragmentation
    /// is not announced.
    ///
    /// # Errors
    /// The peer broke the protocol; the rest of the input is void, and so are open NOTIFYs. Send what [`poll_transmit`](Self::poll_transmit) has (the
    /// DISCONNECT), then close.
    #[inline]
    pub fn handle_input<'a>(
        &mut self,
        input: &'a [u8],
        reassembly: &'a mut [u8],
    ) -> Result<(usize, Option<AgentEvent<'a>>), ProtocolError> {
        match self.state {
            State::Closing | State::Closed => return Ok((input.len(), None)),
            State::Draining => return Ok((0, None)),
            State::AwaitHello | State::Running => {}
        }
        if self.is_paused() {
            return Ok((0, None));
        }
        let Some(frame) = self.whole_frame(input)? else { return Ok((0, None)) };
        let used = frame.len().wrapping_add(PREFIX_LEN);
        let event = match self.on_frame(frame, reassembly) {
            Ok(event) => event,
            Err(error) => return Err(self.fail(error)),
        };
        Ok((used, event))
    }

    /// The body of the frame that `input` begins with, if all of it is there.
    #[inline]
    fn whole_frame<'a>(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, ProtocolError> {
        let total = match peek_len(input, self.frame_limit()) {
            Ok(total) => total,
            Err(error) => return Err(self.fail(error.into())),
        };
        match total.and_then(|total| input.get(PREFIX_LEN..total)) {
            Some(body) => {
                self.half_since = None;
                self.active_at = self.now;
                Ok(Some(body))
            }
            None => {
                if !input.is_empty() && self.half_since.is_none() {
                    self.half_since = Some(self.now);
                }
                Ok(None)
            }
        }
    }

    #[inline]
    fn on_frame<'a>(
        &mut self,
        body: &'a [u8],
        reassembly: &'a mut [u8],
    ) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        let frame = Frame::decode(body)?;
        if self.state == State::AwaitHello {
            return match frame.header.frame_type {
                FrameType::HAPROXY_HELLO => self.on_hello(&frame),
                FrameType::HAPROXY_DISCONNECT => self.on_disconnect(&frame),
                other => Err(ProtocolError::UnexpectedFrame(other)),
            };
        }
        // All but the first stay out of line, so that NOTIFYs take a short way.
        match frame.header.frame_type {
            FrameType::NOTIFY => self.on_notify(&frame, reassembly),
            FrameType::UNSET => self.on_continuation(&frame, reassembly),
            FrameType::HAPROXY_DISCONNECT => self.on_disconnect(&frame),
            unexpected @ (FrameType::HAPROXY_HELLO
            | FrameType::AGENT_HELLO
            | FrameType::AGENT_DISCONNECT
            | FrameType::ACK) => Err(ProtocolError::UnexpectedFrame(unexpected)),
            unknown => {
                self.stats.ignored += 1;
                Ok(Some(AgentEvent::Ignored(unknown)))
            }
        }
    }

    #[inline(never)]
    fn on_hello<'a>(&mut self, frame: &Frame<'a>) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        control_frame(frame)?;
        let hello = HaproxyHello::parse(frame)?;
        if !supports_2_0(hello.supported_versions) {
            return Err(ProtocolError::UnsupportedVersion);
        }
        let max_frame_size = hello.max_frame_size.min(self.config.max_frame_size.max(MIN_MAX_FRAME_SIZE));
        if max_frame_size < MIN_MAX_FRAME_SIZE {
            return Err(ProtocolError::BadMaxFrameSize);
        }
        let shared = hello.capabilities.union(Capabilities::FRAGMENTATION);
        self.negotiated = Negotiated {
            max_frame_size,
            capabilities: if hello.healthcheck {
                Capabilities::NONE
            } else {
                self.config.capabilities.intersection(shared)
            },
            healthcheck: hello.healthcheck,
        };
        self.agreed = true;
        self.state = State::Running;
        self.transmit = Transmit::Hello;
        Ok(Some(AgentEvent::Hello { negotiated: self.negotiated, engine_id: hello.engine_id }))
    }

    #[inline(never)]
    fn on_disconnect<'a>(&mut self, frame: &Frame<'a>) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        control_frame(frame)?;
        let disconnect = Disconnect::parse(frame)?;
        self.end(Status::NORMAL);
        Ok(Some(AgentEvent::Disconnect(disconnect)))
    }

    #[inline]
    fn on_notify<'a>(
        &mut self,
        frame: &Frame<'a>,
        reassembly: &'a mut [u8],
    ) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        let ids = (frame.header.stream_id, frame.header.frame_id);
        let flags = frame.header.flags;
        if !flags.fin() {
            self.check_fragment(frame)?;
        }
        if self.reassembler.in_progress() {
            return Err(ProtocolError::Interlaced);
        }
        if !flags.fin() {
            self.reassembler.start(ids, frame.payload, reassembly);
            let (stream_id, frame_id) = ids;
            return Ok(Some(AgentEvent::Fragment { first: true, stream_id, frame_id }));
        }
        if flags.abort() {
            self.stats.cancelled += 1;
            return Ok(Some(AgentEvent::Ignored(FrameType::NOTIFY)));
        }
        self.open_notify(ids, frame.messages(), frame.payload, false)
    }

    #[inline(never)]
    fn on_continuation<'a>(
        &mut self,
        frame: &Frame<'a>,
        reassembly: &'a mut [u8],
    ) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        self.check_fragment(frame)?;
        let ids = (frame.header.stream_id, frame.header.frame_id);
        let flags = frame.header.flags;
        if !self.reassembler.in_progress() && flags.abort() {
            self.stats.ignored += 1;
            return Ok(Some(AgentEvent::Ignored(FrameType::UNSET)));
        }
        if !self.reassembler.is_open(ids) {
            return Err(ProtocolError::Interlaced);
        }
        let (stream_id, frame_id) = ids;
        if flags.abort() {
            self.reassembler.abort();
            self.stats.aborted += 1;
            return Ok(Some(AgentEvent::Aborted { stream_id, frame_id }));
        }
        self.reassembler.push(frame.payload, reassembly);
        if !flags.fin() {
            return Ok(Some(AgentEvent::Fragment { first: false, stream_id, frame_id }));
        }
        match self.reassembler.finish() {
            Reassembled::Whole(len) => {
                let payload: &'a [u8] = reassembly;
                let payload = payload.get(..len).unwrap_or_default();
                self.open_notify(ids, Messages::new(payload), payload, true)
            }
            Reassembled::TooBig => {
                self.stats.too_big += 1;
                self.supersede(ids);
                self.transmit = Transmit::EmptyAck(ids);
                Ok(Some(AgentEvent::TooBig { stream_id, frame_id }))
            }
        }
    }

    /// What holds for every frame that is a part of a fragmented one.
    fn check_fragment(&mut self, frame: &Frame<'_>) -> Result<(), ProtocolError> {
        if !self.has(Capabilities::FRAGMENTATION) {
            return Err(ProtocolError::FragmentationNotAnnounced);
        }
        if frame.header.flags.abort() && !frame.header.flags.fin() {
            return Err(ProtocolError::AbortWithoutFin);
        }
        self.stats.fragments += 1;
        self.fragment_at = self.now;
        Ok(())
    }

    /// Makes void what HAProxy cannot wait for any more, now that it sent a NOTIFY with these ids.
    #[inline]
    fn supersede(&mut self, ids: Ids) {
        if self.has(Capabilities::PIPELINING) || self.has(Capabilities::ASYNC) {
            if self.open.remove_ids(ids) {
                self.stats.superseded += 1;
            }
        } else {
            self.stats.superseded += self.open.clear() as u64;
        }
    }

    /// `messages` are those of `payload`.
    #[inline]
    fn open_notify<'a>(
        &mut self,
        ids: Ids,
        messages: Messages<'a>,
        payload: &'a [u8],
        fragmented: bool,
    ) -> Result<Option<AgentEvent<'a>>, ProtocolError> {
        let Some(messages) = valid::Messages::parse(payload) else { return Err(messages.first_error().into()) };
        self.supersede(ids);
        let Some(serial) = self.open.insert(ids) else { return Ok(None) };
        self.stats.notifies += 1;
        let (stream_id, frame_id) = ids;
        Ok(Some(AgentEvent::Notify(Notify { ticket: Ticket(serial), stream_id, frame_id, fragmented, messages })))
    }

    /// Answers a NOTIFY: its ACK is written into `out`, bounded by the negotiated size. Finish it and send it; an
    /// encoder that is dropped leaves the NOTIFY without an answer.
    ///
    /// # Errors
    /// [`AckError::NotOpen`]: nothing is to be sent. [`AckError::NoSpace`]: try again with a larger `out`.
    #[inline]
    pub fn ack<'b>(&mut self, out: &'b mut [u8], ticket: Ticket) -> Result<AckEncoder<'b>, AckError> {
        let (at, (stream_id, frame_id)) = self.open.find(ticket.0).ok_or(AckError::NotOpen)?;
        let ack =
            AckEncoder::new(out, self.negotiated.max_frame_size, stream_id, frame_id).map_err(|_| AckError::NoSpace)?;
        self.take(at);
        Ok(ack)
    }

    /// Takes a NOTIFY over, to be answered on another connection of the same engine-id by an
    /// [`AckEncoder`] of one's own, which is allowed only if `async` was agreed on; or never, so that HAProxy waits in vain.
    /// `None` if it is not open.
    #[inline]
    pub fn release(&mut self, ticket: Ticket) -> Option<(StreamId, FrameId)> {
        let (at, _) = self.open.find(ticket.0)?;
        self.take(at)
    }

    #[inline]
    fn take(&mut self, at: usize) -> Option<Ids> {
        let ids = self.open.remove_at(at)?;
        self.stats.acks += 1;
        self.active_at = self.now;
        self.end_if_drained();
        Some(ids)
    }

    /// Writes the next frame of the agent itself to the start of `out`: its length, or `None` if there is none. Call
    /// it again until `None`; nothing is read before. `out` needs [`MAX_TRANSMIT_LEN`](crate::MAX_TRANSMIT_LEN) bytes.
    ///
    /// Send each frame in one write: HAProxy 3.5-dev refuses an AGENT-HELLO that comes in two segments.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]: `out` is too short; the frame stays ready.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Result<Option<usize>, EncodeError> {
        let max = self.negotiated.max_frame_size.max(MIN_MAX_FRAME_SIZE);
        let len = match self.transmit {
            Transmit::Nothing => return Ok(None),
            Transmit::Hello => {
                let mut hello = HelloEncoder::agent(out, max)?;
                hello.version(Version::V2_0)?;
                hello.max_frame_size(self.negotiated.max_frame_size)?;
                hello.capabilities(self.negotiated.capabilities)?;
                hello.finish()
            }
            Transmit::EmptyAck((stream_id, frame_id)) => AckEncoder::new(out, max, stream_id, frame_id)?.finish(),
            Transmit::Disconnect(status) => {
                let mut disconnect = DisconnectEncoder::agent(out, max, status)?;
                disconnect.message(status.reason().as_bytes())?;
                disconnect.finish()
            }
        };
        let last = match self.transmit {
            Transmit::Hello => self.negotiated.healthcheck,
            Transmit::Disconnect(_) => true,
            Transmit::EmptyAck(_) | Transmit::Nothing => false,
        };
        self.transmit = Transmit::Nothing;
        if last {
            self.state = State::Closed;
        }
        self.end_if_drained();
        Ok(Some(len))
    }

    /// The status of the DISCONNECT that waits in [`poll_transmit`](Self::poll_transmit).
    pub const fn pending_disconnect(&self) -> Option<Status> {
        match self.transmit {
            Transmit::Disconnect(status) => Some(status),
            _ => None,
        }
    }

    /// Ends the connection by a DISCONNECT.
    ///
    /// With [`Status::NORMAL`] nothing more is read, and the DISCONNECT follows when the last open NOTIFY has its
    /// ACK: that may take as long as the caller does, who sets the limit and goes on to watch the transport for its end.
    /// An agent that still waits for HAProxy's HELLO closes without one. With any other status the open NOTIFYs
    /// are void and the DISCONNECT is ready at once.
    pub fn close(&mut self, status: Status) {
        match self.state {
            State::Closing | State::Closed => {}
            State::AwaitHello if status == Status::NORMAL => self.state = State::Closed,
            State::Running | State::Draining if status == Status::NORMAL => {
                self.state = State::Draining;
                self.end_if_drained();
            }
            _ => self.end(status),
        }
    }

    /// The transport ended. Nothing more is sent; open NOTIFYs are void, and how many there were is returned. That is
    /// normal: HAProxy 3.1 and later end connections without a word.
    pub fn handle_eof(&mut self) -> usize {
        self.state = State::Closed;
        self.transmit = Transmit::Nothing;
        self.reassembler.abort();
        let open = self.open.clear();
        self.stats.voided += open as u64;
        open
    }

    #[inline]
    fn is_paused(&self) -> bool {
        self.transmit != Transmit::Nothing || self.open.is_full()
    }

    #[inline]
    fn frame_limit(&self) -> u32 {
        match self.state {
            State::AwaitHello => self.config.hello_max_frame_size.min(self.config.max_frame_size),
            _ => self.negotiated.max_frame_size,
        }
    }

    #[inline]
    fn has(&self, capability: Capabilities) -> bool {
        self.negotiated.capabilities.contains(capability)
    }

    fn end_if_drained(&mut self) {
        if self.state == State::Draining && self.open.len() == 0 && self.transmit == Transmit::Nothing {
            self.end(Status::NORMAL);
        }
    }

    fn end(&mut self, status: Status) {
        self.state = State::Closing;
        self.transmit = Transmit::Disconnect(status);
        self.reassembler.abort();
        self.stats.voided += self.open.clear() as u64;
    }

    #[cold]
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.end(error.status());
        error
    }
}
