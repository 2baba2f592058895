//! HAProxy's engines, and what their connections left to each other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use spop_core::{FrameId, StreamId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::handler::Answer;

/// What an ACK names.
pub(crate) type Ids = (StreamId, FrameId);

/// The engines that have a connection, or something that waits for one.
#[derive(Default)]
pub(crate) struct Engines {
    pub(crate) by_id: Mutex<HashMap<Arc<[u8]>, Arc<Engine>>>,
    /// NOTIFYs whose connection is gone.
    pub(crate) orphans: AtomicUsize,
}

/// An engine of HAProxy.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) state: Mutex<State>,
    /// There is something to answer for another connection.
    pub(crate) ready: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    /// Its connections.
    pub(crate) members: usize,
    /// NOTIFYs of connections that are gone, without an answer so far.
    pub(crate) at_work: usize,
    /// Answers that wait for a connection.
    pub(crate) answers: VecDeque<Waiting>,
}

pub(crate) struct Waiting {
    pub(crate) since: Instant,
    pub(crate) ids: Ids,
    pub(crate) answer: Answer,
}

impl State {
    /// Nobody needs the engine any more.
    pub(crate) fn is_over(&self) -> bool {
        self.members == 0 && self.at_work == 0 && self.answers.is_empty()
    }
}
