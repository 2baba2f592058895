//! Doubly linked lists through the entries of a slab: constant time to append and to take out anywhere.

use slab::Slab;

const NIL: u32 = u32::MAX;

/// Neighbours of an entry in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links { prev: NIL, next: NIL }
    }
}

/// Something with links of this kind: it can be in one list of each kind at once.
pub(crate) trait Linked<const KIND: usize> {
    fn links(&mut self) -> &mut Links;
}

/// A list, from its oldest to its newest entry, through the links of one kind.
#[derive(Debug)]
pub(crate) struct List<const KIND: usize> {
    head: u32,
    tail: u32,
    len: usize,
}

impl<const KIND: usize> Default for List<KIND> {
    fn default() -> Self {
        List { head: NIL, tail: NIL, len: 0 }
    }
}

impl<const KIND: usize> List<KIND> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The oldest entry.
    pub(crate) fn front(&self) -> Option<usize> {
        (self.head != NIL).then_some(self.head as usize)
    }

    /// Appends an entry that is in no list of this kind.
    pub(crate) fn push_back<T: Linked<KIND>>(&mut self, slab: &mut Slab<T>, slot: usize) {
        let Some(entry) = slab.get_mut(slot) else { return };
        // A slab of more entries than that does not fit into memory.
        let place = slot as u32;
        *entry.links() = Links { prev: self.tail, next: NIL };
        match slab.get_mut(self.tail as usize) {
            Some(tail) => tail.links().next = place,
            None => self.head = place,
        }
        self.tail = place;
        self.len += 1;
    }

    /// Takes out an entry of this list.
    pub(crate) fn remove<T: Linked<KIND>>(&mut self, slab: &mut Slab<T>, slot: usize) {
        let Some(entry) = slab.get_mut(slot) else { return };
        let Links { prev, next } = std::mem::take(entry.links());
        match slab.get_mut(prev as usize) {
            Some(entry) => entry.links().next = next,
            None => self.head = next,
        }
        match slab.get_mut(next as usize) {
            Some(entry) => entry.links().prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Node(Links);

    impl Linked<0> for Node {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn drain(list: &mut List<0>, slab: &mut Slab<Node>) -> Vec<usize> {
        std::iter::from_fn(|| {
            let front = list.front()?;
            list.remove(slab, front);
            Some(front)
        })
        .collect()
    }

    #[test]
    fn entries_leave_in_order_from_anywhere() {
        for removed in 0..4 {
            let (mut slab, mut list) = (Slab::new(), List::default());
            for _ in 0..4 {
                let slot = slab.insert(Node::default());
                list.push_back(&mut slab, slot);
            }
            list.remove(&mut slab, removed);
            list.push_back(&mut slab, removed);
            assert_eq!(list.len(), 4);
            let order: Vec<_> = (0..4).filter(|slot| *slot != removed).chain([removed]).collect();
            assert_eq!(drain(&mut list, &mut slab), order);
            assert_eq!((list.len(), list.front()), (0, None));
        }
    }
}
