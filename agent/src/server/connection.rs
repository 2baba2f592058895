//! One connection: a task that reads, lets the handler answer, and writes.

use std::future::{pending, Future};
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use spop_core::{
    AckError, Agent, AgentEvent, AgentStats, Notify, ProtocolError, Status, Ticket, Want, MAX_HEADER_LEN,
    MAX_TRANSMIT_LEN,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::buffer::{Input, Output};
use super::handler::{Answer, AsyncHandler, Connection, Handler, HandlerError, Received, Request};
use super::stats::{ServerStats, Side};
use super::{ticks, AnyHandler, Shared, MAX_IN_FLIGHT};

/// A place among the connections, given back at the end.
pub(super) struct OpenConnection {
    shared: Arc<Shared>,
    id: u64,
}

impl OpenConnection {
    /// `None` if too many are open.
    pub(super) fn register(shared: &Arc<Shared>) -> Option<Self> {
        let (stats, limit) = (&shared.stats, shared.config.max_connections as u64);
        stats.connections_open.fetch_update(Relaxed, Relaxed, |open| (open < limit).then_some(open + 1)).ok()?;
        let id = stats.connections.fetch_add(1, Relaxed);
        Some(OpenConnection { shared: shared.clone(), id })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.stats.connections_open.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    open: OpenConnection,
    draining: watch::Receiver<bool>,
) {
    let shared = open.shared.clone();
    let mut session = Session::new(stream, shared.clone(), open.id);
    let result = session.run(draining).await;
    session.finish(&result);
    match result {
        Ok(()) => session.linger().await,
        Err(error) if is_normal_end(&error) => {}
        Err(error) => {
            ServerStats::add(&shared.stats.io_errors, 1);
            if let Some(left_out) = shared.logs.io.pass() {
                tracing::info!(connection = open.id, %error, left_out, "connection lost");
            }
        }
    }
}

/// HAProxy ends connections by a reset whenever it likes.
fn is_normal_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// The outcome of an asynchronous handler.
type Outcome = (Ticket, Result<Answer, Failure>);

/// Why a NOTIFY gets an empty ACK.
enum Failure {
    Error(HandlerError),
    Panic,
    Late,
}

struct Session<S> {
    stream: S,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    agent: Agent<MAX_IN_FLIGHT>,
    input: Input,
    output: Output,
    reassembly: Vec<u8>,
    tasks: JoinSet<Outcome>,
    started: Instant,
    /// What of the agent's counters the shared ones have already.
    reported: AgentStats,
}

/// What ends a wait.
enum Wake {
    Read(usize),
    Answer(Outcome),
    Timer,
    Drain,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, shared: Arc<Shared>, id: u64) -> Self {
        let agent = Agent::new(shared.config.agent());
        let negotiated = spop_core::Negotiated {
            max_frame_size: shared.config.max_frame_size,
            capabilities: spop_core::Capabilities::NONE,
            healthcheck: false,
        };
        Session {
            stream,
            connection: Arc::new(Connection { id, negotiated, engine_id: None }),
            agent,
            input: Input::new(),
            output: Output::new(),
            reassembly: Vec::new(),
            tasks: JoinSet::new(),
            started: Instant::now(),
            reported: AgentStats::default(),
            shared,
        }
    }

    async fn run(&mut self, mut draining: watch::Receiver<bool>) -> io::Result<()> {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed: Option<Instant> = None;
        let mut drained = false;
        loop {
            self.flush().await?;
            let want = self.agent.want(self.input.unread());
            if want == Want::Close {
                return Ok(());
            }
            let may_read = want.bytes() > 0 && self.tasks.len() < self.shared.config.max_in_flight;
            // A timer that is early does no harm, so it is moved only when a deadline comes before it.
            let deadline = self.agent.poll_timeout().map(|at| self.started + Duration::from_millis(at));
            if let Some(at) = deadline.filter(|&at| armed.is_none_or(|armed| at < armed)) {
                timer.as_mut().reset(at.into());
                armed = Some(at);
            }
            let wake = tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => Wake::Answer(done.map_err(io::Error::other)?),
                n = self.input.read(&mut self.stream, want.bytes()), if may_read => Wake::Read(n?),
                () = timer.as_mut(), if armed.is_some() => Wake::Timer,
                _ = draining.wait_for(|&d| d), if !drained => Wake::Drain,
            };
            let received = Received::now();
            match wake {
                Wake::Read(0) => return Ok(()),
                Wake::Read(n) => {
                    ServerStats::add(&self.shared.stats.bytes_in, n as u64);
                    if self.tick(received.clock) {
                        self.process(received);
                    }
                }
                Wake::Answer(outcome) => {
                    self.tick(received.clock);
                    self.on_outcome(outcome);
                    // The answer may have made room for a NOTIFY that waits in the input.
                    self.process(received);
                }
                Wake::Timer => {
                    armed = None;
                    self.tick(received.clock);
                }
                Wake::Drain => {
                    drained = true;
                    self.read_what_is_there();
                    self.process(received);
                    self.agent.close(Status::NORMAL);
                }
            }
            self.report();
        }
    }

    /// Takes what HAProxy sent before it can know that we stop.
    fn read_what_is_there(&mut self) {
        while self.agent.want(self.input.unread()).bytes() > 0 {
            let read = self.input.read(&mut self.stream, 1).now_or_never();
            let Some(Ok(n @ 1..)) = read else { return };
            ServerStats::add(&self.shared.stats.bytes_in, n as u64);
            self.process(Received::now());
        }
    }

    /// Tells the time; false if a timeout ended the connection.
    fn tick(&mut self, now: Instant) -> bool {
        match self.agent.handle_timeout(ticks(now - self.started)) {
            Ok(()) => true,
            Err(error) => {
                self.on_protocol_error(&error);
                false
            }
        }
    }

    /// Handles all whole frames of the input, as far as the bounds allow.
    fn process(&mut self, received: Received) {
        loop {
            self.transmit();
            if self.tasks.len() >= self.shared.config.max_in_flight {
                return;
            }
            if self.reassembly.is_empty() && starts_fragmented(self.input.unread()) {
                self.reassembly.resize(self.shared.config.max_reassembly, 0);
            }
            // Split borrows: the event holds on to the input and the reassembly memory.
            let Session { agent, input, output, reassembly, shared, tasks, connection, .. } = self;
            let used = match agent.handle_input(input.unread(), reassembly) {
                Ok((0, _)) => return,
                Ok((used, None)) => used,
                Ok((used, Some(AgentEvent::Notify(notify)))) => {
                    match notify.messages().validate() {
                        Err(error) => {
                            let error = ProtocolError::Malformed(error);
                            agent.close(error.status());
                            self.on_protocol_error(&error);
                            continue;
                        }
                        Ok(_) => match &shared.handler {
                            AnyHandler::Sync(handler) => {
                                answer(handler.as_ref(), shared, agent, connection, received, &notify, output);
                            }
                            AnyHandler::Async(handler) => {
                                start(handler.as_ref(), shared, connection, received, &notify, tasks);
                            }
                        },
                    }
                    used
                }
                Ok((used, Some(event))) => {
                    on_event(event, shared, connection);
                    used
                }
                Err(error) => {
                    self.on_protocol_error(&error);
                    continue;
                }
            };
            self.input.consume(used);
        }
    }

    /// The frames of the agent itself.
    fn transmit(&mut self) {
        while let Ok(Some(len)) = self.agent.poll_transmit(self.output.room(MAX_TRANSMIT_LEN)) {
            if self.output.is_disconnect(len) {
                self.shared.stats.disconnect(Side::Agent, self.output.disconnect_status(len));
            }
            self.output.commit(len);
        }
    }

    fn on_outcome(&mut self, (ticket, outcome): Outcome) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                on_failure(&self.shared, self.connection.id, &failure);
                Answer::new()
            }
        };
        let max = self.connection.negotiated.max_frame_size as usize;
        let room = self.output.room(max.saturating_add(MAX_HEADER_LEN));
        // A NOTIFY that is not open any more was superseded: counted by the agent.
        let Ok(mut ack) = self.agent.ack(room, ticket) else { return };
        for action in answer.actions().flatten() {
            let added = match action {
                spop_core::Action::SetVar { scope, name, value } => ack.set_var(scope, name, &value),
                spop_core::Action::UnsetVar { scope, name } => ack.unset_var(scope, name),
            };
            if let Err(error) = added {
                on_failure(&self.shared, self.connection.id, &Failure::Error(error.into()));
                break;
            }
        }
        let len = ack.finish();
        self.output.commit(len);
    }

    fn on_protocol_error(&self, error: &ProtocolError) {
        ServerStats::add(&self.shared.stats.protocol_errors, 1);
        if let Some(left_out) = self.shared.logs.protocol.pass() {
            tracing::warn!(connection = self.connection.id, %error, status = error.status().0, left_out,
                "protocol error, connection closed{}", hint(error));
        }
    }

    /// Adds what the agent counted since the last time to the shared counters.
    fn report(&mut self) {
        let now = *self.agent.stats();
        let then = std::mem::replace(&mut self.reported, now);
        let stats = &self.shared.stats;
        ServerStats::add(&stats.notifies, now.notifies - then.notifies);
        ServerStats::add(&stats.acks, now.acks - then.acks);
        ServerStats::add(&stats.superseded, now.superseded - then.superseded);
        ServerStats::add(&stats.cancelled, now.cancelled - then.cancelled);
        ServerStats::add(&stats.aborted, now.aborted - then.aborted);
        ServerStats::add(&stats.too_big, now.too_big - then.too_big);
        ServerStats::add(&stats.fragments, now.fragments - then.fragments);
        ServerStats::add(&stats.ignored, now.ignored - then.ignored);
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.transmit();
        let bytes = self.output.pending();
        if bytes.is_empty() {
            return Ok(());
        }
        ServerStats::add(&self.shared.stats.bytes_out, bytes.len() as u64);
        let written = within(self.shared.config.write_timeout, self.stream.write_all(bytes)).await;
        if written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            ServerStats::add(&self.shared.stats.write_timeouts, 1);
        }
        self.output.clear();
        written
    }

    /// What is open when the connection ends will never be answered.
    fn finish(&mut self, result: &io::Result<()>) {
        self.report();
        let unanswered = self.agent.handle_eof();
        ServerStats::add(&self.shared.stats.unanswered, unanswered as u64);
        tracing::debug!(connection = self.connection.id, unanswered, ok = result.is_ok(), "connection ended");
    }

    /// Closes without a reset that could overtake the last frames: reads what still comes until HAProxy closes.
    async fn linger(&mut self) {
        let discard = async {
            self.stream.shutdown().await?;
            let mut scrap = [0; 1024];
            while self.stream.read(&mut scrap).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        // Whatever happens here, the connection is over.
        let _ended = tokio::time::timeout(LINGER, discard).await;
    }
}

/// How long HAProxy may take to close after our last frame.
const LINGER: Duration = Duration::from_secs(1);

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Is the next frame the first of a fragmented NOTIFY? Until one comes no memory is spent on reassembly.
fn starts_fragmented(input: &[u8]) -> bool {
    let notify = spop_core::FrameType::NOTIFY.0;
    matches!(input, [_, _, _, _, kind, _, _, _, flags, ..] if *kind == notify && flags & 1 == 0)
}

/// A hint for people who see an error whose cause is in HAProxy's configuration.
fn hint(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::Malformed(e) if e.is_truncated() => {
            " (HAProxy sends a wrong count for a message with more than 255 args)"
        }
        _ => "",
    }
}
