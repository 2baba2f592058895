//! Where a setting was said.

use std::collections::BTreeMap;
use std::fmt;

use spoa_otel::export::otlp::By;

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    CommandLine,
    /// By a variable of this name.
    Variable(&'static str),
    /// In a configuration file, at `path:line`.
    File(String),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Variable(name) => f.write_str(name),
            Self::File(place) => f.write_str(place),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The places in the configuration file of the options that it alone has, by their names.
#[derive(Clone, Debug, Default)]
pub struct InFile(pub BTreeMap<String, String>);

impl InFile {
    pub fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }

    pub fn by(&self, option: &str) -> By<'_> {
        self.0.get(option).map_or(By::CommandLine, |place| By::File(place))
    }
}
