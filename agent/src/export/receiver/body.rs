//! The bodies of requests while they arrive: what all of them hold together is bounded, and what each peer does.

use super::format::Refusal;
use crate::peer::Peer;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of all memory that one peer may take: one in so many.
const PEER_SHARE: usize = 2;

/// The memory of the bodies.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    peers: HashMap<Peer, usize>,
}

/// What one body holds of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Part {
    budget: Arc<Budget>,
    peer: Peer,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Budget { max, held: Mutex::default() })
    }

    pub(super) fn part(self: &Arc<Self>, peer: Peer) -> Part {
        Part { budget: self.clone(), peer, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Holds so many bytes from now on, if there is room.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut held = self.budget.lock();
        let all = held.all.saturating_add(more);
        let of_peer = held.peers.get(&self.peer).copied().unwrap_or(0).saturating_add(more);
        if all > self.budget.max || of_peer > self.budget.max / PEER_SHARE {
            return false;
        }
        held.all = all;
        held.peers.insert(self.peer, of_peer);
        self.bytes += more;
        true
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.all -= self.bytes;
        if let Some(of_peer) = held.peers.get_mut(&self.peer) {
            *of_peer -= self.bytes;
            if *of_peer == 0 {
                held.peers.remove(&self.peer);
            }
        }
    }
}

/// Reads a body of at most `max` bytes, or as many as there can ever be room for.
pub(super) async fn read(body: Body, max: usize, part: &mut Part) -> Result<Bytes, Refusal> {
    let max = max.min(part.budget.max / PEER_SHARE);
    let mut body = Limited::new(body, max);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::too_large(max)
            } else {
                Refusal(StatusCode::BAD_REQUEST, "unreadable request body".to_owned())
            }
        })?;
        // What is no data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        let len = read.len() + data.len();
        if len > read.capacity() {
            // Doubled, but not beyond what it may have.
            read.reserve_exact(len.max((2 * read.capacity()).min(max)) - read.len());
        }
        if !part.grow_to(read.capacity()) {
            return Err(Refusal::busy());
        }
        read.extend_from_slice(&data);
    }
    // What is kept of it counts by its length.
    read.shrink_to_fit();
    Ok(read.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::net::IpAddr;

    async fn received(len: usize, frame: usize, max: usize, budget: &Arc<Budget>) -> Result<usize, Refusal> {
        let frames = vec![0; len].chunks(frame).map(|part| Ok(part.to_vec())).collect::<Vec<Result<_, Infallible>>>();
        let body = Body::from_stream(futures_util::stream::iter(frames));
        let mut part = budget.part(Peer::from(IpAddr::from([192, 0, 2, 1])));
        let body = read(body, max, &mut part).await?;
        assert!(part.bytes <= budget.max / PEER_SHARE);
        Ok(body.len())
    }

    #[tokio::test]
    async fn a_body_is_too_large_where_there_is_never_room_for_it() {
        let budget = Budget::new(4 << 20);
        for (len, max, status) in [
            (3 << 20, 4 << 20, Some(StatusCode::PAYLOAD_TOO_LARGE)),
            (2 << 20, 4 << 20, None),
            (2_000_000, 4 << 20, None),
            (2_000_000, 1 << 20, Some(StatusCode::PAYLOAD_TOO_LARGE)),
        ] {
            for frame in [40_000, 16_384, 1 << 20] {
                let refused = received(len, frame, max, &budget).await.map_err(|refusal| refusal.0);
                assert_eq!(refused, status.map_or(Ok(len), Err), "{len} in frames of {frame}, at most {max}");
            }
        }
    }

    #[test]
    fn all_bodies_and_those_of_a_peer_are_bounded() {
        let peer = |last| Peer::from(IpAddr::from([192, 0, 2, last]));
        let budget = Budget::new(100);
        let [mut a, mut b] = [(); 2].map(|()| budget.part(peer(1)));
        assert!(a.grow_to(30) && b.grow_to(20));
        assert!(!b.grow_to(21), "half of it");
        let mut c = budget.part(peer(2));
        assert!(c.grow_to(30) && c.grow_to(50) && !c.grow_to(51));
        assert!(!budget.part(peer(3)).grow_to(1), "all of it");
        drop(a);
        assert!(b.grow_to(50) && !b.grow_to(51));
        drop((b, c));
        let held = budget.lock();
        assert!(held.all == 0 && held.peers.is_empty(), "{held:?}");
    }
}
