//! HAProxy's side of a connection: for tests, health checks, load generators and fake HAProxys.

mod config;
mod event;

pub use config::{ClientConfig, EngineId};
pub use event::{ClientEvent, ClientStats, NotifyError};

use super::error::{ProtocolError, Timer};
use super::open::OpenTable;
use super::{Negotiated, Want, control_frame, missing};
use crate::error::{DecodeError, EncodeError, Status};
use crate::frame::{
    AgentHello, Capabilities, Disconnect, DisconnectEncoder, Flags, Frame, FrameEncoder, FrameId, FrameType, Header,
    HelloEncoder, MIN_MAX_FRAME_SIZE, NotifyEncoder, PREFIX_LEN, StreamId, Version, peek_len,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    AwaitHello,
    Running,
    /// Our DISCONNECT goes out or is out; the agent's is awaited.
    Closing,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transmit {
    Nothing,
    Hello,
    Disconnect {
        status: Status,
        /// An error: the connection is over without the agent's answer.
        last: bool,
    },
}

/// Out of line: of the two sides the agent's is the one to be fast, and the C library is to stay small.
#[inline(never)]
fn decode(body: &[u8]) -> Result<Frame<'_>, DecodeError> {
    Frame::decode(body)
}

/// How far a fragmented NOTIFY is sent.
#[derive(Clone, Copy, Debug)]
struct Fragmenting {
    ids: (StreamId, FrameId),
    sent: usize,
}

/// HAProxy's side of one connection: handshake, NOTIFYs out, ACKs in. `OPEN` is the most NOTIFYs in flight.
///
/// ```
/// use spop_core::{Client, ClientConfig};
///
/// let mut client: Client = Client::new(ClientConfig::DEFAULT.with_healthcheck(true));
/// let mut out = [0; 256];
/// assert_eq!(client.poll_transmit(&mut out)?, Some(82)); // HAProxy's health check
/// # Ok::<(), spop_core::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client<const OPEN: usize = 128> {
    config: ClientConfig,
    state: State,
    transmit: Transmit,
    negotiated: Negotiated,
    /// The agent's HELLO came and was accepted; `negotiated` counts.
    agreed: bool,
    open: OpenTable<OPEN>,
    fragmenting: Option<Fragmenting>,
    stats: ClientStats,
}

impl<const OPEN: usize> Client<OPEN> {
    /// A new connection, its HELLO ready in [`poll_transmit`](Self::poll_transmit). Its clock starts at 0 ticks.
    pub const fn new(config: ClientConfig) -> Self {
        const { assert!(OPEN > 0, "a client without room for a NOTIFY cannot send one") };
        Self {
            config,
            state: State::AwaitHello,
            transmit: Transmit::Hello,
            negotiated: Negotiated {
                max_frame_size: config.max_frame_size,
                capabilities: Capabilities::NONE,
                healthcheck: config.healthcheck,
            },
            agreed: false,
            open: OpenTable::new(),
            fragmenting: None,
            stats: ClientStats { notifies: 0, acks: 0, voided: 0, ignored: 0 },
        }
    }

    /// What was agreed on; `None` before the agent's HELLO, and for good if it failed.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.agreed.then_some(self.negotiated)
    }

    /// The number of NOTIFYs in flight.
    pub const fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// What was counted so far.
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }

    /// True once nothing more is to be read or sent.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What to read next, with `buffered` received and not yet used.
    pub fn want(&self, buffered: &[u8]) -> Want {
        match (self.state, self.transmit) {
            (State::Closed, _) | (_, Transmit::Disconnect { last: true, .. }) => Want::Close,
            _ => Want::Read(missing(buffered, self.negotiated.max_frame_size)),
        }
    }

    /// Takes at most one frame from the start of `input`: the number of bytes used, and what happened. Call it until it
    /// uses 0 bytes. After the connection ended all input is used up in silence.
    ///
    /// # Errors
    /// The agent broke the protocol; send what [`poll_transmit`](Self::poll_transmit) has, then close.
    #[inline]
    pub fn handle_input<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<ClientEvent<'a>>), ProtocolError> {
        if self.want(&[]) == Want::Close {
            return Ok((input.len(), None));
        }
        let total = match peek_len(input, self.negotiated.max_frame_size) {
            Ok(total) => total,
            Err(error) => return Err(self.fail(error.into())),
        };
        let Some(body) = total.and_then(|total| input.get(PREFIX_LEN..total)) else { return Ok((0, None)) };
        let used = body.len().wrapping_add(PREFIX_LEN);
        match self.on_frame(body) {
            Ok(event) => Ok((used, event)),
            Err(error) => Err(self.fail(error)),
        }
    }

    #[inline]
    fn on_frame<'a>(&mut self, body: &'a [u8]) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let frame = decode(body)?;
        match (self.state, frame.header.frame_type) {
            (_, FrameType::AGENT_DISCONNECT) => self.on_disconnect(&frame),
            // Between our DISCONNECT and the agent's everything else is late.
            (State::Closing, late) => Ok(Some(ClientEvent::Ignored(late))),
            (State::Running, FrameType::ACK) => self.on_ack(&frame),
            (State::AwaitHello, FrameType::AGENT_HELLO) => self.on_hello(&frame),
            (State::Running, FrameType::UNSET) => Err(ProtocolError::NotFragmentable(FrameType::UNSET)),
            (
                State::AwaitHello,
                unexpected, // whatever its type
            )
            | (
                _,
                unexpected @ (FrameType::AGENT_HELLO
                | FrameType::HAPROXY_HELLO
                | FrameType::HAPROXY_DISCONNECT
                | FrameType::NOTIFY),
            ) => Err(ProtocolError::UnexpectedFrame(unexpected)),
            (_, unknown) => {
                self.stats.ignored += 1;
                Ok(Some(ClientEvent::Ignored(unknown)))
            }
        }
    }

    fn on_hello<'a>(&mut self, frame: &Frame<'a>) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        control_frame(frame)?;
        let hello = AgentHello::parse(frame)?;
        if Version::parse(hello.version) != Some(Version::V2_0) {
            return Err(ProtocolError::UnsupportedVersion);
        }
        if hello.max_frame_size < MIN_MAX_FRAME_SIZE || hello.max_frame_size > self.config.max_frame_size {
            return Err(ProtocolError::BadMaxFrameSize);
        }
        self.negotiated.max_frame_size = hello.max_frame_size;
        // Fragments go one way only, so the agent's word is enough.
        self.negotiated.capabilities =
            hello.capabilities.intersection(self.config.capabilities.union(Capabilities::FRAGMENTATION));
        self.agreed = true;
        self.state = if self.config.healthcheck { State::Closed } else { State::Running };
        Ok(Some(ClientEvent::Hello(self.negotiated)))
    }

    fn on_disconnect<'a>(&mut self, frame: &Frame<'a>) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        control_frame(frame)?;
        let disconnect = Disconnect::parse(frame)?;
        self.handle_eof();
        Ok(Some(ClientEvent::Disconnect(disconnect)))
    }

    #[inline]
    fn on_ack<'a>(&mut self, frame: &Frame<'a>) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let Header { flags, stream_id, frame_id, .. } = frame.header;
        if !flags.fin() {
            return Err(ProtocolError::NotFragmentable(FrameType::ACK));
        }
        if !self.open.remove_ids((stream_id, frame_id)) {
            if !self.is_pipelined() {
                return Err(ProtocolError::UnknownAck);
            }
            self.stats.ignored += 1;
            return Ok(Some(ClientEvent::Ignored(FrameType::ACK)));
        }
        if flags.abort() && self.fragmenting.is_some_and(|f| f.ids == (stream_id, frame_id)) {
            self.fragmenting = None;
        }
        self.stats.acks += 1;
        Ok(Some(ClientEvent::Ack { stream_id, frame_id, aborted: flags.abort(), actions: frame.actions() }))
    }

    /// Begins a NOTIFY in `out`, bounded by the negotiated size; it counts as in flight from now on. Finish it and send
    /// it, or take it back by [`forget`](Self::forget).
    ///
    /// # Errors
    /// See [`NotifyError`].
    #[inline]
    pub fn notify<'b>(
        &mut self,
        out: &'b mut [u8],
        stream_id: StreamId,
        frame_id: FrameId,
    ) -> Result<NotifyEncoder<'b>, NotifyError> {
        self.check_free((stream_id, frame_id))?;
        let notify = NotifyEncoder::new(out, self.negotiated.max_frame_size, stream_id, frame_id)
            .map_err(|_| NotifyError::NoSpace)?;
        self.begin((stream_id, frame_id));
        Ok(notify)
    }

    /// Begins a fragmented NOTIFY; then [`notify_fragment`](Self::notify_fragment) gives its frames.
    ///
    /// # Errors
    /// See [`NotifyError`].
    pub fn start_fragmented(&mut self, stream_id: StreamId, frame_id: FrameId) -> Result<(), NotifyError> {
        self.check_free((stream_id, frame_id))?;
        if !self.negotiated.capabilities.contains(Capabilities::FRAGMENTATION) {
            return Err(NotifyError::NoFragmentation);
        }
        self.begin((stream_id, frame_id));
        self.fragmenting = Some(Fragmenting { ids: (stream_id, frame_id), sent: 0 });
        Ok(())
    }

    /// Writes the next frame of the fragmented NOTIFY: its length, or `None` when all of `payload` is sent, or the
    /// agent gave it up. `payload` is the same at every call, made by [`NotifyEncoder::payload`]; each fragment takes as much
    /// of it as `out` and the negotiated size allow, at most `max_fragment` bytes (1 or more).
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`] if `out` has no room for a header and one byte; nothing is lost.
    pub fn notify_fragment(
        &mut self,
        out: &mut [u8],
        payload: &[u8],
        max_fragment: usize,
    ) -> Result<Option<usize>, EncodeError> {
        let Some(Fragmenting { ids: (stream_id, frame_id), sent }) = self.fragmenting else { return Ok(None) };
        let rest = payload.get(sent..).unwrap_or_default();
        let frame_type = if sent == 0 { FrameType::NOTIFY } else { FrameType::UNSET };
        let mut header = Header { flags: Flags(0), ..Header::new(frame_type, stream_id, frame_id) };
        let overhead = header.encoded_len();
        let limit = out.len().saturating_sub(PREFIX_LEN).min(self.negotiated.max_frame_size as usize);
        let len = limit.saturating_sub(overhead).min(max_fragment.max(1)).min(rest.len());
        if len == 0 && !rest.is_empty() {
            return Err(EncodeError::NoSpace);
        }
        let last = len == rest.len();
        if last {
            header.flags = Flags::FIN;
        }
        let mut frame = FrameEncoder::new(out, self.negotiated.max_frame_size, header)?;
        frame.payload().bytes(rest.get(..len).unwrap_or_default())?;
        self.fragmenting =
            (!last).then_some(Fragmenting { ids: (stream_id, frame_id), sent: sent.saturating_add(len) });
        Ok(Some(frame.finish()))
    }

    /// Gives up the fragmented NOTIFY: writes the frame that tells the agent, `None` if none is being sent.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]; it stays as it was.
    pub fn abort_fragmented(&mut self, out: &mut [u8]) -> Result<Option<usize>, EncodeError> {
        let Some(Fragmenting { ids: (stream_id, frame_id), sent }) = self.fragmenting else { return Ok(None) };
        let len = if sent == 0 {
            0
        } else {
            let flags = Flags::FIN | Flags::ABORT;
            let header = Header { flags, ..Header::new(FrameType::UNSET, stream_id, frame_id) };
            FrameEncoder::new(out, self.negotiated.max_frame_size, header)?.finish()
        };
        self.fragmenting = None;
        self.open.remove_ids((stream_id, frame_id));
        Ok((len > 0).then_some(len))
    }

    /// Gives up waiting for an ACK (a processing timeout): a late one is then an unknown one. Was it in flight?
    pub fn forget(&mut self, stream_id: StreamId, frame_id: FrameId) -> bool {
        self.open.remove_ids((stream_id, frame_id))
    }

    /// Writes the next frame of the client itself to the start of `out`: its length, or `None` if there is none.
    /// `out` needs [`MAX_TRANSMIT_LEN`](crate::MAX_TRANSMIT_LEN) bytes.
    ///
    /// # Errors
    /// [`EncodeError::NoSpace`]: `out` is too short; the frame stays ready.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Result<Option<usize>, EncodeError> {
        let max = self.negotiated.max_frame_size.max(MIN_MAX_FRAME_SIZE);
        let len = match self.transmit {
            Transmit::Nothing => return Ok(None),
            Transmit::Hello => self.encode_hello(out, max)?,
            Transmit::Disconnect { status, last } => {
                let mut disconnect = DisconnectEncoder::haproxy(out, max, status)?;
                disconnect.message(status.reason().as_bytes())?;
                if last {
                    self.state = State::Closed;
                }
                disconnect.finish()
            }
        };
        self.transmit = Transmit::Nothing;
        Ok(Some(len))
    }

    /// The keys in HAProxy's order.
    fn encode_hello(&self, out: &mut [u8], max: u32) -> Result<usize, EncodeError> {
        let config = &self.config;
        let mut hello = HelloEncoder::haproxy(out, max)?;
        hello.supported_versions(Version::V2_0)?;
        hello.max_frame_size(config.max_frame_size)?;
        if config.healthcheck {
            hello.capabilities(Capabilities::NONE)?;
            hello.healthcheck(true)?;
        } else {
            hello.capabilities(config.capabilities)?;
            if let Some(id) = &config.engine_id {
                hello.engine_id(id.as_bytes())?;
            }
        }
        Ok(hello.finish())
    }

    /// Ends the connection by a DISCONNECT; NOTIFYs in flight are void. The agent's DISCONNECT may follow; how long to
    /// wait for it is the caller's choice, as it is for ACKs ([`forget`](Self::forget)).
    pub fn close(&mut self, status: Status) {
        if self.state != State::Closed && self.state != State::Closing {
            self.end(status, false);
        }
    }

    /// The transport ended: nothing more is sent. Returns how many NOTIFYs were in flight.
    pub fn handle_eof(&mut self) -> usize {
        self.state = State::Closed;
        self.transmit = Transmit::Nothing;
        self.fragmenting = None;
        let open = self.open.clear();
        self.stats.voided += open as u64;
        open
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called at the latest, in ticks; `None`: no timeout runs.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.state {
            State::AwaitHello => self.config.hello_timeout,
            _ => None,
        }
    }

    /// Tells the time, in ticks since the connection began.
    ///
    /// # Errors
    /// The agent's HELLO did not come in time: as in [`handle_input`](Self::handle_input), with status 2.
    pub fn handle_timeout(&mut self, now: u64) -> Result<(), ProtocolError> {
        match self.poll_timeout() {
            Some(at) if at <= now => Err(self.fail(ProtocolError::TimedOut(Timer::Hello))),
            _ => Ok(()),
        }
    }

    fn is_pipelined(&self) -> bool {
        let agreed = self.negotiated.capabilities;
        agreed.contains(Capabilities::PIPELINING) || agreed.contains(Capabilities::ASYNC)
    }

    #[inline]
    fn check_free(&self, ids: (StreamId, FrameId)) -> Result<(), NotifyError> {
        if self.state != State::Running {
            return Err(NotifyError::NotRunning);
        }
        if self.fragmenting.is_some() {
            return Err(NotifyError::Fragmenting);
        }
        if self.open.is_full() || (self.open.len() > 0 && !self.is_pipelined()) {
            return Err(NotifyError::TooManyInFlight);
        }
        if self.open.contains_ids(ids) {
            return Err(NotifyError::IdsInUse);
        }
        Ok(())
    }

    #[inline]
    fn begin(&mut self, ids: (StreamId, FrameId)) {
        if self.open.insert(ids).is_some() {
            self.stats.notifies += 1;
        }
    }

    fn end(&mut self, status: Status, last: bool) {
        self.state = State::Closing;
        self.transmit = Transmit::Disconnect { status, last };
        self.fragmenting = None;
        self.stats.voided += self.open.clear() as u64;
    }

    #[cold]
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        match (self.state, self.transmit) {
            // Our DISCONNECT is out; a second one would be one too many.
            (State::Closing, Transmit::Nothing) => self.state = State::Closed,
            _ => self.end(error.status(), true),
        }
        error
    }
}
