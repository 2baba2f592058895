//! What became of TLS handshakes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a connection at a TLS listener, or of TLS at another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsResult {
    /// The handshake succeeded.
    Accepted,
    /// The peer does not speak TLS.
    Plain,
    /// The client has no certificate, but has to have one.
    NoCertificate,
    /// The client's certificate is of none of our authorities.
    UnknownAuthority,
    /// The client's certificate is not valid any more, or not yet.
    Expired,
    /// The client's certificate cannot be used otherwise.
    BadCertificate,
    /// The client speaks an older TLS only.
    Version,
    /// The client refused our certificate, or the connection, by an alert.
    Refused,
    /// The handshake took too long.
    Timeout,
    /// It was the oldest of too many unfinished handshakes.
    Evicted,
    /// The client was gone before the end of the handshake: a health check without TLS, for instance.
    Closed,
    /// Anything else: no common cipher, broken messages.
    Failed,
    /// TLS came to a listener without it.
    Unexpected,
}

impl TlsResult {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Plain,
        Self::NoCertificate,
        Self::UnknownAuthority,
        Self::Expired,
        Self::BadCertificate,
        Self::Version,
        Self::Refused,
        Self::Timeout,
        Self::Evicted,
        Self::Closed,
        Self::Failed,
        Self::Unexpected,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Plain => "plain",
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::BadCertificate => "bad_certificate",
            Self::Version => "version",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Unexpected => "unexpected",
        }
    }
}

/// Counters of the handshakes at a listener, or at several of one kind.
#[derive(Debug, Default)]
pub struct TlsStats([AtomicU64; TlsResult::ALL.len()]);

impl TlsStats {
    /// One more with this result.
    pub fn count(&self, result: TlsResult) {
        self.0[result as usize].fetch_add(1, Relaxed);
    }

    /// How many had this result.
    pub fn get(&self, result: TlsResult) -> u64 {
        self.0[result as usize].load(Relaxed)
    }
}
