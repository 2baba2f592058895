//! The payloads of both HELLO frames and the grammars in them (SPOE.txt, sections 3.2.4 and 3.2.5).

use crate::error::{DecodeError, DecodeReason};
use crate::frame::Frame;
use crate::value::Value;

/// A version of SPOP. This crate speaks 2.0, the only one that HAProxy knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// Not 0.
    pub major: u32,
    /// At most 999.
    pub minor: u32,
}

impl Version {
    /// 2.0.
    pub const V2_0: Version = Version { major: 2, minor: 0 };

    /// Reads `major.minor`, spaces around it allowed, nothing else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = trim_spaces(text);
        let dot = text.iter().position(|&b| b == b'.')?;
        let (major, minor) = text.split_at_checked(dot)?;
        let version = Version { major: number(major)?, minor: number(minor.get(1..)?)? };
        (version.major != 0 && version.minor <= 999).then_some(version)
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

fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

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

/// The known keys of both HELLOs, as far as they are there.
#[derive(Default)]
struct Keys<'a> {
    version: Option<&'a [u8]>,
    max_frame_size: Option<u32>,
    capabilities: Option<&'a [u8]>,
    healthcheck: bool,
    engine_id: Option<&'a [u8]>,
}

impl<'a> Keys<'a> {
    fn parse(frame: &Frame<'a>, version_key: &[u8]) -> Result<Self, DecodeError> {
        let mut keys = Keys::default();
        let mut list = frame.kv();
        let mut at = list.reader().offset();
        while let Some(kv) = list.next() {
            let kv = kv?;
            let wrong_type = Err(DecodeError::new(DecodeReason::WrongValueType, at));
            match (kv.key, kv.value) {
                (b"", _) => return Err(DecodeError::new(DecodeReason::EmptyKey, at)),
                (key, Value::String(text)) if key == version_key => keys.version = Some(text),
                (key, _) if key == version_key => return wrong_type,
                (b"max-frame-size", value) => match value.as_integer() {
                    // What u32 cannot hold is refused or capped by whoever judges the size.
                    Some(size) => keys.max_frame_size = Some(size.clamp(0, u32::MAX as i128) as u32),
                    None => return wrong_type,
                },
                (b"capabilities", Value::String(text)) => keys.capabilities = Some(text),
                (b"capabilities", _) => return wrong_type,
                (b"healthcheck", Value::Bool(flag)) => keys.healthcheck = flag,
                (b"healthcheck", _) => return wrong_type,
                (b"engine-id", Value::String(text)) => keys.engine_id = Some(text),
                (b"engine-id", _) => return wrong_type,
                _ => {}
            }
            at = list.reader().offset();
        }
        Ok(keys)
    }

    fn version(&self) -> Result<&'a [u8], DecodeError> {
        self.version.ok_or(DecodeError::new(DecodeReason::MissingVersion, 0))
    }

    fn max_frame_size(&self) -> Result<u32, DecodeError> {
        self.max_frame_size.ok_or(DecodeError::new(DecodeReason::MissingMaxFrameSize, 0))
    }

    fn capabilities(&self) -> Result<&'a [u8], DecodeError> {
        self.capabilities.ok_or(DecodeError::new(DecodeReason::MissingCapabilities, 0))
    }
}

/// The payload of HAPROXY-HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HaproxyHello<'a> {
    /// `supported-versions`, as it came; see [`supports_2_0`].
    pub supported_versions: &'a [u8],
    /// `max-frame-size`: the largest frame body that HAProxy takes and sends, in bytes.
    pub max_frame_size: u32,
    /// `capabilities`, the known ones.
    pub capabilities: Capabilities,
    /// `healthcheck`: HAProxy only wants to see the AGENT-HELLO.
    pub healthcheck: bool,
    /// `engine-id`: the same in all connections of an engine; opaque, new at every reload of HAProxy.
    pub engine_id: Option<&'a [u8]>,
}

impl<'a> HaproxyHello<'a> {
    /// Reads the payload. Keys in any order; unknown ones are skipped, of a repeated one the last counts.
    ///
    /// # Errors
    /// Status 4: a malformed list, an empty key, a value of the wrong type. Then, in this order, 5, 6 and 7 for a
    /// missing version list, size and capabilities. The values are not judged.
    pub fn parse(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let keys = Keys::parse(frame, b"supported-versions")?;
        Ok(HaproxyHello {
            supported_versions: keys.version()?,
            max_frame_size: keys.max_frame_size()?,
            capabilities: Capabilities::parse(keys.capabilities()?),
            healthcheck: keys.healthcheck,
            engine_id: keys.engine_id,
        })
    }
}

/// The payload of AGENT-HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AgentHello<'a> {
    /// `version`, as it came; see [`Version::parse`].
    pub version: &'a [u8],
    /// `max-frame-size`: the size for both directions from now on.
    pub max_frame_size: u32,
    /// `capabilities`, the known ones.
    pub capabilities: Capabilities,
}

impl<'a> AgentHello<'a> {
    /// Reads the payload, as [`HaproxyHello::parse`].
    ///
    /// # Errors
    /// As [`HaproxyHello::parse`].
    pub fn parse(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let keys = Keys::parse(frame, b"version")?;
        Ok(AgentHello {
            version: keys.version()?,
            max_frame_size: keys.max_frame_size()?,
            capabilities: Capabilities::parse(keys.capabilities()?),
        })
    }
}
