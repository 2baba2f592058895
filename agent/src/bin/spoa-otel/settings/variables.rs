//! OpenTelemetry's variables: those of the process, and those of the configuration file.

use std::collections::BTreeMap;

use spoa_otel::export::otlp::{self, MetricsConfig, OtlpConfig};
use spoa_otel::tracer::TracerConfig;

use super::file::{Entry, Given};
use super::mistake::{Mistake, did_you_mean};
use crate::environment::{self, Destinations, TRACES_EXPORTER};
use crate::log;
use crate::origin::Origin;

/// The options for which there are variables, of which the first that is set holds.
const COUNTERPARTS: [(&str, &[&str]); 7] = [
    ("otlp", &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
    ("otlp-protocol", &["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]),
    ("queue-spans", &["OTEL_BSP_MAX_QUEUE_SIZE"]),
    ("batch-spans", &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
    ("batch-delay", &["OTEL_BSP_SCHEDULE_DELAY"]),
    ("console", &[TRACES_EXPORTER]),
    ("log-level", &[log::VARIABLE]),
];

/// What is wrong with the value of a variable, if anything is.
fn complaint(name: &str, value: &str) -> Option<String> {
    let env = |other: &str| (other == name).then(|| value.to_owned());
    let mut complaints = TracerConfig::default().read_env(env);
    // With an endpoint, so that all variables are looked at; a wrong one is an error, and does not give way to the next.
    let given = otlp::Given { endpoint: Some("http://localhost"), ..otlp::Given::default() };
    let _ = OtlpConfig::resolve(given, env, &mut complaints);
    let _ = MetricsConfig::resolve(given, env, &mut complaints);
    Destinations::chosen(env, &mut complaints);
    environment::exports_metrics(env, &mut complaints);
    complaints.extend((name == log::VARIABLE).then(|| log::complaint(value)).flatten());
    complaints.into_iter().next()
}

/// The variables that hold.
#[derive(Debug, Default)]
pub struct Variables {
    /// By their names: the value in the file and its place.
    of_file: BTreeMap<&'static str, (String, String)>,
}

impl Variables {
    /// Those of the file's table, as far as they are known.
    pub fn new(entries: Vec<Entry>, mistakes: &mut Vec<Mistake>) -> Self {
        let mut of_file = BTreeMap::new();
        for Entry { key, place, value } in entries {
            let value = match value {
                Given::Switch(switch) => switch.to_string(),
                Given::Text(text) => text,
                Given::List(_) => {
                    mistakes.push(Mistake::at(place, format_args!("{key}: a variable has one value, a text")));
                    continue;
                }
            };
            match environment::known().find(|known| **known == key) {
                Some(name) => {
                    mistakes.extend(complaint(name, &value).map(|complaint| wrong(&place, &complaint)));
                    of_file.insert(*name, (value, place));
                }
                None => {
                    let advice = did_you_mean(&key, environment::known().copied());
                    mistakes.push(Mistake::at(place, format_args!("{key} is no variable of spoa-otel{advice}")));
                }
            }
        }
        Self { of_file }
    }

    /// The value of a variable: the process's own comes before that of the file, and an empty one is an unset one.
    pub fn get(&self, name: &str) -> Option<String> {
        let of_file = || self.of_file.get(name).map(|(value, _)| value.clone());
        of_process(name).or_else(of_file).filter(|value| !value.is_empty())
    }

    /// The place in the file of a variable that holds.
    pub fn place(&self, name: &str) -> Option<&str> {
        if of_process(name).is_some() {
            return None;
        }
        self.of_file.get(name).map(|(_, place)| &**place)
    }

    /// Those that are set, with where.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, String, Origin)> {
        let mut names: Vec<_> = environment::known().copied().collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| {
            let place = self.place(name).map(|place| Origin::File(place.to_owned()));
            Some((name, self.get(name)?, place.unwrap_or(Origin::Variable(name))))
        })
    }

    /// The variable that comes before what a file says of an option.
    pub fn counterpart(&self, option: &str) -> Option<&'static str> {
        let (_, names) = COUNTERPARTS.iter().find(|(of, _)| *of == option)?;
        names.iter().copied().find(|name| self.get(name).is_some_and(|value| complaint(name, &value).is_none()))
    }

    /// What the file has, for who asks for it by and by.
    pub fn of_file(&self) -> BTreeMap<String, String> {
        self.of_file.iter().map(|(name, (value, _))| ((*name).to_owned(), value.clone())).collect()
    }

    /// What is said of a variable, with its place if the file has it.
    pub fn mistake(&self, text: &str) -> Option<Mistake> {
        // The longest name: one may begin with another.
        let named = self.of_file.keys().filter(|name| text.starts_with(**name)).max_by_key(|name| name.len())?;
        Some(wrong(self.place(named)?, text))
    }
}

/// A file's value is not ignored.
fn wrong(place: &str, complaint: &str) -> Mistake {
    let text = complaint.strip_suffix("ignored").unwrap_or(complaint);
    Mistake::at(place, text.trim_end_matches([';', ',', ' ']))
}

fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
