//! What happens to an event of the state machine: the handler is called, its ACK goes into the output.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use spop_core::{AckEncoder, Action, AgentEvent, Capabilities, PREFIX_LEN, Status};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::AtWork;
use crate::handler::{Answer, AsyncHandler, Handler};
use crate::member::Member;
use crate::notify::{Ack, Connection, Notify, Request};
use crate::outcome::{Failure, Outcome, run};
use crate::ratelimit::excerpt;
use crate::session::{Asked, Session};
use crate::shared::{AnyHandler, Shared};
use crate::stats::{ServerStats, Side};
use crate::time::Timestamp;

impl<S, const OPEN: usize> Session<S, OPEN> {
    pub(crate) fn on_event(&mut self, event: AgentEvent<'_>, received: Timestamp) {
        let (shared, id) = (&self.shared, self.connection.id);
        match event {
            AgentEvent::Notify(notify) => match &*shared.clone().handler {
                AnyHandler::Sync(handler) => self.answer(handler.as_ref(), &notify, received),
                AnyHandler::Async(handler) => self.start(handler.clone(), &notify, received),
            },
            AgentEvent::Hello { negotiated, engine_id } => {
                let counter = if negotiated.healthcheck { &shared.stats.healthchecks } else { &shared.stats.hellos };
                ServerStats::add(counter, 1);
                tracing::debug!(connection = id, ?negotiated, "HELLO");
                let engine_id = engine_id.map(Arc::from);
                let joins = negotiated.capabilities.contains(Capabilities::ASYNC) && !negotiated.healthcheck;
                self.engine = engine_id.as_ref().filter(|_| joins).map(|id| Member::join(&self.shared, id));
                self.connection = Arc::new(Connection { id, negotiated, engine_id });
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
                self.supersede((stream_id, frame_id));
                let shared = &self.shared;
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

    fn answer(&mut self, handler: &dyn Handler, notify: &spop_core::Notify<'_>, received: Timestamp) {
        let connection = &*self.connection;
        let Ok(ack) = self.agent.ack(self.output.room(room_for_ack(connection)), notify.ticket) else { return };
        let (notify, mut ack) = (Notify::new(connection, received, notify), Ack::new(ack));
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
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.busy_since, now);
        self.turn.handler += took;
        self.durations.observe(took);
        if took > self.shared.config.handler_timeout {
            Failure::Late.report(&self.shared, connection.id);
        }
    }

    fn start(&mut self, handler: Arc<dyn AsyncHandler>, notify: &spop_core::Notify<'_>, received: Timestamp) {
        let request = Request::new(self.connection.clone(), received, notify);
        let limit = self.shared.config.handler_timeout;
        self.request_bytes += notify.payload().len();
        let (ticket, ids) = (notify.ticket, (notify.stream_id, notify.frame_id));
        self.supersede(ids);
        let task = self.tasks.spawn(run(handler, request, ticket, limit));
        if self.engine.is_some() {
            self.asked.push(Asked { ticket, at_work: AtWork { ids, task }, superseded: false });
        }
    }

    pub(crate) fn on_outcome(&mut self, Outcome { ticket, result, took, request_bytes }: Outcome) {
        let id = self.connection.id;
        self.request_bytes -= request_bytes;
        self.asked.retain(|asked| asked.ticket != ticket);
        self.durations.observe(took);
        let answer = result.unwrap_or_else(|failure| {
            failure.report(&self.shared, id);
            Answer::new()
        });
        let room = self.output.room(room_for_ack(&self.connection));
        // A NOTIFY that is not open any more was superseded: counted by the agent.
        let Ok(ack) = self.agent.ack(room, ticket) else { return };
        let len = write(ack, &answer, &self.shared, id);
        self.output.commit(len);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, const OPEN: usize> Session<S, OPEN> {
    /// Answers NOTIFYs whose connections are gone, as far as there is room.
    pub(crate) fn answer_for_others(&mut self) {
        let max_frame_size = self.connection.negotiated.max_frame_size;
        while !self.has_much_to_send() {
            let Some(((stream_id, frame_id), answer)) = self.engine.as_ref().and_then(Member::take) else { return };
            let room = self.output.room(room_for_ack(&self.connection));
            let Ok(ack) = AckEncoder::new(room, max_frame_size, stream_id, frame_id) else {
                ServerStats::add(&self.stats().unanswered, 1);
                continue;
            };
            let len = write(ack, &answer, &self.shared, self.connection.id);
            self.output.commit(len);
            for counter in [&self.stats().acks, &self.stats().sent_ack, &self.stats().answered_elsewhere] {
                ServerStats::add(counter, 1);
            }
        }
    }
}

/// Writes the actions of an answer; the length of its ACK.
fn write(mut ack: AckEncoder<'_>, answer: &Answer, shared: &Shared, connection: u64) -> usize {
    for action in answer.actions().flatten() {
        let added = match action {
            Action::SetVar { scope, name, value } => ack.set_var(scope, name, value),
            Action::UnsetVar { scope, name } => ack.unset_var(scope, name),
        };
        if let Err(error) = added {
            Failure::Error(error.into()).report(shared, connection);
            break;
        }
    }
    ack.finish()
}

/// Room for the largest ACK that was agreed on.
fn room_for_ack(connection: &Connection) -> usize {
    (connection.negotiated.max_frame_size as usize).saturating_add(PREFIX_LEN)
}
