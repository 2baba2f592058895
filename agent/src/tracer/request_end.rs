//! The end of a request as HAProxy's log line tells it.

use std::time::SystemTime;

use spop_core::Value;

/// The true end of a request, for the spans that messages opened under its id.
#[derive(Debug)]
pub(crate) struct RequestEnd<'a> {
    pub(crate) at: SystemTime,
    pub(crate) server: SideEnd<'a>,
    /// If a server was tried.
    pub(crate) client: Option<SideEnd<'a>>,
}

/// Its end as one side saw it: that of the client, or that of the server.
#[derive(Debug)]
pub(crate) struct SideEnd<'a> {
    /// What makes it an error.
    pub(crate) error: Option<&'a str>,
    pub(crate) attributes: &'a [(&'static str, Value<'a>)],
}

/// What the tracer knows of the id of a request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Spans were open under it: they ended with it.
    Ended,
    /// Its spans have ended before.
    EndedBefore,
    /// Its trace is not sampled.
    Unsampled,
    /// Nothing.
    Nothing,
}
