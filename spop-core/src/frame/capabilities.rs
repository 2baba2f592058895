//! Sets of capabilities (SPOE.txt, sections 3.2.4 and 3.2.5).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};
use core::str::FromStr;

use super::version::trim_spaces;
use crate::error::ParseError;

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// `pipelining`: several NOTIFYs in flight on a connection, ACKs in any order.
    pub const PIPELINING: Self = Self(1);
    /// `async`: ACKs on any connection of the same engine-id. HAProxy up to 3.0.
    pub const ASYNC: Self = Self(2);
    /// `fragmentation`: a NOTIFY may come in fragments. HAProxy up to 3.0 sends such if the agent announces it.
    pub const FRAGMENTATION: Self = Self(4);

    const NAMES: [(Self, &'static str); 3] =
        [(Self::PIPELINING, "pipelining"), (Self::ASYNC, "async"), (Self::FRAGMENTATION, "fragmentation")];

    /// Reads a comma-separated list. Unknown and empty items are ignored, spaces around items too; as in HAProxy only
    /// the first word of an item counts.
    pub fn parse(list: &[u8]) -> Self {
        list.split(|&b| b == b',').fold(Self::NONE, |set, item| {
            let word = trim_spaces(item).split(|&b| b == b' ').next().unwrap_or_default();
            Self::named(word).map_or(set, |capability| set.union(capability))
        })
    }

    fn named(word: &[u8]) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| name.as_bytes() == word).map(|&(capability, _)| capability)
    }

    /// The names in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES.into_iter().filter(move |&(c, _)| self.contains(c)).map(|(_, name)| name)
    }

    /// Are all of `other` in the set?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in any of the sets.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Capabilities {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// The names with commas between them, as in a HELLO.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.names().enumerate() {
            f.write_str(if position == 0 { "" } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// What people write: names with commas between them, nothing for none. Other names are refused; [`Capabilities::parse`]
/// reads what a peer sends, and passes over them.
///
/// ```
/// use spop_core::Capabilities;
///
/// assert_eq!("pipelining, async".parse(), Ok(Capabilities::PIPELINING | Capabilities::ASYNC));
/// assert!("pipelinig".parse::<Capabilities>().is_err());
/// ```
impl FromStr for Capabilities {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if trim_spaces(text.as_bytes()).is_empty() {
            return Ok(Self::NONE);
        }
        text.as_bytes().split(|&b| b == b',').try_fold(Self::NONE, |set, item| {
            let known = Self::named(trim_spaces(item));
            known
                .map(|one| set | one)
                .ok_or(ParseError::new("pipelining, async and fragmentation, with commas between"))
        })
    }
}
