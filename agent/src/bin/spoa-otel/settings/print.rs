//! All settings as a configuration file.

use std::fmt::{self, Write};

use spoa_otel::export::otlp;

use super::value::{Setting, Value};
use super::{Settings, variables::Variables};
use crate::origin::Origin;

/// All that holds, with comments that say where it comes from. What is secret is left out.
pub fn print(settings: &Settings) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write(settings, &mut text);
    text
}

fn write(Settings { values, variables, .. }: &Settings, out: &mut String) -> fmt::Result {
    writeln!(out, "# spoa-otel {}: what holds, and where it comes from", env!("CARGO_PKG_VERSION"))?;
    let mut headings: Vec<&str> = Vec::new();
    for setting in values {
        if !headings.contains(&&*setting.heading) {
            headings.push(&setting.heading);
        }
    }
    for heading in headings {
        writeln!(out, "\n# {heading}")?;
        for setting in values.iter().filter(|setting| setting.heading == heading) {
            write_setting(setting, variables, out)?;
        }
    }
    writeln!(out, "\n[environment]")?;
    for (name, value, origin) in variables.all() {
        let hidden = hidden(name, &value);
        let commented = if hidden.is_some() { "# " } else { "" };
        let value = Value::Text(hidden.clone().unwrap_or(value));
        writeln!(out, "{commented}{name} = {value}  # {origin}{}", secret(hidden.is_some()))?;
    }
    Ok(())
}

fn write_setting(
    Setting { name, value, origin, .. }: &Setting,
    variables: &Variables,
    out: &mut String,
) -> fmt::Result {
    if let Origin::Variable(variable) = origin {
        let value = variables.get(variable).unwrap_or_default();
        let value = Value::Text(hidden(variable, &value).unwrap_or(value));
        return writeln!(out, "# {name}: {value}  # {variable}");
    }
    match value {
        Value::Unset(_) => writeln!(out, "# {name}: {value}  # {origin}"),
        Value::Text(text) if hidden(name, text).is_some() => {
            let shown = Value::Text(hidden(name, text).unwrap_or_default());
            writeln!(out, "# {name} = {shown}  # {origin}{}", secret(true))
        }
        value => writeln!(out, "{name} = {value}  # {origin}"),
    }
}

fn secret(hidden: bool) -> &'static str {
    if hidden { "; has a secret, which is not shown" } else { "" }
}

/// The value without what is secret, if anything is.
fn hidden(name: &str, value: &str) -> Option<String> {
    if name.ends_with("HEADERS") {
        // Without a name all of it may be one.
        let shown =
            |pair: &str| pair.split_once('=').map_or("...".to_owned(), |(name, _)| format!("{}=...", name.trim()));
        return Some(value.split(',').map(shown).collect::<Vec<_>>().join(","));
    }
    let is_url = name == "otlp" || name.ends_with("_ENDPOINT");
    is_url.then(|| otlp::redacted(value)).filter(|shown| shown != value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let shown = |name: &str, value: &str| hidden(name, value);
        assert_eq!(shown("OTEL_EXPORTER_OTLP_HEADERS", "a=1, token=x=y").as_deref(), Some("a=...,token=..."));
        assert_eq!(shown("OTEL_EXPORTER_OTLP_HEADERS", "Bearer abc").as_deref(), Some("..."));
        assert_eq!(shown("otlp", "http://me:pass@c:1/x").as_deref(), Some("http://...@c:1/x"));
        assert_eq!(shown("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/?key=1").as_deref(), Some("http://c/?..."));
        assert_eq!(shown("otlp", "http://c:4318"), None);
        assert_eq!(shown("listen", "abns@name"), None);
    }
}
