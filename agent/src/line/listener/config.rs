//! Where log lines are taken, from whom, and how much of them.

use std::time::Duration;

use spop_agent::tls::Tls;
use spop_agent::{ServerConfig, duration, size};

use super::addr::LogAddr;
use super::allow::Allowed;
use super::error::{ListenCause, ListenError, is_loopback};

/// The listeners of log lines, and their bounds.
#[derive(Clone, Debug, clap::Args)]
pub struct ListenerConfig {
    /// Where HAProxy sends its log lines: udp://127.0.0.1:5140, unix:/path[,mode=660,user=NAME,group=NAME] (datagrams),
    /// tcp://host:port[,tls] (a ring, octet-counted or in lines) or systemd:NAME[,tls] (sockets that systemd passes); may
    /// be given several times [default: off]
    // The text of an option has brackets that are no links.
    #[allow(rustdoc::broken_intra_doc_links)]
    #[arg(id = "log_listen", long = "log-listen", value_name = "ADDR")]
    pub listen: Vec<LogAddr>,

    /// Who may send log lines beside this host: a network such as 10.0.0.0/8, an address, or any. Who may can forge spans.
    /// Without it nothing beyond loopback is listened on; may be given several times
    #[arg(id = "log_allow", long = "log-allow", value_name = "NET|ADDR|any")]
    pub allow: Vec<Allowed>,

    /// Memory that the system is asked for, for each --log-listen udp://, to hold datagrams until they are read; what is
    /// beyond it is lost, and counted
    #[arg(id = "log_recv_buffer", long = "log-recv-buffer", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.recv_buffer), value_parser = size::parse)]
    pub recv_buffer: usize,

    /// Longest line over TCP; a longer one is left out. A datagram has 64 KiB at most
    #[arg(id = "log_max_line", long = "log-max-line", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.max_line), value_parser = size::parse)]
    pub max_line: usize,

    /// Most connections to --log-listen tcp:// at once; further ones are closed
    #[arg(id = "log_max_connections", long = "log-max-connections", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_connections)]
    pub max_connections: usize,

    /// Most of these connections of one sender, which is an address, or a /64 network of IPv6; further ones are closed
    #[arg(id = "log_max_per_peer", long = "log-max-per-peer", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_per_peer)]
    pub max_per_peer: usize,

    /// Close connections that sent nothing for so long [default: off, a ring may be idle for hours]
    #[arg(id = "log_idle_timeout", long = "log-idle-timeout", value_name = "TIME", value_parser = duration::parse)]
    pub idle_timeout: Option<Duration>,

    /// File descriptors that the connections leave to others; further ones are closed at once. On the command line it is
    /// that of the SPOP server
    #[arg(skip = ServerConfig::DEFAULT.reserved_files)]
    pub reserved_files: u64,

    /// Certificates for addresses with `,tls`.
    #[arg(skip)]
    pub tls: Option<Tls>,
}

impl ListenerConfig {
    const DEFAULT: Self = Self {
        listen: Vec::new(),
        allow: Vec::new(),
        recv_buffer: 4 << 20,
        max_line: 64 << 10,
        max_connections: 128,
        max_per_peer: 96,
        idle_timeout: None,
        reserved_files: ServerConfig::DEFAULT.reserved_files,
        tls: None,
    };
}

impl ListenerConfig {
    /// Whether an address is beyond loopback and nobody may send there. A name's addresses are known when it is listened
    /// on, and looked at then.
    ///
    /// # Errors
    /// One is.
    pub fn check(&self) -> Result<(), ListenError> {
        let beyond = |addr: &LogAddr| match addr {
            LogAddr::Udp(host) | LogAddr::Tcp(host) | LogAddr::Tls(host) => {
                host.parse().ok().filter(|addr| !is_loopback(addr))
            }
            // Of those that are passed it is looked at when they are taken.
            LogAddr::Unix(..) | LogAddr::Passed(_) => None,
        };
        let first = self.listen.iter().find_map(|addr| Some((addr, beyond(addr)?)));
        match first.filter(|_| self.allow.is_empty()) {
            Some((addr, beyond)) => Err(ListenError { addr: addr.clone(), cause: ListenCause::BeyondLoopback(beyond) }),
            None => Ok(()),
        }
    }

    /// The most connections that there can be.
    pub fn connections(&self) -> usize {
        if self.listen.iter().any(|addr| matches!(addr, LogAddr::Tcp(_) | LogAddr::Tls(_) | LogAddr::Passed(_))) {
            self.max_connections
        } else {
            0
        }
    }
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
