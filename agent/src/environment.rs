//! OpenTelemetry's variables as a configuration file has them, for what is read once and far from any configuration.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Of the configuration file.
static PROVIDED: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Variables for the attributes of resources and the known methods, as far as the process's environment does not have
/// them. To be called before the first span, and once: further calls are without effect.
pub fn provide(variables: BTreeMap<String, String>) {
    let _ = PROVIDED.set(variables);
}

/// The value of a variable; an empty one is an unset one.
pub(crate) fn variable(name: &str) -> Option<String> {
    let provided = || PROVIDED.get().and_then(|variables| variables.get(name)).cloned();
    std::env::var(name).ok().filter(|value| !value.is_empty()).or_else(provided)
}
