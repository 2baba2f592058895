//! The attributes of an open span or of an event: encoded as they come, and found by their names.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use hashbrown::{DefaultHashBuilder, HashTable};
use spop_core::Value;

use super::counters::Counters;
use super::limits::SpanLimits;
use super::value;
use crate::heap::{block, block_of};
use crate::span::proto::{close_len, field_len, key_value, put_lens, put_number, varint_len};
use crate::span::view;

/// So many are found faster one by one than by hash.
const FEW: usize = 16;
/// Beyond them there is room for so many at once.
const MANY: usize = 4 * FEW;
/// So many bytes of replaced attributes are not worth a move.
const FEW_BYTES: usize = 256;
/// What a short value takes, with the heads of field, name and value.
const SHORT: usize = 24;
/// So many bytes are the least that is worth an allocation.
const LEAST: usize = 64;

/// Its seed is random. Names that collide nevertheless cost as much as [`SpanLimits`] let a span have.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// A bounded list of attributes with unique names. `FIELD`: the number, below 16, of the field that each is in what they
/// belong to.
#[derive(Debug, Default)]
pub(super) struct Attributes<const FIELD: u32> {
    /// These fields, messages `KeyValue`, also replaced ones.
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Indices of places by name, once there are more than [`FEW`].
    index: Option<Box<HashTable<u32>>>,
    /// Bytes of replaced attributes.
    replaced: u32,
    dropped: u32,
}

/// Where an attribute is.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    len: u32,
    name_len: u32,
}

impl Place {
    /// Its field.
    fn field(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// Its message, which is what the field has.
    fn attribute(self, bytes: &[u8]) -> &[u8] {
        let field = self.field(bytes);
        field.get(head_len(field)..).unwrap_or_default()
    }

    fn name(self, bytes: &[u8]) -> &[u8] {
        let name_len = self.name_len as usize;
        let name = self.attribute(bytes).get(1 + varint_len(name_len)..);
        name.and_then(|name| name.get(..name_len)).unwrap_or_default()
    }
}

impl<const FIELD: u32> Attributes<FIELD> {
    /// Sets an attribute, instead of one of the same name; nothing if the values are NULL.
    pub(super) fn set<'v>(
        &mut self,
        name: &[u8],
        values: impl Iterator<Item = Value<'v>>,
        max: u32,
        limits: &SpanLimits,
        counters: &Counters,
    ) {
        let before = self.bytes.len();
        self.make_room(name.len() + SHORT);
        self.begin(name);
        let Some(cut) = value::put(&mut self.bytes, values, limits.max_value_len) else {
            self.bytes.truncate(before);
            return;
        };
        counters.values_cut.add(usize::from(cut));
        if !self.end(before, name, max as usize) {
            self.bytes.truncate(before);
            self.dropped = self.dropped.saturating_add(1);
            counters.attributes_dropped.one();
        }
    }

    /// Sets a text, limits or not.
    pub(super) fn put(&mut self, name: &str, text: &str) {
        let before = self.bytes.len();
        self.begin(name.as_bytes());
        value::put(&mut self.bytes, std::iter::once(Value::from(text)), None);
        self.end(before, name.as_bytes(), usize::MAX);
    }

    /// The head of a field and the name; the value follows.
    #[inline(always)]
    fn begin(&mut self, name: &[u8]) {
        // Most are so short that their length takes a byte.
        put_lens(&mut self.bytes, (FIELD, 0), (key_value::KEY, name.len()));
        self.bytes.extend_from_slice(name);
    }

    /// The field that begins at `before` is whole: its length is known, and it is taken into the list; false if there are too
    /// many.
    #[inline(always)]
    fn end(&mut self, before: usize, name: &[u8], max: usize) -> bool {
        close_len(&mut self.bytes, before);
        self.place(before, name, max)
    }

    /// Grows by half, not to twice what there is: a span may stay open for long, among very many.
    fn make_room(&mut self, more: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() - len < more {
            self.bytes.reserve_exact(more.max(len / 2).max(LEAST));
        }
    }

    /// Takes the field that begins at `start` into the list; false if there are too many.
    fn place(&mut self, start: usize, name: &[u8], max: usize) -> bool {
        let hash = self.hash(name);
        let known = self.find(name, hash);
        // No span comes near to so many bytes: its messages are bounded.
        let Ok(end) = u32::try_from(self.bytes.len()) else { return false };
        let new = Place { start: start as u32, len: end - start as u32, name_len: name.len() as u32 };
        match known {
            Some(index) => {
                let Some(place) = self.places.get_mut(index) else { return false };
                if place.len == new.len {
                    self.bytes.copy_within(start.., place.start as usize);
                    self.bytes.truncate(start);
                    return true;
                }
                self.replaced = self.replaced.saturating_add(place.len);
                *place = new;
                self.compact();
            }
            None if self.places.len() >= max => return false,
            None => {
                self.places.push(new);
                self.enter(hash);
            }
        }
        true
    }

    /// The hash of a name, if there is an index to use it.
    fn hash(&self, name: &[u8]) -> Option<u64> {
        self.index.as_ref().map(|_| hash(name))
    }

    #[inline(always)]
    fn find(&self, name: &[u8], hash: Option<u64>) -> Option<usize> {
        let is_it = |place: &Place| place.name_len as usize == name.len() && place.name(&self.bytes) == name;
        match (&self.index, hash) {
            (Some(index), Some(hash)) => {
                let found = index.find(hash, |&at| self.places.get(at as usize).is_some_and(is_it));
                found.map(|at| *at as usize)
            }
            _ => self.places.iter().position(is_it),
        }
    }

    /// Enters the last one into the index. `hash_of_last`: of its name, if it is known.
    fn enter(&mut self, hash_of_last: Option<u64>) {
        let Self { bytes, places, index, .. } = self;
        let hash_at = |at: &u32| places.get(*at as usize).map_or(0, |place| hash(place.name(bytes)));
        // No more than the limits, which are 32 bits wide.
        let last = places.len().saturating_sub(1) as u32;
        match index {
            Some(index) => {
                index.insert_unique(hash_of_last.unwrap_or_else(|| hash_at(&last)), last, hash_at);
            }
            None if places.len() > FEW => {
                let index = index.insert(Box::new(HashTable::with_capacity(MANY)));
                for at in 0..=last {
                    index.insert_unique(hash_at(&at), at, hash_at);
                }
            }
            None => {}
        }
    }

    /// Takes out the replaced ones once they are more than the others.
    fn compact(&mut self) {
        let replaced = self.replaced as usize;
        if replaced < FEW_BYTES || replaced < self.bytes.len() / 2 {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() - replaced);
        for place in &mut self.places {
            // It is not longer than before.
            let start = bytes.len() as u32;
            bytes.extend_from_slice(place.field(&self.bytes));
            place.start = start;
        }
        self.bytes = bytes;
        self.replaced = 0;
    }

    /// The attribute of this name as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let place = self.places.get(self.find(name.as_bytes(), self.hash(name.as_bytes()))?)?;
        view::attribute_text(place.attribute(&self.bytes))
    }

    /// Bytes of what [`write`](Self::write) appends.
    pub(super) fn encoded_len(&self, dropped_field: u32) -> usize {
        let dropped =
            if self.dropped == 0 { 0 } else { field_len(dropped_field, 0) - 1 + varint_len(self.dropped as usize) };
        self.bytes.len() - self.replaced as usize + dropped
    }

    /// Appends the attributes, and the number of dropped ones as a field of this number.
    pub(super) fn write(&self, out: &mut Vec<u8>, dropped_field: u32) {
        if self.replaced == 0 {
            out.extend_from_slice(&self.bytes);
        } else {
            self.places.iter().for_each(|place| out.extend_from_slice(place.field(&self.bytes)));
        }
        put_number(out, dropped_field, self.dropped.into());
    }

    /// Memory that it holds.
    pub(super) fn held(&self) -> usize {
        let index = self.index.as_deref();
        let index = index.map_or(0, |index| block_of::<HashTable<u32>>(1) + block(index.allocation_size()));
        block(self.bytes.capacity()) + block_of::<Place>(self.places.capacity()) + index
    }

    /// Takes out all, and keeps what they took.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.index = None;
        (self.replaced, self.dropped) = (0, 0);
    }
}

/// Bytes of a field before its content.
fn head_len(field: &[u8]) -> usize {
    2 + field.iter().skip(1).take_while(|byte| **byte >= 0x80).count()
}

fn hash(name: &[u8]) -> u64 {
    HASHER.hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::SpanView;

    fn set(attributes: &mut Attributes<9>, name: &str, value: &str, max: u32) {
        let values = std::iter::once(Value::from(value));
        attributes.set(name.as_bytes(), values, max, &SpanLimits::default(), &Counters::default());
    }

    fn written(attributes: &Attributes<9>) -> Vec<(String, String)> {
        let mut out = Vec::new();
        attributes.write(&mut out, 10);
        assert_eq!(out.len(), attributes.encoded_len(10));
        let view = SpanView::of(&out);
        let texts = view.attributes().map(|(name, value)| (name.to_owned(), view::value_text(value.unwrap()).unwrap()));
        texts.collect()
    }

    #[test]
    fn attributes_are_found_whatever_came_and_was_replaced() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut attributes, mut expected) = (Attributes::<9>::default(), Vec::<(String, String)>::new());
        for round in 0..5_000 {
            if round % 1000 == 0 {
                attributes.clear();
                expected.clear();
            }
            // Lengths on both sides of where a length takes a second byte.
            let name = "n".repeat(random.usize(0..2) * 130) + &random.u32(0..60).to_string();
            let value = "v".repeat(random.usize(0..300));
            set(&mut attributes, &name, &value, 50);
            match expected.iter().position(|(known, _)| *known == name) {
                Some(at) => expected[at].1 = value,
                None if expected.len() < 50 => expected.push((name.clone(), value)),
                None => {}
            }
            let known = expected.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            assert_eq!(attributes.text(&name), known);
            assert!(attributes.replaced as usize <= FEW_BYTES.max(attributes.bytes.len() / 2) + 600);
        }
        assert_eq!(written(&attributes), expected);
        assert!(attributes.index.is_some() && attributes.dropped > 0);
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted_and_leaves_nothing() {
        let (mut attributes, counters) = (Attributes::<9>::default(), Counters::default());
        for name in ["a", "b", "c", "a"] {
            let values = [Value::from(name)].into_iter();
            attributes.set(name.as_bytes(), values, 2, &SpanLimits::default(), &counters);
        }
        attributes.put("d", "beyond");
        assert_eq!((attributes.dropped, counters.snapshot().attributes_dropped), (1, 1));
        let texts = [("a", "a"), ("b", "b"), ("d", "beyond")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(written(&attributes), texts);
    }
}
