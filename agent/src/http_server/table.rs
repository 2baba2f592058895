//! The open connections of a listener: whose they are, and which of them are idle.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::limits::HttpLimits;
use crate::peer::Peer;

/// One in so many places is for peers that have none.
const RESERVE: usize = 8;

/// What a connection is at.
#[derive(Debug)]
pub(super) struct Activity {
    born: Instant,
    /// Requests whose answers are not written yet.
    under_way: AtomicUsize,
    /// What is written lies unread.
    unread: AtomicBool,
    /// When the last one was done, in milliseconds after `born`.
    idle_since: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Activity {
            born: Instant::now(),
            under_way: AtomicUsize::new(0),
            unread: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
        }
    }

    /// A request is under way until this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }

    /// Whether a write waits for the peer to read.
    pub(super) fn waits_for_reader(&self, waits: bool) {
        if self.unread.swap(waits, Relaxed) && !waits {
            self.idles_from_now();
        }
    }

    fn idles_from_now(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Relaxed);
    }

    /// Since when it waits for a request.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.under_way.load(Relaxed) == 0 && !self.unread.load(Relaxed);
        is_idle.then(|| self.born + std::time::Duration::from_millis(self.idle_since.load(Relaxed)))
    }
}

pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idles_from_now();
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

struct Entry {
    peer: Peer,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// Whether a connection gets a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is one.
    Free,
    /// An idle connection was closed for it.
    Vacated,
    /// All are taken by requests.
    None,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Table {
    tasks: JoinSet<()>,
    open: HashMap<Id, Entry>,
    peers: HashMap<Peer, usize>,
}

impl Table {
    /// Looks for a place for a connection of this peer; the one that is idle for longest makes room.
    pub(super) fn place_for(&mut self, peer: Peer, limits: &HttpLimits) -> Place {
        let own = self.peers.get(&peer).copied().unwrap_or(0);
        let max = limits.max_connections;
        let max = if own == 0 { max } else { max - max / RESERVE };
        let idle = if own >= limits.max_per_peer {
            self.longest_idle(|entry| entry.peer == peer)
        } else if self.open.len() >= max {
            self.longest_idle(|_| true)
        } else {
            return Place::Free;
        };
        let Some(idle) = idle else { return Place::None };
        if let Some(entry) = self.forget(idle) {
            entry.task.abort();
        }
        Place::Vacated
    }

    fn longest_idle(&self, of: impl Fn(&Entry) -> bool) -> Option<Id> {
        let entries = self.open.iter().filter(|(_, entry)| of(entry));
        let idle = entries.filter_map(|(id, entry)| Some((entry.activity.idle_since()?, *id)));
        idle.min_by_key(|(since, _)| *since).map(|(_, id)| id)
    }

    /// Serves a connection.
    pub(super) fn spawn(
        &mut self,
        peer: Peer,
        activity: Arc<Activity>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(task);
        *self.peers.entry(peer).or_default() += 1;
        self.open.insert(task.id(), Entry { peer, activity, task });
    }

    /// Waits for the end of one; never ready if there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.forget(id);
            }
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, id: Id) -> Option<Entry> {
        let entry = self.open.remove(&id)?;
        if let Some(count) = self.peers.get_mut(&entry.peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&entry.peer);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    const LIMITS: HttpLimits = HttpLimits {
        reserved_files: 0,
        max_connections: 16,
        max_per_peer: 8,
        head_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
    };

    fn peer(last: u8) -> Peer {
        Peer::from(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_place_gets_one_and_idle_connections_make_room() {
        let mut table = Table::default();
        let open = |table: &mut Table, of: u8, busy: bool| {
            let place = table.place_for(peer(of), &LIMITS);
            if place != Place::None {
                let activity = Arc::new(Activity::new());
                let request = busy.then(|| activity.begin());
                table.spawn(peer(of), activity, async {
                    let _request = request;
                    std::future::pending().await
                });
            }
            place
        };
        // A peer with requests on all connections that it may have.
        assert!((0..8).all(|_| open(&mut table, 1, true) == Place::Free));
        assert_eq!(open(&mut table, 1, true), Place::None);
        // The last two places are for others than those who have some.
        assert!((0..6).all(|_| open(&mut table, 2, true) == Place::Free));
        assert_eq!(open(&mut table, 2, true), Place::None);
        assert_eq!(open(&mut table, 3, false), Place::Free);
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(open(&mut table, 4, false), Place::Free);
        // The one that is idle for longest goes; nobody has two places for it.
        assert_eq!(open(&mut table, 5, true), Place::Vacated);
        assert!(!table.peers.contains_key(&peer(3)));
        assert_eq!(open(&mut table, 6, true), Place::Vacated);
        assert_eq!(open(&mut table, 7, true), Place::None);
        // A peer at its limit makes room among its own.
        for of in [1, 2] {
            let ids: Vec<_> = table.open.iter().filter(|(_, e)| e.peer == peer(of)).map(|(id, _)| *id).collect();
            ids.into_iter().filter_map(|id| table.forget(id)).for_each(|entry| entry.task.abort());
        }
        assert!((0..8).all(|_| open(&mut table, 1, false) == Place::Free));
        assert_eq!(open(&mut table, 1, false), Place::Vacated);
        assert_eq!(table.peers[&peer(1)], 8);
        // Those that were closed end once more, and count no more.
        while tokio::time::timeout(Duration::from_millis(1), table.ended()).await.is_ok() {}
        assert_eq!((table.open.len(), table.peers[&peer(1)]), (10, 8));
    }
}
