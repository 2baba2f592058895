//! Limits and timeouts of a server.

use std::time::Duration;

use spop_core::Capabilities;

#[cfg(feature = "clap")]
use crate::{duration, size};

/// The most NOTIFYs that can be in flight on a connection.
pub const MAX_IN_FLIGHT: usize = 128;

/// Limits and timeouts of a server. All have defaults that suit HAProxy's.
///
/// ```
/// let mut config = spop_agent::ServerConfig::default();
/// config.max_connections = 100;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ServerConfig {
    /// Largest frame to take, in bytes; the smaller of this and HAProxy's counts. While it is handled, others wait
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES"))]
    #[cfg_attr(feature = "clap", arg(default_value_t = Self::DEFAULT.max_frame_size, value_parser = clap::value_parser!(u32).range(256..)))]
    pub max_frame_size: u32,

    /// Largest fragmented NOTIFY to take, in bytes (HAProxy up to 3.0); 0 does not announce fragmentation
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES", default_value_t = Self::DEFAULT.max_reassembly))]
    pub max_reassembly: usize,

    /// Most memory that all connections together hold for frames and ACKs, beyond 256 KiB of each; a connection that
    /// needs more then is ended
    #[cfg_attr(feature = "clap", arg(long, value_name = "SIZE"))]
    #[cfg_attr(feature = "clap", arg(default_value = size::text(Self::DEFAULT.max_buffered), value_parser = size::parse))]
    pub max_buffered: usize,

    /// Most connections at once; further ones are refused
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::DEFAULT.max_connections))]
    pub max_connections: usize,

    /// File descriptors (ulimit -n) that connections leave to others, such as admin endpoints and a collector
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::DEFAULT.reserved_files))]
    pub reserved_files: u64,

    /// Most NOTIFYs in flight on a connection (1 to 128) before it is not read any more
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    #[cfg_attr(feature = "clap", arg(default_value_t = Self::DEFAULT.max_in_flight, value_parser = in_flight))]
    pub max_in_flight: usize,

    /// Announce `async` (HAProxy up to 3.0): what a connection that is gone left open is answered on another one of its
    /// engine. For asynchronous handlers; others leave nothing open. On the command line by [`AsyncOptions`].
    #[cfg_attr(feature = "clap", arg(skip = Self::DEFAULT.async_answers))]
    pub async_answers: bool,

    /// The most NOTIFYs whose connection is gone that are worked on; further ones stay unanswered, and are counted.
    #[cfg_attr(feature = "clap", arg(skip = Self::DEFAULT.max_orphans))]
    pub max_orphans: usize,

    /// How long an answer to such a NOTIFY waits for a connection if its engine has none at the time, at least.
    #[cfg_attr(feature = "clap", arg(skip = Self::DEFAULT.orphan_timeout))]
    pub orphan_timeout: Duration,

    /// How long HAProxy may take for its HELLO
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME"))]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.hello_timeout), value_parser = duration::parse))]
    pub hello_timeout: Duration,

    /// How long a frame may stay half received
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME"))]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.half_frame_timeout), value_parser = duration::parse))]
    pub half_frame_timeout: Duration,

    /// Close connections that were idle for so long [default: off, HAProxy ends idle connections]
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", value_parser = duration::parse))]
    pub connection_idle_timeout: Option<Duration>,

    /// How long HAProxy may leave ACKs unread
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME"))]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.write_timeout), value_parser = duration::parse))]
    pub write_timeout: Duration,

    /// How long a handler may take; longer is counted and logged, and an asynchronous one is ended by an empty ACK
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME"))]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.handler_timeout), value_parser = duration::parse))]
    pub handler_timeout: Duration,

    /// How long to wait at the end for open NOTIFYs and for HAProxy to close
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME"))]
    #[cfg_attr(feature = "clap", arg(default_value = duration::text(Self::DEFAULT.grace), value_parser = duration::parse))]
    pub grace: Duration,
}

#[cfg(feature = "clap")]
fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_IN_FLIGHT).contains(&n) => Ok(n),
        _ => Err(format!("not a number from 1 to {MAX_IN_FLIGHT}")),
    }
}

impl ServerConfig {
    /// What holds unless an option says otherwise.
    pub const DEFAULT: Self = Self {
        // Four times that of a HAProxy whose `tune.bufsize` nobody changed.
        max_frame_size: 64 * 1024,
        max_reassembly: 64 * 1024,
        max_buffered: 256 * 1024 * 1024,
        max_connections: 4096,
        reserved_files: 128,
        max_in_flight: MAX_IN_FLIGHT,
        async_answers: false,
        max_orphans: 256,
        orphan_timeout: Duration::from_secs(2),
        hello_timeout: Duration::from_secs(5),
        half_frame_timeout: Duration::from_secs(10),
        connection_idle_timeout: None,
        write_timeout: Duration::from_secs(30),
        handler_timeout: Duration::from_secs(5),
        grace: Duration::from_secs(8),
    };
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl ServerConfig {
    /// Brings what the options refuse into their bounds.
    pub(crate) fn bounded(self) -> Self {
        Self { max_in_flight: self.max_in_flight.clamp(1, MAX_IN_FLIGHT), ..self }
    }

    pub(crate) fn agent(&self) -> spop_core::AgentConfig {
        let fragmentation = if self.max_reassembly > 0 { Capabilities::FRAGMENTATION } else { Capabilities::NONE };
        let asynchronous = if self.async_answers { Capabilities::ASYNC } else { Capabilities::NONE };
        spop_core::AgentConfig::DEFAULT
            .with_max_frame_size(self.max_frame_size)
            .with_capabilities(Capabilities::PIPELINING | asynchronous | fragmentation)
            .with_hello_timeout(Some(ticks(self.hello_timeout)))
            .with_half_frame_timeout(Some(ticks(self.half_frame_timeout)))
            .with_idle_timeout(self.connection_idle_timeout.map(ticks))
    }
}

/// Options of agents with asynchronous handlers, beside those of [`ServerConfig`].
#[cfg(feature = "clap")]
#[derive(Clone, Debug, clap::Args)]
#[non_exhaustive]
pub struct AsyncOptions {
    /// Announce `async` (HAProxy up to 3.0): answer on any connection of an engine what one that is gone left open
    #[arg(long = "async")]
    pub async_answers: bool,

    /// Most NOTIFYs whose connection is gone that are worked on; further ones stay unanswered
    #[arg(long, value_name = "N", default_value_t = ServerConfig::DEFAULT.max_orphans)]
    pub max_orphans: usize,

    /// How long an answer to such a NOTIFY waits for a connection if its engine has none
    #[arg(long, value_name = "TIME")]
    #[arg(default_value = duration::text(ServerConfig::DEFAULT.orphan_timeout), value_parser = duration::parse)]
    pub orphan_timeout: Duration,
}

#[cfg(feature = "clap")]
impl AsyncOptions {
    /// A configuration with these options.
    pub fn of(&self, config: ServerConfig) -> ServerConfig {
        let Self { async_answers, max_orphans, orphan_timeout } = *self;
        ServerConfig { async_answers, max_orphans, orphan_timeout, ..config }
    }
}

/// The ticks of the state machine are milliseconds.
pub(crate) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
