//! A metric as its source declares it: once. Its counter, the field of the snapshot and the family in `/metrics` follow.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// `Kind "family" "help" { field, }`, or with a row for each value of a label
/// `Kind "family" "help" by "label" { field = "value", }`; in the order of `/metrics`. Above them `snapshot NAME` or
/// `snapshot NAME, counters NAME`, and what else the snapshot has: `and { field: Type, }`.
macro_rules! metrics {
    (
        $(#[$meta:meta])* snapshot $snapshot:ident, $(#[$counters_meta:meta])* counters $counters:ident
        $(and { $($(#[$more_doc:meta])* $more:ident: $more_type:ty,)+ })?;
        $($kind:ident $family:literal $help:literal $(by $label:literal)? {
            $($(#[$doc:meta])* $field:ident $(= $value:literal)?,)+
        })+
    ) => {
        $crate::metric::metrics! {
            $(#[$meta])* snapshot $snapshot $(and { $($(#[$more_doc])* $more: $more_type,)+ })?;
            $($kind $family $help $(by $label)? { $($(#[$doc])* $field $(= $value)?,)+ })+
        }

        $(#[$counters_meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $($(pub(crate) $field: $crate::metric::$kind,)+)+
        }

        impl $counters {
            /// The present values; what is looked up when it is asked for is 0.
            pub(crate) fn snapshot(&self) -> $snapshot {
                $snapshot { $($($field: self.$field.get(),)+)+ $($($more: Default::default(),)+)? }
            }
        }
    };
    (
        $(#[$meta:meta])* snapshot $snapshot:ident
        $(and { $($(#[$more_doc:meta])* $more:ident: $more_type:ty,)+ })?;
        $($kind:ident $family:literal $help:literal $(by $label:literal)? {
            $($(#[$doc:meta])* $field:ident $(= $value:literal)?,)+
        })+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $snapshot {
            $($($(#[$doc])* pub $field: u64,)+)+
            $($($(#[$more_doc])* pub $more: $more_type,)+)?
        }

        impl $snapshot {
            /// Their families, in the order in which they are shown.
            pub(crate) const METRICS: &'static [$crate::metric::Metric<Self>] = &[$($crate::metric::Metric {
                name: $family,
                help: $help,
                kind: $crate::metric::$kind::KIND,
                label: concat!($($label)?),
                rows: &[$((concat!($($value)?), |stats| stats.$field),)+],
            },)+];
        }
    };
}
pub(crate) use metrics;

/// A figure that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const KIND: Kind = Kind::Counter;

    pub(crate) fn add(&self, n: usize) {
        if n > 0 {
            self.0.fetch_add(n as u64, Relaxed);
        }
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The number of what is there now.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU64);

impl Level {
    pub(crate) const KIND: Kind = Kind::Gauge;

    pub(crate) fn rise(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn fall(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A time, in seconds since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Stamp(AtomicU64);

impl Stamp {
    pub(crate) const KIND: Kind = Kind::Gauge;

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is looked up when it is asked for: nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Gauge;

impl Gauge {
    pub(crate) const KIND: Kind = Kind::Gauge;

    pub(crate) fn get(&self) -> u64 {
        0
    }
}
