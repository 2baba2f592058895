//! The options are those of the library and of the manual.

use std::collections::{BTreeMap, BTreeSet};

use spoa_otel::line::LineConfig;
use spoa_otel::line::listener::ListenerConfig;
use spoa_otel::tracer::SpanLimits;

use super::*;

/// They go without saying.
const NOT_IN_THE_MANUAL: [&str; 2] = ["help", "version"];

/// Defaults that are a circumstance and no value.
const WORDS: [(&str, &str); 23] = [
    ("config", "none"),
    ("check", "off"),
    ("print-config", "off"),
    ("otlp", "none"),
    ("console", "without a collector"),
    ("otlp-listen", "off"),
    ("log-listen", "off"),
    ("log-allow", "none"),
    ("log-phases", "off"),
    ("keep-errors", "off"),
    ("keep-slower-than", "off"),
    ("sample", "none"),
    ("admin-host", "none"),
    ("log-filter", "none"),
    ("generate", "none"),
    ("tls-cert", "none"),
    ("tls-key", "in --tls-cert"),
    ("tls-client-ca", "none"),
    ("tls-client-auth", "required"),
    ("admin-token-file", "none"),
    ("admin-basic-file", "none"),
    ("otlp-token-file", "none"),
    ("otlp-basic-file", "none"),
];

/// Each option's default as the manual has it, by its name.
fn manual() -> BTreeMap<String, String> {
    let rows = include_str!("../../../../docs/options.md").lines().filter(|line| line.starts_with("| `--"));
    let mut options = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_start_matches("| ").splitn(3, " | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        let names = cells[0].split("--").skip(1).filter_map(|name| name.split(['`', ' ', ',']).next());
        let names: Vec<_> = names.map(str::to_owned).collect();
        let defaults: Vec<_> = cells[1].split(", ").map(|text| text.replace('`', "")).collect();
        assert_eq!(names.len(), defaults.len(), "a default for each option: {row}");
        options.extend(names.into_iter().zip(defaults));
    }
    options
}

/// The default of an option as `--help` has it.
fn default(option: &clap::Arg) -> Option<String> {
    let values = option.get_default_values();
    if let Some(value) = values.first().filter(|_| option.get_action().takes_values()) {
        return Some(value.to_string_lossy().into_owned());
    }
    let help = option.get_help()?.to_string();
    Some(help.split_once("[default: ")?.1.split([']', ',']).next()?.to_owned())
}

/// Sizes and numbers are written in several ways.
fn same(one: &str, other: &str) -> bool {
    one == other || matches!((size::parse(one), size::parse(other)), (Ok(one), Ok(other)) if one == other)
}

#[test]
fn the_manual_has_every_option_with_its_default() {
    let mut command = crate::settings::command();
    command.build();
    let manual = manual();
    let mut names = BTreeSet::new();
    for option in command.get_arguments() {
        let Some(name) = option.get_long().filter(|name| !NOT_IN_THE_MANUAL.contains(name)) else { continue };
        names.insert(name);
        let written = manual.get(name).unwrap_or_else(|| panic!("--{name} is not in the manual"));
        let word = WORDS.iter().find(|(option, _)| *option == name).map(|(_, word)| (*word).to_owned());
        let default = word.or(default(option)).unwrap_or_else(|| panic!("--{name} has no default"));
        assert!(same(written, &default), "--{name}: the manual says {written}, it is {default}");
    }
    assert_eq!(names, manual.keys().map(String::as_str).collect(), "the manual's options exist");
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let options = Options::parse_from(["spoa-otel"]);
    let same = |one: &dyn fmt::Debug, other: &dyn fmt::Debug| assert_eq!(format!("{one:?}"), format!("{other:?}"));
    same(&options.receiver, &ReceiverConfig::default());
    same(&options.log_lines.listener, &ListenerConfig::default());
    same(&options.log_lines.lines, &LineConfig::default());
    same(&options.server, &ServerConfig::default());
    same(&options.tls, &TlsConfig::default());
    same(&options.admin_config, &AdminConfig::default());
    same(&options.export.recent, &RecentConfig::default());
    same(&options.red, &RedConfig::default());
    let console = ConsoleConfig::default();
    assert_eq!((options.export.console_quiet, options.export.console_bytes), (console.quiet, console.max_bytes));
    let queue = QueueConfig::default();
    assert_eq!((options.export.queue_bytes, options.export.batch_bytes), (queue.max_bytes, queue.batch_bytes));
    let (given, tracer) = (options.tracing, TracerConfig::default());
    assert_eq!((given.idle_timeout, given.max_lifetime), (tracer.idle_timeout, tracer.max_lifetime));
    assert_eq!(given.max_memory, tracer.max_memory);
}

#[test]
fn the_defaults_of_variables_are_told() {
    let (tracer, limits) = (TracerConfig::default(), SpanLimits::default());
    let told = |text: String| assert!(AFTER_HELP.contains(&text), "{text}");
    told(format!("OTEL_SERVICE_NAME (default {})", tracer.default_service));
    told(format!("_SPAN_LINK_COUNT_LIMIT (default {} each)", limits.max_links_per_span));
    let counts = [limits.max_attributes_per_span, limits.max_events_per_span, limits.max_attributes_per_event];
    assert_eq!([counts, [limits.max_attributes_per_link; 3]], [[limits.max_links_per_span; 3]; 2]);
    let (sampler, propagators) = ("parentbased_always_on", "tracecontext,baggage");
    told(format!("OTEL_TRACES_SAMPLER_ARG (default {sampler})"));
    told(format!("OTEL_PROPAGATORS (default {propagators};"));
    let mut given = TracerConfig::default();
    let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_PROPAGATORS", propagators)];
    let warnings = given.read_env(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    });
    assert_eq!((warnings, format!("{given:?}")), (Vec::new(), format!("{tracer:?}")));
}
