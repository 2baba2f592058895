//! Versions of SPOP, and the lists of them (SPOE.txt, sections 3.2.4 and 3.2.5).

use core::fmt;
use core::str::FromStr;

use crate::error::ParseError;

/// A version of SPOP. This crate speaks 2.0, the only one that HAProxy knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(clippy::exhaustive_structs, reason = "the grammar of a version has two numbers")]
pub struct Version {
    /// Not 0.
    pub major: u32,
    /// At most 999.
    pub minor: u32,
}

impl Version {
    /// 2.0.
    pub const V2_0: Self = Self { major: 2, minor: 0 };

    /// Reads `major.minor`, spaces around it allowed, nothing else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = trim_spaces(text);
        let dot = text.iter().position(|&b| b == b'.')?;
        let (major, minor) = text.split_at_checked(dot)?;
        let version = Self { major: number(major)?, minor: number(minor.get(1..)?)? };
        (version.major != 0 && version.minor <= 999).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// As [`Version::parse`].
impl FromStr for Version {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes()).ok_or(ParseError::new("a version such as 2.0"))
    }
}

/// Does a `supported-versions` list offer 2.0? An item `2.m` announces 2.0 to 2.m; items that do not parse are skipped.
pub fn supports_2_0(list: &[u8]) -> bool {
    list.split(|&b| b == b',').filter_map(Version::parse).any(|v| v.major == 2)
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, &b| match b {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u32::from(b - b'0')),
        _ => None,
    })
}

pub(super) fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}
