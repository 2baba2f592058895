//! The two directions of a connection.

/// Whom bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Haproxy,
    Agent,
}
