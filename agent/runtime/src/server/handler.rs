//! What an agent does with a NOTIFY.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::time::Timestamp;
use spop_core::{AckEncoder, Messages, Negotiated, Scope, Value, Writer};

/// Why a handler could not answer; the text goes to the log.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// The connection of a NOTIFY.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Counts the connections of this server.
    pub id: u64,
    /// What was agreed on with HAProxy.
    pub negotiated: Negotiated,
    /// The engine-id of HAProxy's HELLO: an opaque string, the same on all connections of an engine.
    pub engine_id: Option<Arc<[u8]>>,
}

/// A handler that answers at once, on the connection's own task, without allocation in the runtime.
///
/// It must not block: all connections of a worker thread wait for it.
pub trait Handler: Send + Sync + 'static {
    /// Reads the messages (already validated to their end) and adds actions to the ACK. Actions that do not fit the
    /// negotiated size are refused by the encoder; the ACK goes out with what is in it.
    ///
    /// # Errors
    /// The NOTIFY gets an empty ACK; the error is logged at a limited rate and counted. So with a panic.
    fn notify(
        &self,
        connection: &Connection,
        received: Timestamp,
        messages: Messages<'_>,
        ack: &mut AckEncoder<'_>,
    ) -> Result<(), HandlerError>;
}

impl<F> Handler for F
where
    F: Fn(Messages<'_>, &mut AckEncoder<'_>) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn notify(
        &self,
        _: &Connection,
        _: Timestamp,
        messages: Messages<'_>,
        ack: &mut AckEncoder<'_>,
    ) -> Result<(), HandlerError> {
        self(messages, ack)
    }
}

/// A NOTIFY that an [`AsyncHandler`] owns.
#[derive(Clone, Debug)]
pub struct Request {
    /// The connection.
    pub connection: Arc<Connection>,
    /// When it was read.
    pub received: Timestamp,
    payload: Vec<u8>,
}

impl Request {
    pub(super) fn new(connection: Arc<Connection>, received: Timestamp, payload: &[u8]) -> Self {
        Request { connection, received, payload: payload.to_vec() }
    }

    /// The messages, already validated to their end.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(&self.payload)
    }

    pub(super) fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

/// The actions with which an [`AsyncHandler`] answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    actions: Vec<u8>,
}

impl Answer {
    /// No action.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a set-var. What goes beyond the negotiated size is left out of the ACK, and that is logged.
    pub fn set_var(&mut self, scope: Scope, name: impl AsRef<[u8]>, value: &Value<'_>) -> &mut Self {
        let name = name.as_ref();
        self.append(spop_core::encoded_len::set_var(name, value), |w| w.set_var(scope, name, value))
    }

    /// Adds an unset-var.
    pub fn unset_var(&mut self, scope: Scope, name: impl AsRef<[u8]>) -> &mut Self {
        let name = name.as_ref();
        self.append(spop_core::encoded_len::unset_var(name), |w| w.unset_var(scope, name))
    }

    /// `len` is exact, so the write fits.
    fn append(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), spop_core::EncodeError>,
    ) -> &mut Self {
        let start = self.actions.len();
        self.actions.resize(start + len, 0);
        if write(&mut Writer::new(&mut self.actions[start..])).is_err() {
            self.actions.truncate(start);
        }
        self
    }

    pub(super) fn actions(&self) -> spop_core::Actions<'_> {
        spop_core::Actions::new(&self.actions)
    }
}

/// The future of an [`AsyncHandler`].
pub type AnswerFuture = Pin<Box<dyn Future<Output = Result<Answer, HandlerError>> + Send>>;

/// A handler that may wait. Each NOTIFY runs as a task of its own, bounded in number by
/// [`max_in_flight`](super::ServerConfig::max_in_flight) for each connection and in time by
/// [`handler_timeout`](super::ServerConfig::handler_timeout); ACKs go out in the order in which the answers come. When
/// the connection ends, its tasks are cancelled.
pub trait AsyncHandler: Send + Sync + 'static {
    /// Answers a NOTIFY.
    fn notify(&self, request: Request) -> AnswerFuture;
}

impl<F, Fut> AsyncHandler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
{
    fn notify(&self, request: Request) -> AnswerFuture {
        Box::pin(self(request))
    }
}
