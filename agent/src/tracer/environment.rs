//! The tracer's part of OpenTelemetry's environment variables.

use std::str::FromStr;
use std::sync::Arc;

use super::config::TracerConfig;
use super::propagation::Propagators;
use super::sampling::{Sampler, SamplerError};
use crate::resource;
use crate::semconv::SERVICE_NAME;

/// The variables that [`TracerConfig::read_env`] reads.
pub const VARIABLES: &[&str] = &[
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

impl TracerConfig {
    /// Sets what the environment says, as `env` reads it (as a rule `|name| std::env::var(name).ok()`); an empty
    /// variable is an unset one. Gives a warning for each value that cannot be used: as OpenTelemetry specifies, it
    /// is ignored.
    ///
    /// `OTEL_SDK_DISABLED`, `OTEL_SERVICE_NAME` (else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`),
    /// `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_PROPAGATORS`, and those of [`SpanLimits`]. The other
    /// attributes of `OTEL_RESOURCE_ATTRIBUTES` are the exporter's affair.
    ///
    /// [`SpanLimits`]: super::SpanLimits
    pub fn read_env(&mut self, env: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let env = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        if let Some(value) = env("OTEL_SDK_DISABLED") {
            self.disabled = value.eq_ignore_ascii_case("true");
            if !self.disabled && !value.eq_ignore_ascii_case("false") {
                warnings.push(format!("OTEL_SDK_DISABLED: {value:?} is neither true nor false, taken for false"));
            }
        }
        let attributes = env(resource::VARIABLE).map_or(Ok(Vec::new()), |text| resource::parse(&text));
        let attributes = attributes.unwrap_or_else(|error| {
            warnings.push(error.to_string());
            Vec::new()
        });
        let named = attributes.into_iter().rev().find(|(key, _)| key == SERVICE_NAME).map(|(_, name)| name);
        if let Some(name) = env("OTEL_SERVICE_NAME").or(named.filter(|name| !name.is_empty())) {
            self.default_service = Arc::from(name);
        }
        self.sampler = sampler(env("OTEL_TRACES_SAMPLER"), env("OTEL_TRACES_SAMPLER_ARG"), &mut warnings);
        self.propagators = propagators(env("OTEL_PROPAGATORS"), &mut warnings);

        let limits = &mut self.span_limits;
        let mut count = |names: &[&str], limit: &mut u32| set_number(names, limit, &env, &mut warnings);
        let all = "OTEL_ATTRIBUTE_COUNT_LIMIT";
        count(&["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", all], &mut limits.max_attributes_per_span);
        count(&["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", all], &mut limits.max_attributes_per_event);
        count(&["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", all], &mut limits.max_attributes_per_link);
        count(&["OTEL_SPAN_EVENT_COUNT_LIMIT"], &mut limits.max_events_per_span);
        count(&["OTEL_SPAN_LINK_COUNT_LIMIT"], &mut limits.max_links_per_span);
        let mut len = usize::MAX;
        let names = ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"];
        set_number(&names, &mut len, &env, &mut warnings);
        limits.max_value_len = (len != usize::MAX).then_some(len).or(limits.max_value_len);

        warnings.sort();
        warnings.dedup();
        warnings
    }
}

/// Sets a number to that of the first of these variables that has one.
fn set_number<T: FromStr>(
    names: &[&str],
    number: &mut T,
    env: &impl Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) {
    for name in names {
        let Some(value) = env(name) else { continue };
        match value.parse() {
            Ok(parsed) => {
                *number = parsed;
                return;
            }
            Err(_) => warnings.push(format!("{name}: {value:?} is not a number from 0 on, ignored")),
        }
    }
}

fn sampler(name: Option<String>, arg: Option<String>, warnings: &mut Vec<String>) -> Sampler {
    match Sampler::new(name.as_deref(), arg.as_deref()) {
        Ok(sampler) => sampler,
        Err(error) => {
            warnings.push(format!("{error}; ignored"));
            match error {
                SamplerError::Ratio(_) => Sampler::new(name.as_deref(), None).unwrap_or_default(),
                SamplerError::Unknown(_) => Sampler::default(),
            }
        }
    }
}

/// Those of a list that are known; the default if none is.
fn propagators(list: Option<String>, warnings: &mut Vec<String>) -> Propagators {
    let mut known = Vec::new();
    for name in list.iter().flat_map(|list| list.split(',')) {
        match Propagators::new(Some(name)) {
            Ok(_) => known.push(name),
            Err(error) => warnings.push(format!("{error}; ignored")),
        }
    }
    Propagators::new(Some(&known.join(","))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Format, SpanLimits};
    use super::*;

    fn read(env: &[(&str, &str)]) -> (TracerConfig, Vec<String>) {
        let mut config = TracerConfig::default();
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let warnings = config.read_env(lookup);
        (config, warnings)
    }

    fn quiet(env: &[(&str, &str)]) -> TracerConfig {
        let (config, warnings) = read(env);
        assert_eq!(warnings, [""; 0]);
        config
    }

    #[test]
    fn all_variables_that_are_read_are_listed() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let ask = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            None
        };
        TracerConfig::default().read_env(ask);
        let listed = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(asked.into_inner().symmetric_difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn the_name_of_the_service() {
        let (name, attributes) =
            (("OTEL_SERVICE_NAME", "own"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=by%20all"));
        assert_eq!(&*quiet(&[]).default_service, "haproxy");
        assert_eq!(&*quiet(&[attributes]).default_service, "by all");
        assert_eq!(&*quiet(&[attributes, name]).default_service, "own");
        assert_eq!(&*quiet(&[attributes, ("OTEL_SERVICE_NAME", " ")]).default_service, "by all");
        assert_eq!(&*quiet(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=")]).default_service, "haproxy");
        let (config, warnings) = read(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,b")]);
        assert_eq!(&*config.default_service, "haproxy");
        assert_eq!(warnings, ["OTEL_RESOURCE_ATTRIBUTES: \"b\" is not name=value; the whole variable is ignored"]);
    }

    #[test]
    fn the_specific_limit_comes_before_the_general_one() {
        assert_eq!(quiet(&[]).span_limits, SpanLimits::default());
        let (all, length) = (("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"));
        let limits = quiet(&[all, length]).span_limits;
        assert_eq!((limits.max_attributes_per_span, limits.max_attributes_per_event), (10, 10));
        assert_eq!((limits.max_attributes_per_link, limits.max_value_len), (10, Some(100)));
        let limits = quiet(&[
            all,
            length,
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "2"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "0"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "4"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", " 5 "),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "6"),
        ])
        .span_limits;
        let expected = SpanLimits {
            max_attributes_per_span: 1,
            max_attributes_per_event: 2,
            max_attributes_per_link: 0,
            max_events_per_span: 4,
            max_links_per_span: 5,
            max_value_len: Some(6),
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_bad_number_gives_way_to_the_next() {
        let (config, warnings) = read(&[
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "7"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1.5"),
        ]);
        let limits = config.span_limits;
        assert_eq!((limits.max_attributes_per_span, limits.max_events_per_span, limits.max_value_len), (7, 128, None));
        assert_eq!(
            warnings,
            [
                "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: \"-1\" is not a number from 0 on, ignored",
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: \"1.5\" is not a number from 0 on, ignored",
                "OTEL_SPAN_EVENT_COUNT_LIMIT: \"many\" is not a number from 0 on, ignored",
            ]
        );
        let (_, once) = read(&[("OTEL_ATTRIBUTE_COUNT_LIMIT", "x")]);
        assert_eq!(once.len(), 1, "though three limits ask for it");
    }

    #[test]
    fn only_true_disables() {
        for (value, disabled, warns) in [
            ("true", true, 0),
            ("TRUE", true, 0),
            ("False", false, 0),
            ("", false, 0),
            ("1", false, 1),
            ("yes", false, 1),
        ] {
            let (config, warnings) = read(&[("OTEL_SDK_DISABLED", value)]);
            assert_eq!((config.disabled, warnings.len()), (disabled, warns), "{value}");
        }
    }

    #[test]
    fn unknown_samplers_and_propagators_are_left_out() {
        let (config, warnings) = read(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "half")]);
        assert_eq!(format!("{:?}", config.sampler), format!("{:?}", Sampler::new(Some("traceidratio"), None).unwrap()));
        assert_eq!(warnings, ["OTEL_TRACES_SAMPLER_ARG: \"half\" is not a number from 0 to 1; ignored"]);

        let (config, warnings) = read(&[("OTEL_TRACES_SAMPLER", "xray"), ("OTEL_PROPAGATORS", "b3, ottrace ,jaeger")]);
        assert_eq!(format!("{:?}", config.sampler), format!("{:?}", Sampler::default()));
        assert_eq!(
            (config.propagators.formats(), config.propagators.baggage()),
            (&[Format::B3, Format::Jaeger][..], false)
        );
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("\"ottrace\"; supported are tracecontext") && warnings[0].ends_with("ignored"));
        assert!(warnings[1].contains("unknown sampler \"xray\""));

        assert_eq!(read(&[("OTEL_PROPAGATORS", "xray")]).0.propagators, Propagators::default());
        assert_eq!(quiet(&[("OTEL_PROPAGATORS", "none")]).propagators, Propagators::new(Some("none")).unwrap());
    }
}
