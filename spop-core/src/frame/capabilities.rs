//! Sets of capabilities (SPOE.txt, sections 3.2.4 and 3.2.5).

use super::version::trim_spaces;

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// No capability.
    pub const NONE: Capabilities = Capabilities(0);
    /// `pipelining`: several NOTIFYs in flight on a connection, ACKs in any order.
    pub const PIPELINING: Capabilities = Capabilities(1);
    /// `async`: ACKs on any connection of the same engine-id. HAProxy up to 3.0.
    pub const ASYNC: Capabilities = Capabilities(2);
    /// `fragmentation`: a NOTIFY may come in fragments. HAProxy up to 3.0 sends such if the agent announces it.
    pub const FRAGMENTATION: Capabilities = Capabilities(4);

    const NAMES: [(Capabilities, &'static str); 3] = [
        (Capabilities::PIPELINING, "pipelining"),
        (Capabilities::ASYNC, "async"),
        (Capabilities::FRAGMENTATION, "fragmentation"),
    ];

    /// Reads a comma-separated list. Unknown and empty items are ignored, spaces around items too; as in HAProxy only
    /// the first word of an item counts.
    pub fn parse(list: &[u8]) -> Self {
        list.split(|&b| b == b',').fold(Capabilities::NONE, |set, item| {
            let word = trim_spaces(item).split(|&b| b == b' ').next().unwrap_or_default();
            let known = Self::NAMES.iter().find(|(_, name)| name.as_bytes() == word);
            known.map_or(set, |&(capability, _)| set.union(capability))
        })
    }

    /// The names in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES.into_iter().filter(move |&(c, _)| self.contains(c)).map(|(_, name)| name)
    }

    /// Are all of `other` in the set?
    pub const fn contains(self, other: Capabilities) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// What is in any of the sets.
    pub const fn union(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }

    /// The set without `other`.
    pub const fn without(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & !other.0)
    }
}

impl core::ops::BitOr for Capabilities {
    type Output = Capabilities;

    fn bitor(self, other: Capabilities) -> Capabilities {
        self.union(other)
    }
}
