//! OpenTelemetry's variables that concern the program as a whole.

use std::ffi::OsString;

use spoa_otel::export::otlp;
use spoa_otel::red::KNOWN_METHODS;
use spoa_otel::tracer;

use crate::log;

/// Destinations of spans.
pub const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";

/// Destinations of metrics.
const METRICS_EXPORTER: &str = "OTEL_METRICS_EXPORTER";

/// What `OTEL_TRACES_EXPORTER` chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Destinations {
    pub otlp: bool,
    pub console: bool,
}

impl Destinations {
    /// Those that the variable lists. `None` if it is not set, or names nothing known.
    pub fn chosen(env: impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Option<Self> {
        let mut chosen = None;
        for name in list(&env(TRACES_EXPORTER)?) {
            match name.as_str() {
                "otlp" => chosen.get_or_insert_with(Self::default).otlp = true,
                "console" => chosen.get_or_insert_with(Self::default).console = true,
                "none" => drop(chosen.get_or_insert_with(Self::default)),
                _ => warnings.push(format!(
                    "{TRACES_EXPORTER}: unknown exporter {name:?}: expected otlp, console, none or a list of these; ignored"
                )),
            }
        }
        chosen
    }
}

/// Whether `OTEL_METRICS_EXPORTER` has metrics exported by OTLP. Prometheus has them at `/metrics` anyway.
pub fn exports_metrics(env: impl Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> bool {
    let mut otlp = false;
    for name in list(&env(METRICS_EXPORTER).unwrap_or_default()) {
        match name.as_str() {
            "otlp" => otlp = true,
            "prometheus" | "none" => {}
            _ => warnings.push(format!(
                "{METRICS_EXPORTER}: unknown exporter {name:?}: expected otlp, prometheus, none or a list of these; ignored"
            )),
        }
    }
    otlp
}

/// All variables that have an effect.
pub fn known() -> impl Iterator<Item = &'static &'static str> {
    const OWN: &[&str] = &[TRACES_EXPORTER, METRICS_EXPORTER, KNOWN_METHODS, log::VARIABLE];
    otlp::VARIABLES.iter().chain(tracer::VARIABLES).chain(otlp::METRICS_VARIABLES).chain(OWN)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

/// A warning for each variable of OpenTelemetry's that is set in vain, those of metrics alone if they are not exported.
/// Values may be secrets.
pub fn without_effect(variables: impl Iterator<Item = (OsString, OsString)>, exports_metrics: bool) -> Vec<String> {
    let mut warnings: Vec<String> = variables
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("OTEL_"))?;
            if !exports_metrics && otlp::METRICS_VARIABLES.contains(&name.as_str()) {
                return Some(format!("{name} has no effect without {METRICS_EXPORTER}=otlp"));
            }
            if known().any(|known| *known == name) {
                return value.to_str().is_none().then(|| format!("{name}: not UTF-8, ignored"));
            }
            // There are no logs to export.
            let is_true = name == "OTEL_LOGS_EXPORTER" && value == "none";
            (!is_true).then(|| format!("{name} has no effect on spoa-otel"))
        })
        .collect();
    warnings.sort();
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn exporters_are_listed() {
        let of = |list: &str| {
            let mut warnings = Vec::new();
            let chosen = Destinations::chosen(|_| Some(list.to_owned()), &mut warnings);
            (chosen, warnings.len())
        };
        let some = |otlp, console| Some(Destinations { otlp, console });
        for (list, expected) in [
            ("otlp", (some(true, false), 0)),
            ("Console", (some(false, true), 0)),
            (" otlp , console,", (some(true, true), 0)),
            ("NONE", (some(false, false), 0)),
            ("zipkin", (None, 1)),
            ("jaeger,otlp", (some(true, false), 1)),
            (",", (None, 0)),
        ] {
            assert_eq!(of(list), expected, "{list}");
        }
        assert_eq!(Destinations::chosen(|_| None, &mut Vec::new()), None);
    }

    #[test]
    fn metrics_are_exported_on_request() {
        let of = |list: &str| {
            let mut warnings = Vec::new();
            (exports_metrics(|_| Some(list.to_owned()), &mut warnings), warnings.len())
        };
        for (list, expected) in [
            ("otlp", (true, 0)),
            ("Prometheus, OTLP", (true, 0)),
            ("prometheus", (false, 0)),
            ("none", (false, 0)),
            ("console", (false, 1)),
            ("", (false, 0)),
        ] {
            assert_eq!(of(list), expected, "{list}");
        }
        assert!(!exports_metrics(|_| None, &mut Vec::new()));
    }

    #[test]
    fn only_what_is_set_in_vain_is_told() {
        let set = |name: &str, value: &[u8]| (OsString::from(name), OsString::from_vec(value.to_vec()));
        let warnings = without_effect(
            [
                set("OTEL_EXPORTER_ZIPKIN_ENDPOINT", b"http://secret"),
                set("OTEL_EXPORTER_OTLP_METRICS_HEADERS", b"a=secret"),
                set("OTEL_METRICS_EXPORTER", b"none"),
                set("OTEL_METRIC_EXPORT_INTERVAL", b"1000"),
                set("OTEL_LOGS_EXPORTER", b"otlp"),
                set("OTEL_EXPORTER_OTLP_ENDPOINT", b"http://c"),
                set("OTEL_SERVICE_NAME", b"\xff"),
                set("OTEL_CONFIG_FILE", b""),
                set("PATH", b"/bin"),
            ]
            .into_iter(),
            false,
        );
        assert_eq!(
            warnings,
            [
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS has no effect without OTEL_METRICS_EXPORTER=otlp",
                "OTEL_EXPORTER_ZIPKIN_ENDPOINT has no effect on spoa-otel",
                "OTEL_LOGS_EXPORTER has no effect on spoa-otel",
                "OTEL_METRIC_EXPORT_INTERVAL has no effect without OTEL_METRICS_EXPORTER=otlp",
                "OTEL_SERVICE_NAME: not UTF-8, ignored",
            ]
        );
        let exported = [set("OTEL_EXPORTER_OTLP_METRICS_HEADERS", b"a=b"), set("OTEL_METRIC_EXPORT_INTERVAL", b"1")];
        assert_eq!(without_effect(exported.into_iter(), true), [""; 0]);
    }
}
