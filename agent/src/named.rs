//! Lists of things with names, no two alike.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::heap::{block, block_of};

/// So many are found faster one by one than by hash.
const FEW: usize = 16;

/// Names come from the network: nobody may know which ones collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Something with a name.
pub(crate) trait HasName {
    fn name(&self) -> &str;
}

impl<T: HasName> HasName for Box<T> {
    fn name(&self) -> &str {
        T::name(self)
    }
}

/// A list whose items are found by their names, however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Named<T, const RULE: usize = 2> {
    /// So many are the rule.
    list: SmallVec<[T; RULE]>,
    /// Places in the list by name, once there are more than [`FEW`].
    places: Option<Box<HashTable<usize>>>,
}

impl<T, const RULE: usize> Default for Named<T, RULE> {
    fn default() -> Self {
        Named { list: SmallVec::new(), places: None }
    }
}

impl<T, const RULE: usize> std::ops::Deref for Named<T, RULE> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T: HasName, const RULE: usize> Named<T, RULE> {
    /// The place of the item with this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        match &self.places {
            None => self.list.iter().position(|item| item.name() == name),
            Some(places) => {
                let is_it = |place: &usize| self.list.get(*place).is_some_and(|item| item.name() == name);
                places.find(hash(name), is_it).copied()
            }
        }
    }

    /// An item, whose name must stay.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.list.get_mut(place)
    }

    /// All items, whose names must stay.
    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.list.iter_mut()
    }

    /// Appends an item; there must be none of its name.
    pub(crate) fn push(&mut self, item: T) {
        let place = self.list.len();
        self.list.push(item);
        if self.places.is_some() {
            self.enter(place);
        } else if self.list.len() > FEW {
            self.places = Some(Box::default());
            (0..=place).for_each(|place| self.enter(place));
        }
    }

    fn enter(&mut self, place: usize) {
        let Named { list, places } = self;
        if let (Some(item), Some(places)) = (list.get(place), places) {
            let hash_at = |place: &usize| list.get(*place).map_or(0, |item| hash(item.name()));
            places.insert_unique(hash(item.name()), place, hash_at);
        }
    }

    /// Takes out an item; the last one gets its place.
    pub(crate) fn swap_remove(&mut self, place: usize) -> Option<T> {
        let last = self.list.len().checked_sub(1)?;
        let removed = self.list.get(place)?;
        if let Some(places) = &mut self.places {
            if let Ok(entry) = places.find_entry(hash(removed.name()), |&other| other == place) {
                entry.remove();
            }
            let moved = self.list.get(last).and_then(|item| places.find_mut(hash(item.name()), |&other| other == last));
            if let Some(moved) = moved {
                *moved = place;
            }
        }
        let removed = self.list.swap_remove(place);
        if self.list.is_empty() {
            // What is empty holds nothing.
            *self = Named::default();
        }
        Some(removed)
    }

    /// Takes out all items.
    pub(crate) fn take(&mut self) -> SmallVec<[T; RULE]> {
        std::mem::take(self).list
    }

    /// Memory of the list, without what its items hold elsewhere.
    pub(crate) fn held(&self) -> usize {
        let places = self.places.as_deref();
        let places = places.map_or(0, |places| block_of::<HashTable<usize>>(1) + block(places.allocation_size()));
        let list = if self.list.spilled() { block_of::<T>(self.list.capacity()) } else { 0 };
        list + places
    }
}

fn hash(name: &str) -> u64 {
    HASHER.hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasName for String {
        fn name(&self) -> &str {
            self
        }
    }

    #[test]
    fn items_are_found_whatever_came_and_went() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut named, mut expected) = (Named::<String>::default(), Vec::<String>::new());
        for round in 0..20_000 {
            let name = random.u32(0..120).to_string();
            let place = named.find(&name);
            assert_eq!(place.map(|place| &named[place]), expected.iter().find(|other| **other == name));
            match place {
                Some(place) => {
                    assert_eq!(named.swap_remove(place), Some(name.clone()));
                    expected.retain(|other| *other != name);
                }
                None => {
                    named.push(name.clone());
                    expected.push(name);
                }
            }
            // Sometimes few, sometimes many, sometimes none.
            if round % 1000 == 0 {
                assert_eq!(named.take().len(), expected.len());
                assert_eq!((named.held(), named.find("1")), (0, None));
                expected.clear();
            }
        }
        assert!(named.len() > FEW && named.places.is_some());
        assert_eq!(named.swap_remove(named.len()), None);
    }

    #[test]
    fn an_empty_list_holds_no_memory() {
        let mut named = Named::<String>::default();
        (0..100).for_each(|name| named.push(name.to_string()));
        assert!(named.held() > 128 * size_of::<String>());
        while named.swap_remove(0).is_some() {}
        assert_eq!(named.held(), 0);
    }
}
