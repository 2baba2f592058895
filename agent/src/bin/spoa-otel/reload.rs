//! SIGHUP: everything is read again, and what can change while HAProxy is served does. If anything is wrong nothing changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spoa_otel::export::otlp::Replacement;
use spoa_otel::export::receiver::ReceiverConfig;
use spoa_otel::line::listener::ListenerConfig;
use spoa_otel::reloads::Reloads;
use spop_agent::LiveConfig;
use spop_agent::time::Timestamp;
use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use crate::files;
use crate::log::Log;
use crate::settings::{Mistake, Reading, Settings, Source};
use crate::shutdown::Part;
use crate::stop::Running;
use crate::systemd;

/// Options that change; the others need a restart.
pub const LIVE: &[&str] = &[
    "admin-head-timeout",
    "admin-max-connections",
    "admin-max-per-peer",
    "admin-write-timeout",
    "batch-bytes",
    "batch-delay",
    "batch-spans",
    "connection-idle-timeout",
    "export-max-age",
    "half-frame-timeout",
    "handler-timeout",
    "hello-timeout",
    "idle-timeout",
    "keep-errors",
    "keep-slower-than",
    "log-filter",
    "log-idle-timeout",
    "log-level",
    "log-max-connections",
    "log-max-line",
    "log-max-per-peer",
    "log-phases",
    "max-buffered",
    "max-connections",
    "max-frame-size",
    "max-in-flight",
    "max-lifetime",
    "max-memory",
    "max-messages-per-notify",
    "max-reassembly",
    "max-spans-per-id",
    "max-spans-per-notify",
    "otlp",
    "otlp-protocol",
    "queue-bytes",
    "queue-spans",
    "receiver-body-timeout",
    "receiver-max-body",
    "receiver-max-connections",
    "receiver-max-decoded",
    "receiver-max-per-peer",
    "reserved-files",
    "sample",
    "write-timeout",
];

/// Variables that do not change.
pub const FIXED_VARIABLES: &[&str] = &[
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
    "OTEL_METRICS_EXPORTER",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
];

/// What holds of what cannot change: values of options and variables by their names.
pub struct Fixed(BTreeMap<String, String>);

impl Fixed {
    /// Of these settings.
    pub fn of(settings: &Settings) -> Self {
        let options = settings.values.iter().filter(|setting| !LIVE.contains(&&*setting.name));
        let options = options.map(|setting| (setting.name.clone(), setting.value.to_string()));
        let variables = FIXED_VARIABLES.iter().map(|name| {
            let value = settings.variables.get(name).unwrap_or_default();
            ((*name).to_owned(), value)
        });
        Self(options.chain(variables).collect())
    }

    /// Those that other settings have otherwise.
    fn changed_in<'s>(&'s self, new: &'s Self) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(|(name, value)| new.0.get(*name) != Some(value)).map(|(name, _)| &**name)
    }
}

/// Reads the settings again.
pub struct Reloader<'a> {
    pub source: &'a Source,
    pub log: &'a Log,
    pub running: &'a Running,
    pub server: LiveConfig,
    /// Of the running agent, which stays.
    pub grace: Duration,
    pub fixed: Fixed,
    pub reloads: Arc<Reloads>,
}

impl Reloader<'_> {
    /// At each of these signals, one after the other; those that come meanwhile are one more. Never ends by itself.
    pub async fn run(&self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            systemd::reloading().await;
            info!("SIGHUP: the configuration is read again");
            let source = self.source.clone();
            // A file may hang, which must not keep the agent from its end.
            let reading = tokio::task::spawn_blocking(move || source.read()).await;
            let reading = reading.map_err(|error| vec![Mistake::new(error)]);
            let reading = reading.and_then(|reading| reading.map_err(|error| vec![Mistake::new(error)]));
            // Many ids may be ended: others serve meanwhile.
            tokio::task::block_in_place(|| self.reload(reading));
            systemd::ready().await;
        }
        std::future::pending().await
    }

    fn reload(&self, reading: Result<Reading, Vec<Mistake>>) {
        match reading.and_then(|reading| self.apply(reading)) {
            Ok(()) => {
                self.reloads.succeeded();
                info!("the configuration is in use");
            }
            Err(mistakes) => {
                self.reloads.failed();
                mistakes.iter().for_each(|mistake| error!("{mistake}"));
                error!(mistakes = mistakes.len(), "the configuration is wrong: nothing changes");
            }
        }
    }

    /// Prepares all that can fail, then changes everything.
    fn apply(&self, reading: Reading) -> Result<(), Vec<Mistake>> {
        let settings = reading.settings.filter(|_| reading.mistakes.is_empty()).ok_or(reading.mistakes)?;
        let running = self.running;
        let mistake = |error: &dyn std::fmt::Display| vec![Mistake::new(error)];
        let fixed = Fixed::of(&settings);
        let Settings { options, plan, .. } = settings;
        let collector = match (&running.otlp, plan.otlp) {
            (Some(otlp), Some(config)) => Some((otlp, Replacement::new(config).map_err(|error| mistake(&error))?)),
            (None, None) => None,
            (has, _) => {
                let stays = if has.is_some() { "goes on" } else { "does not begin" };
                warn!("the export to a collector {stays}: it begins and ends with the agent; restart it");
                None
            }
        };
        let metrics = match (&running.red_exporter, plan.metrics) {
            (Some(exporter), Some(config)) => {
                Some((exporter, exporter.prepare(config).map_err(|error| mistake(&error))?))
            }
            (None, None) => None,
            (has, _) => {
                let stays = if has.is_some() { "goes on" } else { "does not begin" };
                warn!("the export of metrics {stays}: it begins and ends with the agent; restart it");
                None
            }
        };
        let changed: Vec<_> = self.fixed.changed_in(&fixed).collect();
        running.secrets.reload(&changed).map_err(|wrong| wrong.into_iter().map(Mistake::new).collect::<Vec<_>>())?;

        for warning in plan.warnings {
            warn!("{warning}");
        }
        for name in changed {
            warn!("{name} cannot change while the agent runs: it stays as it was, restart the agent");
        }
        self.log.set_filter(plan.log);
        running.tracer.reconfigure(plan.tracer, Timestamp::now());
        let reserved_files = options.server.reserved_files;
        let mut connections = options.server.max_connections;
        if let Some(lines) = &running.log_lines {
            let listener = ListenerConfig { reserved_files, ..options.log_lines.listener };
            connections += if lines.max_connections > 0 { listener.max_connections } else { 0 };
            lines.lines.reconfigure(options.log_lines.lines);
            lines.listeners.reconfigure(&listener);
        }
        if let Some(receiver) = &running.receiver {
            connections += options.receiver.max_connections;
            let credentials = running.secrets.otlp.clone();
            receiver.reconfigure(ReceiverConfig { reserved_files, credentials, ..options.receiver });
        }
        if let Some(admin) = &running.admin {
            admin.reconfigure(&options.admin_config);
        }
        files::make_room(connections, reserved_files);
        let mut server = options.server;
        server.grace = Part::Connections.of(self.grace);
        self.server.set(server);
        if let Some((otlp, replacement)) = collector {
            otlp.replace(replacement);
        }
        if let Some((exporter, replacement)) = metrics {
            exporter.replace(replacement);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first column of the table: names of options in code, of which no other has a hyphen or is one.
    #[test]
    fn the_manual_has_what_changes() {
        let mut command = crate::settings::command();
        command.build();
        let options: Vec<_> = crate::settings::settings_of(&command).filter_map(clap::Arg::get_long).collect();
        let manual = include_str!("../../../docs/configuration.md");
        let rows = manual.split("\n## Reload\n").nth(1).unwrap().lines().filter(|line| line.starts_with("| `"));
        let mut told: Vec<_> = rows
            .flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2))
            .filter(|name| options.contains(name))
            .collect();
        told.sort_unstable();
        assert_eq!(told, LIVE);
        assert!(LIVE.iter().all(|name| options.contains(name)));
        for name in FIXED_VARIABLES {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
            assert!(crate::environment::known().any(|known| known == name), "{name}");
        }
    }
}
