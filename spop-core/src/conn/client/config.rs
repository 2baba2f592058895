//! What a client offers.

use crate::conn::builders::builders;
use crate::frame::Capabilities;

/// What the client offers. Times are in ticks, whose unit is the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The largest frame body, in bytes, 256 or more. Default 16380, HAProxy's.
    pub max_frame_size: u32,
    /// What to announce. Default `pipelining`, as HAProxy since 3.1.
    pub capabilities: Capabilities,
    /// Ask for a health check: the connection ends after the agent's HELLO. Capabilities and engine-id stay away then,
    /// as in HAProxy's `option spop-check`.
    pub healthcheck: bool,
    /// The engine-id to send.
    pub engine_id: Option<EngineId>,
    /// How long the agent may take for its HELLO. Default none.
    pub hello_timeout: Option<u64>,
}

impl ClientConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        max_frame_size: 16380,
        capabilities: Capabilities::PIPELINING,
        healthcheck: false,
        engine_id: None,
        hello_timeout: None,
    };

    builders! {
        with_max_frame_size => max_frame_size: u32,
        with_capabilities => capabilities: Capabilities,
        with_healthcheck => healthcheck: bool,
        with_engine_id => engine_id: Option<EngineId>,
        with_hello_timeout => hello_timeout: Option<u64>,
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An engine-id of up to 64 bytes; HAProxy's has 36.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineId {
    bytes: [u8; 64],
    len: usize,
}

impl EngineId {
    /// `None` above 64 bytes.
    pub fn new(id: impl AsRef<[u8]>) -> Option<Self> {
        let id = id.as_ref();
        let mut bytes = [0; 64];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() })
    }

    /// The id.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
