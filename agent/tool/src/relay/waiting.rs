//! NOTIFYs whose ACK is awaited.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

/// The ids of a stream and a frame.
pub(super) type Ids = (u64, u64);

/// NOTIFYs with the time at which they came. Those that get no ACK make room for later ones.
pub(super) struct Waiting {
    most: usize,
    since: HashMap<Ids, (Instant, u64)>,
    /// In the order in which they came.
    order: BTreeMap<u64, Ids>,
    serial: u64,
}

impl Waiting {
    pub(super) fn new(most: usize) -> Self {
        Waiting { most, since: HashMap::new(), order: BTreeMap::new(), serial: 0 }
    }

    /// One came; false if the oldest was forgotten for it. HAProxy uses ids again: the later one counts.
    pub(super) fn enter(&mut self, ids: Ids, now: Instant) -> bool {
        self.take(ids);
        let kept = self.since.len() < self.most;
        if let Some((_, oldest)) = (!kept).then(|| self.order.pop_first()).flatten() {
            self.since.remove(&oldest);
        }
        self.serial += 1;
        self.since.insert(ids, (now, self.serial));
        self.order.insert(self.serial, ids);
        kept
    }

    /// Its answer is there, or nobody waits for it any more: when it came, if that is known.
    pub(super) fn take(&mut self, ids: Ids) -> Option<Instant> {
        let (since, serial) = self.since.remove(&ids)?;
        self.order.remove(&serial);
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_secs(n);
        let mut waiting = Waiting::new(3);
        assert!((1..=3).all(|n| waiting.enter((n, 1), at(n))));
        // Used again: it is not the oldest any more, and takes no place of another.
        assert!(waiting.enter((1, 1), at(4)));
        assert!(!waiting.enter((5, 1), at(5)));
        assert_eq!([1, 2, 3, 5].map(|n| waiting.take((n, 1))), [Some(at(4)), None, Some(at(3)), Some(at(5))]);
        assert_eq!((waiting.since.len(), waiting.order.len()), (0, 0));
        assert!(waiting.enter((9, 2), at(6)));
        assert_eq!(waiting.take((9, 1)), None);
    }
}
