//! What a client offers.

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

    /// The same with another [`max_frame_size`](Self::max_frame_size).
    #[must_use]
    pub const fn with_max_frame_size(mut self, max_frame_size: u32) -> Self {
        self.max_frame_size = max_frame_size;
        self
    }

    /// The same with another [`capabilities`](Self::capabilities).
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same with another [`healthcheck`](Self::healthcheck).
    #[must_use]
    pub const fn with_healthcheck(mut self, healthcheck: bool) -> Self {
        self.healthcheck = healthcheck;
        self
    }

    /// The same with another [`engine_id`](Self::engine_id).
    #[must_use]
    pub const fn with_engine_id(mut self, engine_id: Option<EngineId>) -> Self {
        self.engine_id = engine_id;
        self
    }

    /// The same with another [`hello_timeout`](Self::hello_timeout).
    #[must_use]
    pub const fn with_hello_timeout(mut self, hello_timeout: Option<u64>) -> Self {
        self.hello_timeout = hello_timeout;
        self
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
