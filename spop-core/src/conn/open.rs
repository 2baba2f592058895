//! The table of the NOTIFYs that wait for their ACK.

use crate::frame::{FrameId, StreamId};

/// The ids of a NOTIFY.
pub(super) type Ids = (StreamId, FrameId);

#[derive(Clone, Copy, Debug)]
struct Entry {
    ids: Ids,
    serial: u64,
}

/// A table of fixed capacity, dense so that a look-up touches open entries only.
#[derive(Clone, Debug)]
pub(super) struct OpenTable<const N: usize> {
    entries: [Entry; N],
    len: usize,
    next_serial: u64,
}

impl<const N: usize> OpenTable<N> {
    pub(super) const fn new() -> Self {
        let empty = Entry { ids: (StreamId(0), FrameId(0)), serial: 0 };
        Self { entries: [empty; N], len: 0, next_serial: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len >= N
    }

    /// Adds an entry and gives its serial number; `None` if the table is full.
    #[inline]
    pub(super) fn insert(&mut self, ids: Ids) -> Option<u64> {
        let slot = self.entries.get_mut(self.len)?;
        let serial = self.next_serial;
        *slot = Entry { ids, serial };
        self.next_serial = serial.wrapping_add(1);
        self.len = self.len.wrapping_add(1);
        Some(serial)
    }

    /// The entry with this serial number: its place, for [`remove_at`](Self::remove_at), and its ids.
    #[inline]
    pub(super) fn find(&self, serial: u64) -> Option<(usize, Ids)> {
        let at = self.used().iter().position(|e| e.serial == serial)?;
        Some((at, self.used().get(at)?.ids))
    }

    /// Is there an entry with these ids?
    #[inline]
    pub(super) fn contains_ids(&self, ids: Ids) -> bool {
        self.used().iter().any(|e| e.ids == ids)
    }

    /// Takes out the entry with these ids; was there one?
    #[inline]
    pub(super) fn remove_ids(&mut self, ids: Ids) -> bool {
        match self.used().iter().position(|e| e.ids == ids) {
            Some(at) => self.remove_at(at).is_some(),
            None => false,
        }
    }

    /// Takes out all; how many there were.
    pub(super) fn clear(&mut self) -> usize {
        core::mem::replace(&mut self.len, 0)
    }

    fn used(&self) -> &[Entry] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    /// Takes out the entry at a place that [`find`](Self::find) gave just now.
    #[inline]
    pub(super) fn remove_at(&mut self, at: usize) -> Option<Ids> {
        let last = self.len.checked_sub(1)?;
        let moved = *self.entries.get(last)?;
        let hole = self.entries.get_mut(at)?;
        let ids = hole.ids;
        *hole = moved;
        self.len = last;
        Some(ids)
    }
}
