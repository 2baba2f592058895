//! What the settings come to: everything that is to be set up, and nothing set up yet.

use spoa_otel::export::console::ConsoleConfig;
use spoa_otel::export::otlp::{MetricsConfig, OtlpConfig, OtlpConfigError};
use spoa_otel::tracer::TracerConfig;
use tracing_subscriber::filter::Targets;

use super::mistake::Mistake;
use super::variables::Variables;
use crate::environment::{self, Destinations};
use crate::log;
use crate::options::Options;
use crate::origin::InFile;
use crate::secrets::Secrets;

/// What the options and the variables come to together.
pub struct Plan {
    pub tracer: TracerConfig,
    /// `None` without a collector.
    pub otlp: Option<OtlpConfig>,
    pub console: Option<ConsoleConfig>,
    /// `None` if metrics of requests are not exported.
    pub metrics: Option<MetricsConfig>,
    pub log: Targets,
    /// What has no effect, and what is ignored.
    pub warnings: Vec<String>,
}

impl Plan {
    /// A plan, and what is wrong. What cannot be used is left out.
    pub fn new(options: &Options, variables: &Variables, in_file: &InFile) -> (Self, Vec<Mistake>) {
        let env = |name: &str| variables.get(name);
        let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
        let tracer = options.tracing.config(&env, &mut warnings);
        let has_metrics = environment::exports_metrics(env, &mut warnings);
        // A disabled SDK exports nothing.
        let exports_metrics = has_metrics && !tracer.disabled;
        let of_file = variables.of_file().into_iter().map(|(name, value)| (name.into(), value.into()));
        let set = std::env::vars_os().chain(of_file);
        warnings.extend(environment::without_effect(set, has_metrics));
        let chosen = Destinations::chosen(env, &mut warnings);
        let otlp = options.export.otlp(chosen, &env, in_file, &mut warnings);
        let otlp = usable(otlp, |otlp| otlp, variables, &mut mistakes);
        let metrics = if exports_metrics { options.export.metrics(&env, in_file, &mut warnings) } else { Ok(None) };
        let metrics = usable(metrics, |metrics| &metrics.otlp, variables, &mut mistakes);
        let console = options.export.console(chosen, in_file, otlp.is_some());
        let level = env(log::VARIABLE);
        let log = options.log.filter(level.as_deref(), in_file.has("log-level"), &mut warnings);
        mistakes.extend(options.log_lines.listener.check().map_err(Mistake::new).err());
        // Read for good once there is a log.
        mistakes.extend(Secrets::load(options).1.into_iter().map(Mistake::new));
        // The environment of a process may have what is meant for others; a file of ours does not.
        warnings.retain(|warning| {
            let mistake = variables.mistake(warning);
            let is_warning = mistake.is_none();
            mistakes.extend(mistake);
            is_warning
        });
        (Self { tracer, otlp, console, metrics, log, warnings }, mistakes)
    }
}

/// What can be used: its files, too, are there.
fn usable<T>(
    resolved: Result<Option<T>, OtlpConfigError>,
    otlp: impl Fn(&T) -> &OtlpConfig,
    variables: &Variables,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    let checked = resolved.and_then(|config| {
        config.as_ref().map_or(Ok(()), |config| otlp(config).check())?;
        Ok(config)
    });
    checked.unwrap_or_else(|error| {
        let text = error.to_string();
        let mistake = variables.mistake(&text).unwrap_or_else(|| Mistake::new(text));
        // Of spans and of metrics alike.
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
        None
    })
}
