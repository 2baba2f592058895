//! What an agent does with a NOTIFY.

use std::future::Future;
use std::pin::Pin;

use spop_core::{Scope, Value, Writer};

use crate::notify::{Ack, Notify, Request};

/// Why a handler could not answer; the text goes to the log.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What handlers give, and `main` may.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A handler that answers at once, on the connection's own task, without allocation in the runtime. Any
/// `Fn(&Notify<'_>, &mut Ack<'_>) -> Result` is one.
///
/// It must not block: all connections of a worker thread wait for it.
pub trait Handler: Send + Sync + 'static {
    /// Reads the messages and adds actions to the ACK. Actions that do not fit the negotiated size are refused; the ACK
    /// goes out with what is in it.
    ///
    /// # Errors
    /// The NOTIFY gets an empty ACK; the error is logged at a limited rate and counted. So with a panic.
    fn notify(&self, notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result;
}

impl<F> Handler for F
where
    F: Fn(&Notify<'_>, &mut Ack<'_>) -> Result + Send + Sync + 'static,
{
    fn notify(&self, notify: &Notify<'_>, ack: &mut Ack<'_>) -> Result {
        self(notify, ack)
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

    /// Sets a variable in HAProxy. What goes beyond the negotiated size is left out of the ACK, and that is logged.
    pub fn set_var<'v>(&mut self, scope: Scope, name: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> &mut Self {
        let (name, value) = (name.as_ref(), value.into());
        self.append(spop_core::encoded_len::set_var(name, &value), |w| w.set_var(scope, name, value))
    }

    /// Unsets a variable in HAProxy.
    pub fn unset_var(&mut self, scope: Scope, name: impl AsRef<[u8]>) -> &mut Self {
        let name = name.as_ref();
        self.append(spop_core::encoded_len::unset_var(name), |w| w.unset_var(scope, name))
    }

    /// `len` is exact, so the write fits.
    fn append(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> std::result::Result<(), spop_core::EncodeError>,
    ) -> &mut Self {
        let start = self.actions.len();
        self.actions.resize(start + len, 0);
        if write(&mut Writer::new(&mut self.actions[start..])).is_err() {
            self.actions.truncate(start);
        }
        self
    }

    pub(crate) fn actions(&self) -> spop_core::Actions<'_> {
        spop_core::Actions::new(&self.actions)
    }
}

/// The future of an [`AsyncHandler`].
pub type AnswerFuture = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

/// A handler that may wait; any `Fn(Request) -> impl Future<Output = Result<Answer>>` is one. Each NOTIFY runs as a task of
/// its own, bounded in number by [`max_in_flight`](crate::ServerConfig::max_in_flight) for each connection and in time by
/// [`handler_timeout`](crate::ServerConfig::handler_timeout); ACKs go out in the order in which the answers come. When
/// the connection ends, its tasks are cancelled: the future is dropped where it waits. With
/// [`async_answers`](crate::ServerConfig::async_answers) those go on that another connection can answer, until HAProxy uses
/// the ids of their NOTIFY again, or the server ends.
pub trait AsyncHandler: Send + Sync + 'static {
    /// Answers a NOTIFY.
    fn notify(&self, request: Request) -> AnswerFuture;
}

impl<F, Fut> AsyncHandler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer>> + Send + 'static,
{
    fn notify(&self, request: Request) -> AnswerFuture {
        Box::pin(self(request))
    }
}
