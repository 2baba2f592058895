//! How many connections each sender has, so that one leaves places for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The senders with a connection, by address.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    /// One more connection of this sender, unless it has as many as it may.
    pub(super) fn enter(&self, peer: IpAddr, most: usize) -> Option<Place> {
        let mut open = self.lock();
        let own = open.get(&peer).copied().unwrap_or(0);
        if own >= most {
            return None;
        }
        open.insert(peer, own + 1);
        drop(open);
        Some(Place { peers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, until it is dropped.
pub(super) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.lock();
        match open.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_as_many_as_it_may_and_none_is_remembered() {
        let (peers, one, other) = (Peers::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = peers.enter(one, 2);
        let second = peers.enter(one, 2);
        assert!(first.is_some() && second.is_some() && peers.enter(one, 2).is_none());
        assert!(peers.enter(other, 2).is_some());
        drop(second);
        assert!(peers.enter(one, 2).is_some());
        drop(first);
        assert!(peers.lock().is_empty());
    }
}
