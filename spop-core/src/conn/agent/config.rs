//! What an agent offers and tolerates.

use crate::conn::builders::builders;
use crate::frame::Capabilities;

/// What an agent offers and tolerates. Times are in ticks, whose unit is the caller's.
///
/// ```
/// use spop_core::AgentConfig;
///
/// const CONFIG: AgentConfig = AgentConfig::DEFAULT.with_max_frame_size(16380).with_hello_timeout(Some(10_000));
/// assert_eq!(CONFIG.max_fragments, AgentConfig::default().max_fragments);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AgentConfig {
    /// The largest frame body that the agent takes, in bytes, at least 256. The smaller of this and HAProxy's is
    /// negotiated. Default 1 MiB, so that HAProxy's counts.
    pub max_frame_size: u32,
    /// The same before HELLO, when nothing is known of the peer. Default 4096.
    pub hello_max_frame_size: u32,
    /// What to announce: `pipelining` and `async` if HAProxy has them too, `fragmentation` always. Default
    /// `pipelining` and `fragmentation`. Without concurrent handling of NOTIFYs leave `pipelining` out.
    pub capabilities: Capabilities,
    /// The most fragments of one NOTIFY. Default 4096. The most bytes are the length of the reassembly slice.
    pub max_fragments: u32,
    /// How long HAProxy may take for its HELLO. Default none.
    pub hello_timeout: Option<u64>,
    /// How long a frame may take from its first byte to its last, and a fragmented NOTIFY from one fragment to the next.
    /// Default none.
    pub half_frame_timeout: Option<u64>,
    /// How long a connection may be without any frame and any open NOTIFY. Default none: HAProxy ends idle
    /// connections, and an agent that does so first races with a NOTIFY.
    pub idle_timeout: Option<u64>,
}

impl AgentConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        max_frame_size: 1024 * 1024,
        hello_max_frame_size: 4096,
        capabilities: Capabilities::PIPELINING.union(Capabilities::FRAGMENTATION),
        max_fragments: 4096,
        hello_timeout: None,
        half_frame_timeout: None,
        idle_timeout: None,
    };

    builders! {
        with_max_frame_size => max_frame_size: u32,
        with_hello_max_frame_size => hello_max_frame_size: u32,
        with_capabilities => capabilities: Capabilities,
        with_max_fragments => max_fragments: u32,
        with_hello_timeout => hello_timeout: Option<u64>,
        with_half_frame_timeout => half_frame_timeout: Option<u64>,
        with_idle_timeout => idle_timeout: Option<u64>,
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
