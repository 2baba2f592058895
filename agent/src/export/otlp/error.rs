//! What is wrong with the configuration.

use std::fmt::Display;

/// Why the OTLP configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpConfigError {
    /// A flag or an environment variable has an unusable value.
    #[error("{name}: {reason}")]
    Invalid {
        /// Flag or variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A PEM file could not be read or has no usable content.
    #[error("{given_by}: {path}: {reason}")]
    TlsFile {
        /// Variable that names the file.
        given_by: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS or the HTTP client could not be set up.
    #[error("cannot set up the connection to {url}: {reason}")]
    Setup {
        /// The endpoint.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

pub(super) fn invalid(name: impl Into<String>, reason: impl Display) -> OtlpConfigError {
    OtlpConfigError::Invalid { name: name.into(), reason: reason.to_string() }
}
