//! The rate, the errors and the durations of requests (RED), of every line of the log, whether its trace is sampled or
//! not: OpenTelemetry's `http.server.request.duration` and `http.client.request.duration`.
//!
//! The number of series is bounded; what is beyond it is counted in a series of its own, so that the sums stay right.

mod export;
mod expose;
mod labels;
mod meters;
mod side;
mod table;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::metric::metrics;
pub use crate::semconv::KNOWN_METHODS;
pub use export::{RedExporter, Replacement};
pub use labels::Measured;
use labels::{Key, Labels};
use meters::Meters;
use side::Side;
use table::Table;

/// Services that are told apart.
const MAX_SERVICES: usize = 64;

/// Bounds of the metrics of requests.
#[derive(Clone, Debug, clap::Args)]
pub struct RedConfig {
    /// Most series (sets of labels) of http.server.request.duration and http.client.request.duration together (1 to
    /// 10000); requests beyond are counted in one that says otel.metric.overflow
    #[arg(id = "metrics_max_series", long = "metrics-max-series", value_name = "N")]
    #[arg(default_value_t = Self::DEFAULT.max_series, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_series: u32,
}

impl RedConfig {
    const DEFAULT: Self = Self { max_series: 2_000 };
}

impl Default for RedConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

metrics! {
    /// What is counted of the metrics of requests themselves.
    snapshot RedSnapshot, counters Counters;
    Gauge "red_series" "Series of the metrics of requests." {
        /// Series, those of what is beyond the limit included.
        series,
    }
    Counter "red_overflowed" "Requests counted in the series of what is beyond --metrics-max-series." {
        /// Measurements that have no series of their own.
        overflowed,
    }
    Counter "red_export_requests" "Requests to the collector with the metrics of a service." by "result" {
        /// Those that the collector took.
        exported = "exported",
        /// Those that it did not take in time, or refused.
        failed = "failed",
    }
    Counter "red_export_points_rejected" "Series that the collector says it rejected." {
        /// Data points of requests that it took otherwise.
        rejected,
    }
}

/// Counts requests and their durations.
#[derive(Debug)]
pub struct Red {
    max_series: usize,
    state: Mutex<State>,
    counters: Arc<Counters>,
    /// With an exporter.
    meters: OnceLock<Arc<Meters>>,
}

#[derive(Debug, Default)]
struct State {
    server: Table,
    client: Table,
    services: HashSet<Box<str>>,
}

impl State {
    fn table(&mut self, side: Side) -> &mut Table {
        match side {
            Side::Server => &mut self.server,
            Side::Client => &mut self.client,
        }
    }

    fn series(&self) -> usize {
        self.server.len() + self.client.len()
    }

    /// Whether the service is one of those that are told apart, if only from now on.
    fn knows(&mut self, service: &str) -> bool {
        self.services.contains(service) || (self.services.len() < MAX_SERVICES && self.services.insert(service.into()))
    }
}

impl Red {
    /// Without any series yet.
    pub fn new(config: &RedConfig) -> Self {
        Red {
            max_series: config.max_series as usize,
            state: Mutex::default(),
            counters: Arc::default(),
            meters: OnceLock::new(),
        }
    }

    /// A request of a client.
    pub fn server(&self, service: &str, measured: &Measured<'_>) {
        self.measure(Side::Server, service, measured);
    }

    /// A request to a server.
    pub fn client(&self, service: &str, measured: &Measured<'_>) {
        self.measure(Side::Client, service, measured);
    }

    /// As good as never waited for: the requests come from one thread as a rule, and who reads takes copies.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, side: Side, service: &str, measured: &Measured<'_>) {
        let key = Key::of(service, measured);
        let mut state = self.state();
        if let Some(series) = state.table(side).find(&key) {
            return series.observe(measured);
        }
        let known = state.knows(key.service());
        let key = if known && state.series() < self.max_series {
            key
        } else {
            self.counters.overflowed.one();
            Key::overflow(if known { key.service() } else { "" })
        };
        let recorder = |labels: &Labels| self.meters.get().map(|meters| meters.recorder(side, labels));
        state.table(side).find_or_add(&key, recorder).observe(measured);
    }

    /// The present figures.
    pub fn stats(&self) -> RedSnapshot {
        let series = self.state().series() as u64;
        RedSnapshot { series, ..self.counters.snapshot() }
    }
}

#[cfg(test)]
mod tests {
    use super::labels::tests::GET;
    use super::side::BOUNDARIES;
    use super::*;
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::{prometheus_text, text};
    use prometheus_client::registry::Registry;
    use std::time::Duration;

    fn red(max_series: u32) -> Arc<Red> {
        Arc::new(Red::new(&RedConfig { max_series }))
    }

    #[derive(Debug)]
    struct Exposed(Arc<Red>);

    impl Collector for Exposed {
        fn encode(&self, encoder: prometheus_client::encoding::DescriptorEncoder<'_>) -> std::fmt::Result {
            self.0.expose(encoder)
        }
    }

    /// In Prometheus's format and in that of OpenMetrics.
    fn texts(red: &Arc<Red>) -> [String; 2] {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposed(red.clone())));
        let mut texts = [String::new(), String::new()];
        prometheus_text::encode(&mut texts[0], &registry).unwrap();
        text::encode(&mut texts[1], &registry).unwrap();
        texts
    }

    /// The value of a row.
    fn row(text: &str, name: &str) -> Option<String> {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()))
    }

    #[test]
    fn durations_are_counted_in_the_buckets_of_the_conventions() {
        let red = red(10);
        for millis in [5, 6, 10, 10_000, 10_001, 3_600_000] {
            red.server("proxy", &Measured { duration: Duration::from_millis(millis), ..GET });
        }
        let [text, _] = texts(&red);
        let name = "http_server_request_duration_seconds";
        let labels = "service_name=\"proxy\",http_request_method=\"GET\",http_response_status_code=\"200\",\
                      network_protocol_version=\"1.1\",url_scheme=\"http\"";
        for (le, count) in [("0.005", 1), ("0.01", 3), ("7.5", 3), ("10", 4), ("+Inf", 6)] {
            let found = row(&text, &format!("{name}_bucket{{{labels},le=\"{le}\"}}"));
            assert_eq!(found, Some(count.to_string()), "{le}: {text}");
        }
        assert_eq!(row(&text, &format!("{name}_count{{{labels}}}")).as_deref(), Some("6"));
        assert_eq!(row(&text, &format!("{name}_sum{{{labels}}}")).as_deref(), Some("3620.022"));
        assert_eq!(text.matches("_bucket{").count(), BOUNDARIES.len() + 1);
        assert!(!text.contains("http_client"), "{text}");
    }

    #[test]
    fn what_is_known_of_a_request_tells_series_apart() {
        let red = red(100);
        let server = Some(("s1.example", 8080));
        let all = [
            GET,
            Measured { method: "POST", ..GET },
            Measured { scheme: "https", ..GET },
            Measured { status: None, ..GET },
            Measured { error_type: Some("503"), ..GET },
            Measured { route: Some("/a/{id}"), ..GET },
            Measured { version: Some("2"), ..GET },
            Measured { server, ..GET },
            Measured { server: Some(("s1.example", 8081)), ..GET },
        ];
        for _ in 0..2 {
            all.iter().for_each(|measured| red.client("proxy", measured));
            red.client("other", &GET);
            red.server("proxy", &GET);
        }
        assert_eq!(red.stats(), RedSnapshot { series: all.len() as u64 + 2, ..RedSnapshot::default() });
        let [text, _] = texts(&red);
        let counts: Vec<_> = text.lines().filter(|line| line.contains("_count{")).collect();
        assert!(counts.len() == all.len() + 2 && counts.iter().all(|line| line.ends_with("} 2")), "{counts:?}");
        let labels = "server_address=\"s1.example\",server_port=\"8080\",url_scheme=\"http\"";
        assert!(text.contains(labels), "{text}");
    }

    #[test]
    fn exemplars_are_in_the_format_that_has_them() {
        let red = red(10);
        let ids = (opentelemetry::TraceId::from(7_u128), opentelemetry::SpanId::from(9_u64));
        red.server("proxy", &Measured { exemplar: Some(ids), ..GET });
        red.server("proxy", &Measured { duration: Duration::from_secs(2), ..GET });
        let [text, open] = texts(&red);
        assert!(!text.contains("trace_id"), "{text}");
        let exemplar = "# {trace_id=\"00000000000000000000000000000007\",span_id=\"0000000000000009\"} 0.02 ";
        let rows: Vec<_> = open.lines().filter(|line| line.contains(exemplar)).collect();
        assert!(rows.len() == 1 && rows[0].contains("le=\"0.025\""), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
    }

    #[test]
    fn beyond_the_limit_requests_are_counted_together() {
        let red = red(3);
        for status in 200..210 {
            red.server("proxy", &Measured { status: Some(status), ..GET });
        }
        red.client("proxy", &GET);
        red.server("proxy", &GET);
        // Three of their own, and one of each side.
        assert_eq!(red.stats(), RedSnapshot { series: 5, overflowed: 8, ..RedSnapshot::default() });
        let [text, _] = texts(&red);
        let overflow = "request_duration_seconds_count{service_name=\"proxy\",otel_metric_overflow=\"true\"}";
        assert_eq!(row(&text, &format!("http_server_{overflow}")).as_deref(), Some("7"), "{text}");
        assert_eq!(row(&text, &format!("http_client_{overflow}")).as_deref(), Some("1"), "{text}");
    }

    #[test]
    fn services_are_bounded_too() {
        let red = red(10_000);
        for service in 0..2 * MAX_SERVICES {
            red.server(&service.to_string(), &GET);
        }
        let (series, overflowed) = (MAX_SERVICES as u64 + 1, MAX_SERVICES as u64);
        assert_eq!(red.stats(), RedSnapshot { series, overflowed, ..RedSnapshot::default() });
        let [text, _] = texts(&red);
        let overflow = row(&text, "http_server_request_duration_seconds_count{otel_metric_overflow=\"true\"}");
        assert_eq!(overflow, Some(MAX_SERVICES.to_string()), "{text}");
    }
}
