//! HAProxy's engines, and what their connections left to each other.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use spop_core::{FrameId, StreamId};
use tokio::sync::Notify;

use crate::handler::Answer;

/// What an ACK names.
pub(crate) type Ids = (StreamId, FrameId);

/// The engines that have a connection.
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
    pub(crate) members: usize,
    pub(crate) answers: VecDeque<(Ids, Answer)>,
}
