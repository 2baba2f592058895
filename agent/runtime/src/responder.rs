//! What happens to an event of the state machine: the handler is called, its ACK goes into the output.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use spop_core::{Action, Agent, AgentEvent, PREFIX_LEN, Status, Ticket};
use tokio::task::JoinSet;

use crate::buffer::Output;
use crate::handler::{Answer, AsyncHandler, Error, Handler};
use crate::notify::{Ack, Connection, Notify, Request};
use crate::ratelimit::excerpt;
use crate::shared::{AnyHandler, Shared};
use crate::stats::{HandlerDurations, ServerStats, Side};
use crate::time::Timestamp;

/// What an asynchronous handler made of a NOTIFY.
pub(crate) struct Outcome {
    ticket: Ticket,
    result: Result<Answer, Failure>,
    took: Duration,
    request_bytes: usize,
}

/// Why a NOTIFY gets an empty ACK.
pub(crate) enum Failure {
    Error(Error),
    Panic,
    Late,
}

/// The part of a connection that answers.
pub(crate) struct Responder {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) output: Output,
    /// The asynchronous handlers at work; they end with the connection.
    pub(crate) tasks: JoinSet<Outcome>,
    /// The payloads that they hold.
    pub(crate) request_bytes: usize,
    /// How long the handler worked since this was taken.
    pub(crate) worked: Duration,
    /// What the shared histogram does not have yet.
    pub(crate) durations: HandlerDurations,
}

impl Responder {
    pub(crate) fn on_event<const OPEN: usize>(
        &mut self,
        agent: &mut Agent<OPEN>,
        event: AgentEvent<'_>,
        received: Timestamp,
    ) {
        let (shared, id) = (&self.shared, self.connection.id);
        match event {
            AgentEvent::Notify(notify) => match &shared.clone().handler {
                AnyHandler::Sync(handler) => self.answer(agent, handler.as_ref(), &notify, received),
                AnyHandler::Async(handler) => self.start(handler.clone(), &notify, received),
            },
            AgentEvent::Hello { negotiated, engine_id } => {
                let counter = if negotiated.healthcheck { &shared.stats.healthchecks } else { &shared.stats.hellos };
                ServerStats::add(counter, 1);
                tracing::debug!(connection = id, ?negotiated, "HELLO");
                self.connection = Arc::new(Connection { id, negotiated, engine_id: engine_id.map(Arc::from) });
            }
            AgentEvent::Disconnect(disconnect) => {
                let status = disconnect.status.unwrap_or(Status::NORMAL);
                shared.stats.disconnect(Side::Haproxy, status);
                if status != Status::NORMAL && status != Status::TIMEOUT {
                    if let Some(left_out) = shared.logs.disconnect.pass() {
                        let reason = excerpt(disconnect.message);
                        tracing::warn!(connection = id, status = status.0, ?reason, left_out, "HAProxy disconnected");
                    }
                }
            }
            AgentEvent::TooBig { stream_id, frame_id } => {
                if let Some(left_out) = shared.logs.too_big.pass() {
                    tracing::warn!(
                        connection = id,
                        stream_id = stream_id.0,
                        frame_id = frame_id.0,
                        limit = shared.config.max_reassembly,
                        left_out,
                        "a fragmented NOTIFY is too big; raise --max-reassembly"
                    );
                }
            }
            _ => {}
        }
    }

    fn answer<const OPEN: usize>(
        &mut self,
        agent: &mut Agent<OPEN>,
        handler: &dyn Handler,
        notify: &spop_core::Notify<'_>,
        received: Timestamp,
    ) {
        let connection = &*self.connection;
        let Ok(ack) = agent.ack(self.output.room(room_for_ack(connection)), notify.ticket) else { return };
        let (notify, mut ack) = (Notify::new(connection, received, notify), Ack::new(ack));
        let start = Instant::now();
        let call = || handler.notify(&notify, &mut ack);
        let failure = match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::Error(error)),
            Err(_) => Some(Failure::Panic),
        };
        if let Some(failure) = failure {
            ack.encoder().clear();
            failure.report(&self.shared, connection.id);
        }
        let len = ack.into_encoder().finish();
        self.output.commit(len);
        let took = start.elapsed();
        self.worked += took;
        self.durations.observe(took);
        if took > self.shared.config.handler_timeout {
            Failure::Late.report(&self.shared, connection.id);
        }
    }

    fn start(&mut self, handler: Arc<dyn AsyncHandler>, notify: &spop_core::Notify<'_>, received: Timestamp) {
        let request = Request::new(self.connection.clone(), received, notify);
        let limit = self.shared.config.handler_timeout;
        self.request_bytes += notify.payload().len();
        self.tasks.spawn(run(handler, request, notify.ticket, limit));
    }

    pub(crate) fn on_outcome<const OPEN: usize>(
        &mut self,
        agent: &mut Agent<OPEN>,
        Outcome { ticket, result, took, request_bytes }: Outcome,
    ) {
        let id = self.connection.id;
        self.request_bytes -= request_bytes;
        self.durations.observe(took);
        let answer = result.unwrap_or_else(|failure| {
            failure.report(&self.shared, id);
            Answer::new()
        });
        let room = self.output.room(room_for_ack(&self.connection));
        // A NOTIFY that is not open any more was superseded: counted by the agent.
        let Ok(mut ack) = agent.ack(room, ticket) else { return };
        for action in answer.actions().flatten() {
            let added = match action {
                Action::SetVar { scope, name, value } => ack.set_var(scope, name, value),
                Action::UnsetVar { scope, name } => ack.unset_var(scope, name),
            };
            if let Err(error) = added {
                Failure::Error(error.into()).report(&self.shared, id);
                break;
            }
        }
        let len = ack.finish();
        self.output.commit(len);
    }
}

/// Room for the largest ACK that was agreed on.
fn room_for_ack(connection: &Connection) -> usize {
    (connection.negotiated.max_frame_size as usize).saturating_add(PREFIX_LEN)
}

async fn run(handler: Arc<dyn AsyncHandler>, request: Request, ticket: Ticket, limit: Duration) -> Outcome {
    let (start, request_bytes) = (Instant::now(), request.payload().len());
    let call = AssertUnwindSafe(async move { handler.notify(request).await }).catch_unwind();
    let result = match tokio::time::timeout(limit, call).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(Failure::Error(error)),
        Ok(Err(_)) => Err(Failure::Panic),
        Err(_) => Err(Failure::Late),
    };
    Outcome { ticket, result, took: start.elapsed(), request_bytes }
}

impl Failure {
    fn report(&self, shared: &Shared, connection: u64) {
        let (counter, reason) = match self {
            Failure::Error(error) => (&shared.stats.handler_errors, error.to_string()),
            Failure::Panic => (&shared.stats.handler_panics, "it panicked".to_owned()),
            Failure::Late => (&shared.stats.handler_late, "it took too long".to_owned()),
        };
        ServerStats::add(counter, 1);
        if let Some(left_out) = shared.logs.handler.pass() {
            tracing::error!(connection, reason, left_out, "the handler failed");
        }
    }
}
