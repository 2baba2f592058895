//! What a handler reads, a NOTIFY, and where it writes, the ACK.

use std::sync::Arc;

use spop_core::valid::Messages;
use spop_core::{AckEncoder, EncodeError, FrameId, Negotiated, Scope, StreamId, Value};

use crate::time::Timestamp;

/// The connection of a NOTIFY.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Counts the connections of this server.
    pub id: u64,
    /// What was agreed on with HAProxy.
    pub negotiated: Negotiated,
    /// The engine-id of HAProxy's HELLO: an opaque string, the same on all connections of an engine.
    pub engine_id: Option<Arc<[u8]>>,
}

/// A NOTIFY that a [`Handler`](crate::Handler) answers. It borrows what was received.
#[derive(Clone, Debug)]
pub struct Notify<'a> {
    connection: &'a Connection,
    received: Timestamp,
    stream_id: StreamId,
    frame_id: FrameId,
    messages: Messages<'a>,
    payload: &'a [u8],
}

impl<'a> Notify<'a> {
    pub(crate) fn new(connection: &'a Connection, received: Timestamp, notify: &spop_core::Notify<'a>) -> Self {
        let (stream_id, frame_id) = (notify.stream_id, notify.frame_id);
        let (messages, payload) = (notify.messages(), notify.payload());
        Self { connection, received, stream_id, frame_id, messages, payload }
    }

    /// The messages.
    #[inline]
    pub fn messages(&self) -> Messages<'a> {
        self.messages.clone()
    }

    /// The connection it came on.
    pub const fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// When it was read.
    pub const fn received(&self) -> Timestamp {
        self.received
    }

    /// With the frame id, what the ACK names. It does not bring the events of a request together: since HAProxy 3.1 it is a
    /// number of the connection, another one for each NOTIFY. An argument such as `id=unique-id` does.
    pub const fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// Up to HAProxy 3.0 it counts the NOTIFYs of a stream, since 3.1 it is always 1.
    pub const fn frame_id(&self) -> FrameId {
        self.frame_id
    }

    /// The bytes of the messages, to be kept, and read again by [`Messages::kept`].
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// The ACK with which a [`Handler`](crate::Handler) answers.
#[derive(Debug)]
pub struct Ack<'b>(AckEncoder<'b>);

impl<'b> Ack<'b> {
    pub(crate) const fn new(encoder: AckEncoder<'b>) -> Self {
        Self(encoder)
    }

    pub(crate) fn into_encoder(self) -> AckEncoder<'b> {
        self.0
    }

    /// Sets a variable in HAProxy. Its name there has the prefix of the SPOE's configuration.
    ///
    /// # Errors
    /// It does not fit the frame size agreed on; what was added before goes out if the handler goes on.
    #[inline]
    pub fn set_var<'v>(
        &mut self,
        scope: Scope,
        name: impl AsRef<[u8]>,
        value: impl Into<Value<'v>>,
    ) -> Result<(), EncodeError> {
        self.0.set_var(scope, name, value)
    }

    /// Unsets a variable in HAProxy.
    ///
    /// # Errors
    /// As [`set_var`](Self::set_var).
    #[inline]
    pub fn unset_var(&mut self, scope: Scope, name: impl AsRef<[u8]>) -> Result<(), EncodeError> {
        self.0.unset_var(scope, name)
    }

    /// The encoder of [`spop_core`].
    pub const fn encoder(&mut self) -> &mut AckEncoder<'b> {
        &mut self.0
    }
}

/// A NOTIFY that an [`AsyncHandler`](crate::AsyncHandler) owns.
#[derive(Clone, Debug)]
pub struct Request {
    connection: Arc<Connection>,
    received: Timestamp,
    stream_id: StreamId,
    frame_id: FrameId,
    payload: Vec<u8>,
    /// How many messages it has.
    messages: usize,
}

impl Request {
    pub(crate) fn new(connection: Arc<Connection>, received: Timestamp, notify: &spop_core::Notify<'_>) -> Self {
        let (stream_id, frame_id) = (notify.stream_id, notify.frame_id);
        let (messages, payload) = (notify.messages().len(), notify.payload().to_vec());
        Self { connection, received, stream_id, frame_id, payload, messages }
    }

    /// The messages.
    pub fn messages(&self) -> Messages<'_> {
        Messages::kept(&self.payload, self.messages)
    }

    /// The connection it came on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// When it was read; if it waited for a place among [`max_in_flight`](crate::ServerConfig::max_in_flight), when it
    /// got that.
    pub const fn received(&self) -> Timestamp {
        self.received
    }

    /// With the frame id, what the ACK names. It does not bring the events of a request together: since HAProxy 3.1 it is a
    /// number of the connection, another one for each NOTIFY. An argument such as `id=unique-id` does.
    pub const fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// Up to HAProxy 3.0 it counts the NOTIFYs of a stream, since 3.1 it is always 1.
    pub const fn frame_id(&self) -> FrameId {
        self.frame_id
    }

    /// The bytes of the messages, to be kept, and read again by [`Messages::kept`].
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}
