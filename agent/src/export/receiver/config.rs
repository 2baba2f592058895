//! Bounds of the receiver.

use crate::http_server::credentials::Credentials;
use spop_agent::tls::Tls;
use spop_agent::watched::FileError;
use spop_agent::{ServerConfig, duration, size};
use std::path::PathBuf;
use std::time::Duration;

/// Bounds of the receiver.
#[derive(Debug, Clone, clap::Args)]
pub struct ReceiverConfig {
    /// Largest request body, before and after decompression
    #[arg(id = "receiver_max_body", long = "receiver-max-body", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.max_body), value_parser = size::parse)]
    pub max_body: usize,

    /// Most memory of a decoded request: a body of some megabytes can be made to take hundreds
    #[arg(id = "receiver_max_decoded", long = "receiver-max-decoded", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.max_decoded), value_parser = size::parse)]
    pub max_decoded: usize,

    /// Most memory of all bodies that arrive or wait for their turn, and half of it for those of one peer; further
    /// requests are answered 503
    #[arg(id = "receiver_max_buffered", long = "receiver-max-buffered", value_name = "SIZE")]
    #[arg(default_value = size::text(Self::DEFAULT.max_buffered), value_parser = size::parse)]
    pub max_buffered: usize,

    /// Most requests decoded at once, beside what serves HAProxy; further ones wait
    #[arg(id = "receiver_threads", long = "receiver-threads", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.threads)]
    pub threads: usize,

    /// Most connections to the receiver; an idle one makes room, else further ones are closed
    #[arg(id = "receiver_max_connections", long = "receiver-max-connections", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_connections)]
    pub max_connections: usize,

    /// Most of these of one peer, which is an address, or a /64 network of IPv6
    #[arg(id = "receiver_max_per_peer", long = "receiver-max-per-peer", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_per_peer)]
    pub max_per_peer: usize,

    /// File descriptors that the connections leave to others; further ones are closed at once. On the command line it is
    /// that of the SPOP server
    #[arg(skip = ServerConfig::DEFAULT.reserved_files)]
    pub reserved_files: u64,

    /// How long a request's body may take, and then wait for its turn
    #[arg(id = "receiver_body_timeout", long = "receiver-body-timeout", value_name = "TIME")]
    #[arg(default_value = duration::text(Self::DEFAULT.body_timeout), value_parser = duration::parse)]
    pub body_timeout: Duration,

    /// File with a token in each line, of which requests to the receiver need one (Authorization: Bearer); read again when it
    /// changes [default: none, everybody may send]
    #[arg(id = "otlp_token_file", long = "otlp-token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The same with user:password in each line (Authorization: Basic); with both files one is enough [default: none]
    #[arg(id = "otlp_basic_file", long = "otlp-basic-file", value_name = "FILE")]
    pub basic_file: Option<PathBuf>,

    /// What is in these files, once they are [read](Self::read_credentials).
    #[arg(skip)]
    pub credentials: Option<Credentials>,

    /// Certificates, if TLS is to be spoken.
    #[arg(skip)]
    pub tls: Option<Tls>,
}

impl ReceiverConfig {
    const DEFAULT: Self = Self {
        max_body: 4 << 20,
        max_decoded: 32 << 20,
        max_buffered: 64 << 20,
        threads: 1,
        max_connections: 256,
        max_per_peer: 128,
        reserved_files: ServerConfig::DEFAULT.reserved_files,
        body_timeout: Duration::from_secs(10),
        token_file: None,
        basic_file: None,
        credentials: None,
        tls: None,
    };

    /// Reads the files of tokens and passwords, for [`credentials`](Self::credentials); `None` without any.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn read_credentials(&self) -> Result<Option<Credentials>, FileError> {
        let file = |option, path: &Option<PathBuf>| path.clone().map(|path| (option, path));
        let token = file("--otlp-token-file", &self.token_file);
        Credentials::load(token, file("--otlp-basic-file", &self.basic_file))
    }
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
