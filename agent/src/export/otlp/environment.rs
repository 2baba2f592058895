//! OpenTelemetry's variables about the collector. As it specifies, a value that cannot be used is ignored with a
//! warning; only an endpoint is worth an error, since spans would go nowhere, or elsewhere.

use super::config::{Compression, GivenBy, OtlpConfig, TlsFiles};
use super::endpoint::{Endpoint, Form};
use super::error::OtlpConfigError;
use super::protocol::Protocol;
use super::signal::Signal;
use crate::export::QueueConfig;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The variables that [`OtlpConfig::resolve`] reads.
pub const VARIABLES: &[&str] = &[
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
];

/// What the options say of the collector.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Base URL.
    pub endpoint: Option<&'a str>,
    /// Where the base URL is given.
    pub endpoint_by: By<'a>,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Where the protocol is given.
    pub protocol_by: By<'a>,
    /// Without any endpoint take OpenTelemetry's default, at localhost.
    pub or_default: bool,
    /// The queue and its batches as far as no variable says otherwise; without it the default.
    pub queue: Option<&'a QueueConfig>,
}

/// Where an option is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum By<'a> {
    /// On the command line, which comes before the variables.
    #[default]
    CommandLine,
    /// At this place in a configuration file, which comes after them.
    File(&'a str),
}

/// An option as it is given.
struct Stated<'a> {
    option: &'static str,
    value: String,
    by: By<'a>,
}

impl Stated<'_> {
    /// Its value, and its name for people.
    fn named(self) -> (String, String) {
        let name = match self.by {
            By::CommandLine => self.option.to_owned(),
            By::File(place) => format!("{place}: {}", self.option),
        };
        (name, self.value)
    }
}

/// The variables, those of a signal before the general ones.
pub(super) struct Variables<'a, E> {
    pub(super) env: E,
    pub(super) warnings: &'a mut Vec<String>,
    pub(super) signal: Signal,
}

/// What the general variables' names begin with.
const GENERAL: &str = "OTEL_EXPORTER_OTLP_";

impl<E: Fn(&str) -> Option<String>> Variables<'_, E> {
    /// An empty value is an unset one.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.env)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Those that are set, with their names.
    fn set(&self, suffix: &str) -> Vec<(String, String)> {
        self.set_or_given(suffix, None)
    }

    /// Those that are set, and the option as far as it is given, from the one that holds to the last. An option of the
    /// command line comes before the variables; but since it is of traces as well, the variables of metrics alone come
    /// before it.
    fn set_or_given(&self, suffix: &str, given: Option<Stated<'_>>) -> Vec<(String, String)> {
        let variable = |prefix: &str| {
            let name = format!("{prefix}{suffix}");
            self.get(&name).map(|value| (name, value))
        };
        let (own, general) = (variable(self.signal.prefix()), variable(GENERAL));
        let in_file = given.as_ref().is_some_and(|given| given.by != By::CommandLine);
        let option = given.map(Stated::named);
        let in_order = match self.signal {
            _ if in_file => [own, general, option],
            Signal::Traces => [option, own, general],
            Signal::Metrics => [own, option, general],
        };
        in_order.into_iter().flatten().collect()
    }

    /// The first with a usable value.
    fn parsed<T>(&mut self, suffix: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.set(suffix).into_iter().find_map(|(name, value)| self.usable(&name, parse(&value)))
    }

    /// A number in a variable of this name.
    pub(super) fn number(&mut self, name: &str, least: u64, expected: &str) -> Option<u64> {
        let value = self.get(name)?;
        self.usable(name, number(&value, least, expected))
    }

    pub(super) fn usable<T>(&mut self, name: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|reason| self.warnings.push(format!("{name}: {reason}; ignored"))).ok()
    }
}

pub(super) const MILLISECONDS: &str = "a number of milliseconds";

fn number(value: &str, least: u64, expected: &str) -> Result<u64, String> {
    value.parse().ok().filter(|&number| number >= least).ok_or_else(|| format!("{value:?} is not {expected}"))
}

fn boolean(value: &str) -> Result<bool, String> {
    value.to_ascii_lowercase().parse().map_err(|_| format!("{value:?} is neither true nor false"))
}

impl OtlpConfig {
    /// Configuration from the command line and from [`VARIABLES`] as `env` reads them (as a rule
    /// `|name| std::env::var(name).ok()`). `None` if no endpoint is given anywhere.
    ///
    /// # Errors
    /// The endpoint is malformed.
    pub fn resolve(
        given: Given<'_>,
        env: impl Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, OtlpConfigError> {
        let mut variables = Variables { env, warnings, signal: Signal::Traces };
        let Some(mut config) = Self::of_signal(given, &mut variables)? else { return Ok(None) };
        config.queue = given.queue.cloned().unwrap_or(config.queue);
        config.set_batching(&mut variables);
        Ok(Some(config))
    }

    /// What all signals have in common.
    pub(super) fn of_signal<E: Fn(&str) -> Option<String>>(
        given: Given<'_>,
        variables: &mut Variables<'_, E>,
    ) -> Result<Option<Self>, OtlpConfigError> {
        let signal = variables.signal;
        let protocol =
            |value: Protocol| Stated { option: "--otlp-protocol", value: value.to_string(), by: given.protocol_by };
        let protocols = variables.set_or_given("PROTOCOL", given.protocol.map(protocol));
        let usable = |(name, value): (String, String)| variables.usable(&name, Protocol::from_str(&value));
        let protocol = protocols.into_iter().find_map(usable).unwrap_or_default();
        let insecure = variables.parsed("INSECURE", boolean).unwrap_or(false);
        let default = if protocol == Protocol::Grpc { "http://localhost:4317" } else { "http://localhost:4318" };
        let endpoint = |value: &str| Stated { option: "--otlp", value: value.to_owned(), by: given.endpoint_by };
        let endpoints = variables.set_or_given("ENDPOINT", given.endpoint.map(endpoint));
        let (name, text) = match endpoints.into_iter().next() {
            Some(endpoint) => endpoint,
            None if given.or_default => (format!("{GENERAL}ENDPOINT"), default.to_owned()),
            None => return Ok(None),
        };
        let form = if name.starts_with(signal.prefix()) { Form::Complete } else { Form::Base };
        let of = (protocol, signal);
        let mut config = Self::at(Endpoint::parse(&name, &text, form, of, insecure)?, of);
        config.given_by.endpoint = name;
        if let Some((name, text)) = variables.set("HEADERS").into_iter().next() {
            for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
                if let Some((name, value)) = variables.usable(&name, header(pair)) {
                    config.headers.insert(name, value);
                }
            }
        }
        config.compression = variables.parsed("COMPRESSION", Compression::parse).flatten();
        let timeout = variables.parsed("TIMEOUT", |value| number(value, 0, MILLISECONDS));
        config.timeout = timeout.map_or(config.timeout, Duration::from_millis);
        config.set_files(variables);
        Ok(Some(config))
    }

    /// The variables of the batch span processor. An attempt ends after the shorter one of the two timeouts; zero is no
    /// limit.
    fn set_batching<E: Fn(&str) -> Option<String>>(&mut self, variables: &mut Variables<'_, E>) {
        let limit = variables.number("OTEL_BSP_EXPORT_TIMEOUT", 0, MILLISECONDS);
        if let Some(limit) = limit.filter(|&limit| limit > 0).map(Duration::from_millis) {
            self.timeout = if self.timeout.is_zero() { limit } else { self.timeout.min(limit) };
        }
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let queue = &mut self.queue;
        if let Some(delay) = variables.number("OTEL_BSP_SCHEDULE_DELAY", 0, MILLISECONDS) {
            queue.batch_delay = Duration::from_millis(delay);
        }
        if let Some(spans) = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 1, "a number from 1 on") {
            queue.max_spans = size(spans);
        }
        if let Some(spans) = variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, "a number from 1 on") {
            queue.batch_spans = size(spans);
        }
    }

    fn set_files<E: Fn(&str) -> Option<String>>(&mut self, variables: &Variables<'_, E>) {
        let file = |suffix: &str, given_by: &mut String| {
            let (name, path) = variables.set(suffix).into_iter().next()?;
            *given_by = name;
            Some(PathBuf::from(path))
        };
        let GivenBy { ca, client_certificate, client_key, .. } = &mut self.given_by;
        self.tls = TlsFiles {
            ca: file("CERTIFICATE", ca),
            client_certificate: file("CLIENT_CERTIFICATE", client_certificate),
            client_key: file("CLIENT_KEY", client_key),
        };
    }
}

/// Reads `name=value` with a percent-encoded value, which may be a secret: what is wrong is said without it.
fn header(pair: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err("a header without '=': expected name=value,name=value".to_owned());
    };
    let name = name.trim();
    let parsed = HeaderName::from_str(name).map_err(|_| {
        // As in `Authorization: Bearer dG9rZW4=`.
        let begin = name.split([':', ' ']).next().unwrap_or_default();
        format!("a header that begins with {begin:?} has no valid name: expected name=value,name=value")
    })?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok();
    let mut value = value
        .and_then(|value| HeaderValue::from_str(&value).ok())
        .ok_or_else(|| format!("the value of {parsed} is no header's value"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        endpoint: Option<&str>,
        protocol: Option<Protocol>,
        env: &[(&str, &str)],
    ) -> Result<Option<OtlpConfig>, OtlpConfigError> {
        let (config, warnings) = read(Given { endpoint, protocol, ..Given::default() }, env)?;
        assert_eq!(warnings, [""; 0]);
        Ok(config)
    }

    fn read(given: Given<'_>, env: &[(&str, &str)]) -> Result<(Option<OtlpConfig>, Vec<String>), OtlpConfigError> {
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let mut warnings = Vec::new();
        let config = OtlpConfig::resolve(given, lookup, &mut warnings)?;
        Ok((config, warnings))
    }

    fn url(endpoint: Option<&str>, protocol: Option<Protocol>, env: &[(&str, &str)]) -> String {
        let config = resolve(endpoint, protocol, env).unwrap().unwrap();
        config.url.to_string()
    }

    #[test]
    fn endpoint_rules() {
        assert!(resolve(None, None, &[]).unwrap().is_none());
        let empty = [("OTEL_EXPORTER_OTLP_ENDPOINT", " ")];
        assert!(resolve(None, None, &empty).unwrap().is_none());

        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318/x/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own/path");
        let grpc = Some(Protocol::Grpc);
        assert_eq!(url(None, None, &[base]), "http://base:4318/x/v1/traces");
        assert_eq!(url(None, None, &[base, traces]), "https://own/path");
        assert_eq!(url(None, grpc, &[base]), "http://base:4318/x/");
        let flag = Some("http://flag:1");
        assert_eq!(url(flag, None, &[base, traces]), "http://flag:1/v1/traces");
        assert_eq!(url(flag, grpc, &[base]), "http://flag:1/");
    }

    /// Flags, variables, file, default: in this order, and past what cannot be used.
    #[test]
    fn a_file_comes_after_the_variables() {
        let queue = QueueConfig { max_spans: 7, batch_spans: 8, ..QueueConfig::default() };
        let by_file = Given {
            endpoint: Some("http://file"),
            endpoint_by: By::File("c.toml:1"),
            protocol: Some(Protocol::HttpJson),
            protocol_by: By::File("c.toml:2"),
            queue: Some(&queue),
            ..Given::default()
        };
        let of = |given, env: &[(&str, &str)]| {
            let config = read(given, env).unwrap().0.unwrap();
            (config.url.to_string(), config.protocol, config.queue.max_spans, config.queue.batch_spans)
        };
        let of_file = ("http://file/v1/traces".to_owned(), Protocol::HttpJson, 7, 8);
        assert_eq!(of(by_file, &[]), of_file);
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "9"),
        ];
        assert_eq!(of(by_file, &env), ("http://variable/".to_owned(), Protocol::Grpc, 9, 8));
        let unusable = [("OTEL_EXPORTER_OTLP_PROTOCOL", "xml"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0")];
        assert_eq!(of(by_file, &unusable), of_file);
        let flag = Given { endpoint: Some("http://flag"), protocol: Some(Protocol::HttpProtobuf), ..Given::default() };
        assert_eq!(of(flag, &env), ("http://flag/v1/traces".to_owned(), Protocol::HttpProtobuf, 9, 512));
        let wrong = Given { endpoint: Some("file:1"), ..by_file };
        let error = OtlpConfig::resolve(wrong, |_| None, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("c.toml:1: --otlp: invalid URL"), "{error}");
    }

    #[test]
    fn variables_of_the_signal_win() {
        let config = resolve(
            Some("http://c"),
            None,
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, X-B=two%20%2C words ,"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
                ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
            ],
        )
        .unwrap()
        .unwrap();
        assert_eq!(config.protocol, Protocol::Grpc);
        assert_eq!(config.headers["a"], "1");
        assert_eq!(config.headers["x-b"], "two , words");
        assert_eq!(config.headers.len(), 2);
        assert_eq!(config.compression, Some(Compression::Zstd));
        assert_eq!(config.timeout, Duration::from_millis(1500));
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(
            config.tls,
            TlsFiles { ca: path("/ca.pem"), client_certificate: path("/c.pem"), client_key: path("/k.pem") }
        );
    }

    #[test]
    fn only_a_malformed_endpoint_is_an_error() {
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "must start with http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x", "must start with http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "invalid URL"),
        ] {
            let text = resolve(None, None, &[(name, value)]).unwrap_err().to_string();
            assert!(text.starts_with(name) && text.contains(expected), "{text}");
        }
        let text = resolve(Some("c:1"), None, &[]).unwrap_err().to_string();
        assert!(text.starts_with("--otlp: invalid URL \"c:1\""), "{text}");
    }

    #[test]
    fn unusable_values_are_ignored_with_a_warning() {
        for (name, value, expected) in [
            ("EXPORTER_OTLP_PROTOCOL", "http/xml", "expected http/protobuf, http/json or grpc"),
            ("EXPORTER_OTLP_HEADERS", "no-equals", "name=value,name=value"),
            ("EXPORTER_OTLP_HEADERS", "Authorization: Basic secret==", "\"Authorization\""),
            ("EXPORTER_OTLP_HEADERS", "key=%0Asecret", "the value of key"),
            ("EXPORTER_OTLP_COMPRESSION", "br", "unknown compression \"br\": expected gzip, zstd or none"),
            ("EXPORTER_OTLP_TIMEOUT", "1s", "milliseconds"),
            ("EXPORTER_OTLP_TIMEOUT", "-1", "milliseconds"),
            ("EXPORTER_OTLP_INSECURE", "yes", "neither true nor false"),
            ("BSP_SCHEDULE_DELAY", "-1", "milliseconds"),
            ("BSP_EXPORT_TIMEOUT", "soon", "milliseconds"),
            ("BSP_MAX_QUEUE_SIZE", "0", "a number from 1 on"),
            ("BSP_MAX_EXPORT_BATCH_SIZE", "many", "a number from 1 on"),
        ] {
            let name = format!("OTEL_{name}");
            let given = Given { endpoint: Some("http://c"), ..Given::default() };
            let (config, warnings) = read(given, &[(&name, value)]).unwrap();
            let [warning] = &warnings[..] else { panic!("{warnings:?}") };
            assert!(warning.starts_with(&name) && warning.contains(expected), "{warning}");
            assert!(warning.ends_with("ignored") && !warning.contains("secret"), "{warning}");
            let default = OtlpConfig::new("http://c", Protocol::default()).unwrap();
            let config = config.unwrap();
            assert_eq!((config.timeout, config.queue), (default.timeout, default.queue));
            assert!(config.headers.is_empty() && config.compression.is_none());
        }
        // What is malformed makes way for what is not.
        let (config, warnings) = read(
            Given { endpoint: Some("http://c"), ..Given::default() },
            &[
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "gRPC"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b,c=3"),
            ],
        )
        .unwrap();
        let config = config.unwrap();
        assert_eq!((config.protocol, config.headers.len(), warnings.len()), (Protocol::Grpc, 2, 2));
    }

    #[test]
    fn enumerations_have_no_case_and_zero_is_a_duration() {
        let of = |env: &[(&str, &str)]| resolve(Some("http://c"), None, env).unwrap().unwrap();
        for (text, protocol) in
            [("HTTP/Protobuf", Protocol::HttpProtobuf), ("http/JSON", Protocol::HttpJson), ("GRPC", Protocol::Grpc)]
        {
            assert_eq!(of(&[("OTEL_EXPORTER_OTLP_PROTOCOL", text)]).protocol, protocol);
        }
        let config = of(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0"), ("OTEL_BSP_SCHEDULE_DELAY", "0")]);
        assert_eq!((config.queue.batch_delay, config.attempt_limit()), (Duration::ZERO, config.max_age));
        // No limit is no shorter limit.
        for (one, other, millis) in [("0", "700", 700), ("700", "0", 700), ("900", "700", 700)] {
            let env = [("OTEL_EXPORTER_OTLP_TIMEOUT", one), ("OTEL_BSP_EXPORT_TIMEOUT", other)];
            assert_eq!(of(&env).attempt_limit(), Duration::from_millis(millis));
        }
        let config = of(&[("OTEL_BSP_EXPORT_TIMEOUT", "0")]);
        assert_eq!(config.attempt_limit(), Duration::from_secs(10), "that of OTEL_EXPORTER_OTLP_TIMEOUT");
    }

    #[test]
    fn without_an_endpoint_there_may_be_the_default_one() {
        for (protocol, expected) in [
            (None, "http://localhost:4318/v1/traces"),
            (Some(Protocol::HttpJson), "http://localhost:4318/v1/traces"),
            (Some(Protocol::Grpc), "http://localhost:4317/"),
        ] {
            let given = Given { protocol, or_default: true, ..Given::default() };
            let config = read(given, &[]).unwrap().0.unwrap();
            assert_eq!(config.url.to_string(), expected);
        }
    }

    #[test]
    fn grpc_without_a_scheme_is_as_secure_as_the_variable_says() {
        let grpc = Some(Protocol::Grpc);
        let (endpoint, insecure) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_INSECURE");
        let own = "OTEL_EXPORTER_OTLP_TRACES_INSECURE";
        assert_eq!(url(None, grpc, &[(endpoint, "c:4317")]), "https://c:4317/");
        assert_eq!(url(None, grpc, &[(endpoint, "c:4317"), (insecure, "TRUE")]), "http://c:4317/");
        assert_eq!(url(None, grpc, &[(endpoint, "c:4317"), (insecure, "true"), (own, "false")]), "https://c:4317/");
        assert_eq!(url(Some("c:1"), grpc, &[(insecure, "true")]), "http://c:1/");
        assert_eq!(url(Some("https://c:1"), grpc, &[(insecure, "true")]), "https://c:1/");
    }

    #[test]
    fn headers_replace_the_credentials_of_the_url() {
        let header = [("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20b")];
        let config = resolve(Some("http://me:pass@c"), None, &header).unwrap().unwrap();
        assert_eq!(config.headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer b"]);
        assert!(config.headers["authorization"].is_sensitive());
    }

    /// Whoever looks for a variable without effect has a complete list.
    #[test]
    fn all_variables_that_are_read_are_listed() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let env = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            None
        };
        let given = Given { endpoint: Some("http://c"), ..Given::default() };
        OtlpConfig::resolve(given, env, &mut Vec::new()).unwrap().unwrap();
        let listed = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(asked.into_inner().symmetric_difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
