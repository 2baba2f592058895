//! A metric as its source declares it.

/// What its figure does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A family of `/metrics`, with figures from a snapshot `S`.
#[derive(Debug)]
pub(crate) struct Metric<S: 'static> {
    /// Without the prefix, and without the suffix of counters.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// What tells its rows apart; empty if it is a single figure.
    pub(crate) label: &'static str,
    pub(crate) rows: &'static [Row<S>],
}

/// The value of the label, and the figure.
pub(crate) type Row<S> = (&'static str, fn(&S) -> u64);
