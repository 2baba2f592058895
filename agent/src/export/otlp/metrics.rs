//! Metrics to the collector: where, how often, and the way for the requests of `opentelemetry-otlp`.
//!
//! Its exporter makes the requests; they are sent as those with spans are: over the same protocols, with the same TLS,
//! proxies, patience and advice. Its own HTTP clients would be a second stack that knows none of that.

use super::backoff::Backoff;
use super::config::OtlpConfig;
use super::endpoint;
use super::environment::{Given, MILLISECONDS, Variables};
use super::error::OtlpConfigError;
use super::failure::{Failure, FailureKind};
use super::payload::Payload;
use super::signal::Signal;
use super::transport::Transport;
use crate::worker::LONGEST_WAIT;
use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use spop_agent::ratelimit::{LogLimit, excerpt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How often metrics are exported.
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
/// How long an export may take, further attempts included.
const TIMEOUT: &str = "OTEL_METRIC_EXPORT_TIMEOUT";
/// Whether what is exported are sums since the beginning, or since the last export.
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// The variables that [`MetricsConfig::resolve`] reads and that are of metrics alone.
pub const METRICS_VARIABLES: &[&str] = &[
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    TEMPORALITY,
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    INTERVAL,
    TIMEOUT,
];

/// Where metrics go, and how often.
#[derive(Debug, Clone)]
pub struct MetricsConfig {
    /// The collector. Of spans, their queue and their batches it says nothing.
    pub otlp: OtlpConfig,
    /// Time from one export to the next.
    pub interval: Duration,
    /// Time for an export, further attempts included.
    pub timeout: Duration,
    /// Sums since the beginning, or since the last export.
    pub temporality: Temporality,
}

impl MetricsConfig {
    /// Configuration from the command line and from the variables of OTLP in general, of its metrics
    /// ([`METRICS_VARIABLES`]), and of their export. `None` if no endpoint is given anywhere.
    ///
    /// # Errors
    /// The endpoint is malformed.
    pub fn resolve(
        given: Given<'_>,
        env: impl Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, OtlpConfigError> {
        let mut variables = Variables { env, warnings, signal: Signal::Metrics };
        let Some(otlp) = OtlpConfig::of_signal(given, &mut variables)? else { return Ok(None) };
        let time = |millis: Option<u64>, default| millis.map_or(default, Duration::from_millis);
        let interval = variables.number(INTERVAL, 1, "a number of milliseconds from 1 on");
        let interval = time(interval, Duration::from_secs(60));
        let timeout = variables.number(TIMEOUT, 0, MILLISECONDS);
        let timeout = time(timeout, Duration::from_secs(30));
        let temporality = variables.get(TEMPORALITY);
        let temporality = temporality.and_then(|text| {
            let parsed = text.parse().map_err(|()| format!("{text:?} is not cumulative, delta or lowmemory"));
            variables.usable(TEMPORALITY, parsed)
        });
        Ok(Some(MetricsConfig { otlp, interval, timeout, temporality: temporality.unwrap_or_default() }))
    }

    /// Time for an export; zero is as long as the interval, since the next one has all that a cumulative one missed.
    pub(crate) fn limit(&self) -> Duration {
        let limit = if self.timeout.is_zero() { self.interval } else { self.timeout };
        limit.min(LONGEST_WAIT)
    }
}

/// Sends metrics to the collector.
#[derive(Debug)]
pub(crate) struct MetricsSender {
    exporter: MetricExporter,
    shared: Arc<Shared>,
}

impl MetricsSender {
    /// Prepares the connection; it is made when the first request needs it.
    pub(crate) fn new(config: &MetricsConfig) -> Result<Self, OtlpConfigError> {
        let mut otlp = config.otlp.clone();
        otlp.max_age = config.limit();
        otlp.timeout = otlp.attempt_limit().min(config.limit());
        let transport = Transport::new(&otlp)?;
        let url = endpoint::shown(&otlp.url);
        let backoff = Backoff::new(otlp.retry.clone());
        let endpoint = otlp.url.to_string();
        let shared = Shared {
            config: Arc::new(otlp),
            url,
            backoff,
            logs: Default::default(),
            told: false.into(),
            rejected: 0.into(),
        };
        let shared = Arc::new(shared);
        let exporter = MetricExporter::builder()
            .with_http()
            // As the requests come to the client; how they travel is its matter.
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_http_client(Client { transport, shared: shared.clone() })
            .with_retry_policy(RetryPolicy::disabled())
            .with_temporality(config.temporality)
            .build()
            .map_err(|error| shared.config.setup_error(error.to_string()))?;
        Ok(MetricsSender { exporter, shared })
    }

    /// The number of data points that the collector rejected; `None` if it did not take the request before the deadline.
    /// Why is in the log.
    pub(crate) async fn send(&self, metrics: &ResourceMetrics, deadline: Instant) -> Option<usize> {
        let start = Instant::now();
        self.shared.told.store(false, Relaxed);
        match timeout_at(deadline, self.exporter.export(metrics)).await {
            Ok(Ok(())) => Some(self.shared.rejected.swap(0, Relaxed)),
            Ok(Err(error)) => {
                // Of what it did not even give to the client, it tells nobody else.
                if !self.shared.told.load(Relaxed) {
                    self.shared.log(&Failure::new(FailureKind::Unmade, error.to_string()));
                }
                None
            }
            Err(_) => {
                let error = format!("not exported within {:?}", start.elapsed());
                self.shared.log(&Failure::new(FailureKind::Timeout, error));
                None
            }
        }
    }

    /// From now on little time is left.
    pub(crate) fn end_soon(&self) {
        self.shared.backoff.end_soon();
    }
}

#[derive(Debug)]
struct Shared {
    config: Arc<OtlpConfig>,
    backoff: Backoff,
    /// Where it is, for the log.
    url: String,
    logs: [LogLimit; FailureKind::COUNT],
    /// Of the present request: whether a failure was logged, or left out for its rate, and the data points rejected.
    told: AtomicBool,
    rejected: AtomicUsize,
}

impl Shared {
    fn log(&self, failure: &Failure) {
        self.told.store(true, Relaxed);
        let Some(times) = self.logs[failure.kind as usize].occurred(1) else { return };
        let Failure { error, retry_after, .. } = failure;
        let (url, hint) = (&self.url, failure.hint(&self.config));
        let retry_after = retry_after.map(tracing::field::debug);
        tracing::warn!(url, times, error, retry_after, "OTLP export of metrics fails{hint}");
    }

    /// Counts and tells what the collector says of metrics that it took.
    fn took(&self, says: &ExportTracePartialSuccess) {
        let rejected = usize::try_from(says.rejected_spans).unwrap_or(0);
        if rejected == 0 && says.error_message.is_empty() {
            return;
        }
        self.rejected.store(rejected, Relaxed);
        if let Some(times) = self.logs[FailureKind::Partial as usize].occurred(1) {
            let (url, says) = (&self.url, excerpt(says.error_message.as_bytes()));
            tracing::warn!(url, rejected, ?says, times, "the collector did not take all metrics, or has a remark");
        }
    }
}

/// Takes the requests of `opentelemetry-otlp`.
#[derive(Debug)]
struct Client {
    transport: Transport,
    shared: Arc<Shared>,
}

#[async_trait]
impl HttpClient for Client {
    /// Attempts until the collector took the metrics or refused them for good; who waits sets the limit.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Client { transport, shared } = self;
        let Shared { config, backoff, .. } = &**shared;
        // Headers and compression are ours, as are the variables that they come from.
        let payload = Payload::prepare(request.into_body(), 0, config).await?;
        loop {
            // There is one at a time: nobody else has to have a turn.
            let turn = backoff.turn(None).await;
            match transport.send(config, &payload).await {
                Ok(says) => {
                    let failures = turn.answered();
                    if failures > 0 {
                        tracing::info!(failures, "the collector takes metrics again");
                    }
                    shared.took(&says);
                    return Ok(Response::new(Bytes::new()));
                }
                Err(failure) => {
                    shared.log(&failure);
                    if failure.is_final() {
                        turn.answered();
                        return Err(failure.error.into());
                    }
                    turn.failed(failure.retry_after, 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::otlp::Protocol;

    fn resolve(given: Given<'_>, env: &[(&str, &str)]) -> (Option<MetricsConfig>, Vec<String>) {
        let lookup = |name: &str| env.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        let mut warnings = Vec::new();
        let config = MetricsConfig::resolve(given, lookup, &mut warnings).unwrap();
        (config, warnings)
    }

    #[test]
    fn what_is_of_metrics_alone_comes_before_the_options() {
        let given = Given {
            endpoint: Some("http://flag"),
            protocol: Some(Protocol::HttpJson),
            or_default: true,
            ..Given::default()
        };
        let general = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        let own = [
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own/path"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ];
        // They are of spans.
        let other =
            [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://no"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")];
        let none = Given { or_default: true, ..Given::default() };
        for (given, env, url, protocol) in [
            (none, &other[..], "http://localhost:4318/v1/metrics", Protocol::HttpProtobuf),
            (none, &[general, other].concat(), "http://base/", Protocol::Grpc),
            (given, &[general, other].concat(), "http://flag/v1/metrics", Protocol::HttpJson),
            (given, &[general, other, own].concat(), "http://own/path", Protocol::HttpProtobuf),
        ] {
            let (config, warnings) = resolve(given, env);
            let otlp = config.unwrap().otlp;
            assert_eq!((otlp.url.to_string().as_str(), otlp.protocol), (url, protocol));
            assert_eq!(warnings, [""; 0]);
        }
        assert!(resolve(Given::default(), &other).0.is_none(), "nowhere");
    }

    #[test]
    fn times_and_temporality() {
        let given = Given { or_default: true, ..Given::default() };
        let of = |env: &[(&str, &str)]| {
            let (config, warnings) = resolve(given, env);
            let config = config.unwrap();
            ((config.interval.as_millis(), config.limit().as_millis(), config.temporality), warnings)
        };
        let default = (60_000, 30_000, Temporality::Cumulative);
        assert_eq!(of(&[]), (default, Vec::new()));
        let set = [(INTERVAL, "5000"), (TIMEOUT, "700"), (TEMPORALITY, "Delta")];
        assert_eq!(of(&set), ((5_000, 700, Temporality::Delta), Vec::new()));
        assert_eq!(of(&[(TIMEOUT, "0")]).0.1, 60_000);
        for (name, value) in [(INTERVAL, "0"), (INTERVAL, "1m"), (TIMEOUT, "-1"), (TEMPORALITY, "sums")] {
            let (config, warnings) = of(&[(name, value)]);
            assert_eq!(config, default);
            assert!(warnings.len() == 1 && warnings[0].starts_with(name) && warnings[0].ends_with("; ignored"));
        }
    }

    /// Whoever looks for a variable without effect has a complete list.
    #[test]
    fn all_variables_that_are_read_are_listed() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let env = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            None
        };
        MetricsConfig::resolve(Given { or_default: true, ..Given::default() }, env, &mut Vec::new()).unwrap().unwrap();
        let asked = asked.into_inner();
        let own: Vec<_> = asked.iter().filter(|name| name.contains("METRIC")).collect();
        assert_eq!(own, METRICS_VARIABLES.iter().collect::<Vec<_>>());
        let general: Vec<_> = asked.iter().filter(|name| !name.contains("METRIC")).collect();
        assert!(general.len() == 9 && general.iter().all(|name| super::super::VARIABLES.contains(&name.as_str())));
    }
}
