//! How many connections each sender has, so that one leaves places for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::Peer;

/// The senders with a connection.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<Peer, usize>>>);

impl Peers {
    /// One more connection of this sender, unless it has as many as it may.
    pub(super) fn enter(&self, addr: IpAddr, most: usize) -> Option<Place> {
        let peer = Peer::from(addr);
        let mut open = self.lock();
        let own = open.get(&peer).copied().unwrap_or(0);
        if own >= most {
            return None;
        }
        open.insert(peer, own + 1);
        drop(open);
        Some(Place { peers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, until it is dropped.
pub(super) struct Place {
    peers: Peers,
    peer: Peer,
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

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let peers = Peers::default();
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let first = peers.enter(one, 1);
        assert!(first.is_some() && peers.enter(same, 1).is_none() && peers.enter(other, 1).is_some());
        drop(first);
        assert!(peers.enter(same, 1).is_some());
    }
}
