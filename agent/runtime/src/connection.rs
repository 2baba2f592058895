//! One connection: a task that reads, lets the handler answer, and writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use spop_core::{DecodeReason, Header, ProtocolError, Status, Timer, Want};
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::config::ticks;
use crate::drain::{Closing, LAST_READS};
use crate::foreign::Foreign;
use crate::member::Member;
use crate::outcome::Outcome;
use crate::session::{Inbound, Session, Turn};
use crate::shared::Shared;
use crate::stats::ServerStats;
use crate::time::Timestamp;
#[cfg(feature = "tls")]
use crate::tls::Handshake;
use crate::tls::TlsResult;

/// A place among the connections, given back at the end.
pub(crate) struct OpenConnection {
    shared: Arc<Shared>,
    id: u64,
}

impl OpenConnection {
    /// `None` if too many are open.
    pub(crate) fn register(shared: &Arc<Shared>) -> Option<Self> {
        let (stats, limit) = (&shared.stats, shared.config.max_connections as u64);
        stats.connections_open.fetch_update(Relaxed, Relaxed, |open| (open < limit).then_some(open + 1)).ok()?;
        let id = stats.connections.fetch_add(1, Relaxed);
        Some(Self { shared: shared.clone(), id })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.stats.connections_open.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection to its end. `OPEN` NOTIFYs can wait for their ACK; a handler that answers at once needs no more than
/// one, which saves more than half of the memory of an idle connection.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize>(
    stream: S,
    open: OpenConnection,
    draining: watch::Receiver<bool>,
) {
    let shared = open.shared.clone();
    let mut session = Session::<S, OPEN>::new(stream, shared.clone(), open.id);
    let result = session.run(draining).await;
    session.leave_to_others();
    session.tasks.abort_all();
    session.end();
    // It answers no more for others.
    session.engine = None;
    tracing::debug!(connection = open.id, ok = result.is_ok(), "connection ended");
    match result {
        Ok(end) => {
            let late = session.linger().await;
            if end == End::Ours && !session.broken {
                ServerStats::add(&shared.stats.late, late);
            }
        }
        Err(_) if session.gave_up => {
            // It is not waited for what else comes.
            session.leave_unhandled();
            if !session.broken {
                ServerStats::add(&shared.stats.late, session.unhandled.notifies());
            }
        }
        Err(error) if is_normal_end(&error) => {}
        Err(error) => {
            ServerStats::add(&shared.stats.io_errors, 1);
            if let Some(left_out) = shared.logs.io.pass() {
                tracing::info!(connection = open.id, %error, left_out, "connection lost");
            }
        }
    }
}

/// Makes the TLS handshake, then serves the connection.
#[cfg(feature = "tls")]
pub(crate) async fn serve_tls<const OPEN: usize>(
    stream: TcpStream,
    handshake: Option<Handshake>,
    open: OpenConnection,
    mut draining: watch::Receiver<bool>,
) {
    let Some(handshake) = handshake else { return };
    let stream = tokio::select! {
        stream = handshake.accept(stream) => stream,
        // Who has no connection yet asks another agent.
        _ = draining.wait_for(|&draining| draining) => None,
    };
    if let Some(stream) = stream {
        serve::<_, OPEN>(stream, open, draining).await;
    }
}

/// HAProxy ends connections by a reset whenever it likes.
fn is_normal_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

async fn ready(engine: Option<&Member>) {
    match engine {
        Some(engine) => engine.ready().await,
        None => std::future::pending().await,
    }
}

/// Who ended a connection.
#[derive(PartialEq, Eq)]
enum End {
    Ours,
    /// HAProxy, which waits for nothing more.
    Theirs,
}

/// What ends a wait.
enum Wake {
    Read(usize),
    Answer(Outcome),
    Timer,
    Drain,
    /// Another connection of the engine left something to be answered.
    Others,
}

impl<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize> Session<S, OPEN> {
    async fn run(&mut self, mut draining: watch::Receiver<bool>) -> io::Result<End> {
        let stop = draining.clone();
        // Made once: to wait anew each time means to enter and leave a list that all connections share.
        let drain = draining.wait_for(|&draining| draining);
        tokio::pin!(drain);
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed: Option<Instant> = None;
        let mut heard = self.started;
        let mut told = false;
        let mut closing: Option<Closing> = None;
        let mut ends = false;
        loop {
            let want = self.agent.want(self.inbound.input.unread());
            if want == Want::Close {
                return Ok(End::Ours);
            }
            let may_read = want.bytes() > 0 && !self.has_all_in_flight();
            // A timer that is early does no harm, so it is moved only when a deadline comes before it.
            let deadline = self.agent.poll_timeout().map(|at| self.started + Duration::from_millis(at));
            // Once it ends, the last answer is waited for, and no time.
            let end = closing.as_ref().filter(|_| !ends).map(Closing::at);
            let deadline = deadline.into_iter().chain(end).min();
            if let Some(at) = deadline.filter(|&at| armed.is_none_or(|armed| at < armed)) {
                timer.as_mut().reset(at.into());
                armed = Some(at);
            }
            let wake = tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => Wake::Answer(done.map_err(io::Error::other)?),
                n = self.inbound.input.read(&mut self.stream), if may_read => Wake::Read(n?),
                () = timer.as_mut(), if armed.is_some() => Wake::Timer,
                _ = drain.as_mut(), if closing.is_none() => Wake::Drain,
                () = ready(self.engine.as_ref()), if self.engine.is_some() => Wake::Others,
            };
            let received = Timestamp::now();
            self.busy_since = received.clock;
            self.tick(received.clock);
            match wake {
                Wake::Read(0) => return Ok(End::Theirs),
                Wake::Read(n) => {
                    ServerStats::add(&self.stats().bytes_in, n as u64);
                    heard = received.clock;
                    if let Some(closing) = &mut closing {
                        closing.heard(heard);
                    }
                }
                Wake::Answer(outcome) => {
                    self.on_outcome(outcome);
                    while let Some(Ok(outcome)) = self.tasks.try_join_next() {
                        self.on_outcome(outcome);
                    }
                }
                Wake::Timer => armed = None,
                Wake::Others => self.answer_for_others(),
                Wake::Drain => told = true,
            }
            // Where there is always something to read, no wait ends by the drain.
            if closing.is_none() && (told || stop.has_changed().unwrap_or(true)) {
                closing = Some(Closing::begin(received.clock, heard, self.shared.config.grace));
            }
            self.process_all(received).await?;
            self.check_memory();
            if self.is_over(closing.as_ref(), received.clock) {
                for _ in 0..LAST_READS {
                    if !self.has_all_in_flight() && self.read_what_is_there() {
                        self.process_all(received).await?;
                        self.check_memory();
                    }
                }
                // What was there may be the begin of more.
                if self.is_over(closing.as_ref(), received.clock) {
                    self.agent.close(Status::NORMAL);
                    ends = true;
                }
            }
            if self.agent.want(self.inbound.input.unread()) == Want::Close {
                // HAProxy waits on for what its other connections may bring, whoever ended this one.
                self.leave_to_others();
            }
            self.flush().await?;
            self.report();
        }
    }

    /// Has it been served for as long as it must be?
    fn is_over(&self, closing: Option<&Closing>, now: Instant) -> bool {
        closing.is_some_and(|closing| closing.is_over(now, self.is_last_answer()))
    }

    fn has_all_in_flight(&self) -> bool {
        self.tasks.len() >= self.shared.config.max_in_flight
    }

    /// Tells the time.
    fn tick(&mut self, now: Instant) {
        match self.agent.handle_timeout(ticks(now - self.started)) {
            Ok(()) => {}
            // Nothing is wrong with who had nothing to ask.
            Err(ProtocolError::TimedOut(Timer::Idle)) => {
                tracing::debug!(connection = self.connection.id, "idle, closed")
            }
            Err(error) => {
                self.broken = true;
                self.on_protocol_error(&error, self.inbound.input.unread());
            }
        }
    }

    /// Handles the input as far as the bounds allow.
    async fn process_all(&mut self, received: Timestamp) -> io::Result<()> {
        while self.process(received) {
            self.flush().await?;
            if self.turn.is_over() {
                self.turn = Turn::default();
                // Others go on, and those whose input has come meanwhile.
                tokio::task::yield_now().await;
            }
            self.busy_since = Instant::now();
        }
        Ok(())
    }

    /// Handles the whole frames of the input as far as the bounds allow; true if the output has to be sent before the
    /// rest, or others have to have their turn.
    fn process(&mut self, received: Timestamp) -> bool {
        let mut inbound = std::mem::take(&mut self.inbound);
        let is_to_go_on = self.handle(&mut inbound, received);
        self.inbound = inbound;
        is_to_go_on
    }

    fn handle(&mut self, Inbound { input, reassembly }: &mut Inbound, received: Timestamp) -> bool {
        loop {
            self.transmit();
            if self.has_much_to_send() || self.turn.is_over() {
                return true;
            }
            // What comes after the end stays in the input: it is to be counted.
            if self.has_all_in_flight() || self.agent.want(input.unread()) == Want::Close {
                return false;
            }
            // Until fragments come no memory is spent on them.
            if reassembly.is_empty() && Header::peek(input.unread()).is_some_and(|next| next.is_first_fragment()) {
                *reassembly = vec![0; self.shared.config.max_reassembly];
            }
            match self.agent.handle_input(input.unread(), reassembly) {
                Ok((0, _)) => return false,
                Ok((used, event)) => {
                    let mut is_reassembled = false;
                    if let Some(event) = event {
                        self.received.count(event.frame_type());
                        is_reassembled = event.ends_reassembly();
                        self.on_event(event, received);
                    }
                    input.consume(used);
                    self.turn.bytes += used;
                    if is_reassembled {
                        *reassembly = Vec::new();
                    }
                }
                Err(error) => {
                    self.broken = true;
                    self.on_protocol_error(&error, input.unread());
                }
            }
        }
    }

    fn on_protocol_error(&self, error: &ProtocolError, input: &[u8]) {
        ServerStats::add(&self.stats().protocol_errors, 1);
        if self.agent.negotiated().is_none() && Foreign::detect(input) == Some(Foreign::Tls) {
            self.stats().tls.count(TlsResult::Unexpected);
        }
        if let Some(left_out) = self.shared.logs.protocol.pass() {
            tracing::warn!(connection = self.connection.id, %error, status = error.status().0, left_out,
                "protocol error, connection closed{}", self.hint(error, input));
        }
    }

    /// For people who see an error whose cause is in HAProxy's configuration, or in another program's.
    fn hint(&self, error: &ProtocolError, input: &[u8]) -> String {
        if self.agent.negotiated().is_none() {
            // Nothing was consumed yet: the input is what the peer began with.
            return Foreign::detect(input)
                .map_or_else(String::new, |foreign| format!(": this is {foreign}, not SPOP; {}", foreign.advice()));
        }
        match error {
            ProtocolError::Malformed(error) if error.reason != DecodeReason::FrameTooBig => {
                " (a message with more than 255 args? HAProxy sends a wrong count then)".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Ends the connection if there is no memory left for what it holds now.
    fn check_memory(&mut self) {
        let held = self.held();
        // One that ends already gives its memory back.
        let ends = self.agent.want(self.inbound.input.unread()) == Want::Close;
        if !ends && !self.shared.has_room(&mut self.buffered, held) {
            self.agent.close(Status::RESOURCES);
            self.leave_unhandled();
            self.inbound = Inbound::default();
            self.buffered.set(0);
        }
    }
}
