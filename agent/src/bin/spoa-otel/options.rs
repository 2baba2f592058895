//! The command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser};
use spoa_otel::admin::AdminConfig;
use spoa_otel::export::QueueConfig;
use spoa_otel::export::console::ConsoleConfig;
use spoa_otel::export::otlp::{Given, MetricsConfig, OtlpConfig, OtlpConfigError, Protocol};
use spoa_otel::export::receiver::ReceiverConfig;
use spoa_otel::export::recent::RecentConfig;
use spoa_otel::passed::{Place, PlaceError};
use spoa_otel::red::RedConfig;
use spoa_otel::tracer::{SamplingRule, TracerConfig};
use spop_agent::ServerConfig;
use spop_agent::addr::{Addr, AddrError, ListenAddr};
use spop_agent::duration;
use spop_agent::generate::Generate;
use spop_agent::size;
use spop_agent::tls::TlsConfig;

use crate::environment::Destinations;
use crate::log::LogOptions;
use crate::log_lines::LogLineOptions;
use crate::origin::InFile;

/// Turns the events of HAProxy into OpenTelemetry spans: an SPOA that exports OTLP, and shows traces on the console.
#[derive(Parser)]
#[command(name = "spoa-otel", version = env!("SPOA_OTEL_VERSION"), after_help = AFTER_HELP)]
pub struct Options {
    /// Where HAProxy finds this agent: host:port[,tls], unix:/path[,mode=660,user=NAME,group=NAME], abns@name, or systemd:NAME[,tls]
    /// (sockets that systemd passes under this name); may be given several times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub listen: Vec<Place<ListenAddr>>,

    #[command(flatten)]
    pub tracing: TracingOptions,

    #[command(flatten)]
    pub export: ExportOptions,

    #[command(flatten, next_help_heading = "Metrics of requests")]
    pub red: RedConfig,

    #[command(flatten, next_help_heading = "Receiver")]
    pub receiver: ReceiverConfig,

    #[command(flatten)]
    pub log_lines: LogLineOptions,

    #[command(flatten, next_help_heading = "Connections")]
    pub server: ServerConfig,

    #[command(flatten, next_help_heading = "TLS")]
    pub tls: TlsConfig,

    /// Threads that serve HAProxy and the other peers (1 to 1024); few cost less CPU [default: half of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Connections")]
    pub workers: Option<u16>,

    /// Where the admin endpoints are: host:port[,tls] or systemd:NAME[,tls] for /metrics, /traces, /healthz and /readyz, or
    /// none. Without --admin-token-file or --admin-basic-file everybody may ask them
    #[arg(long, value_name = "ADDR|none", default_value = "127.0.0.1:9464", help_heading = "Admin")]
    pub admin: AdminAddr,

    #[command(flatten, next_help_heading = "Admin")]
    pub admin_config: AdminConfig,

    #[command(flatten)]
    pub log: LogOptions,

    #[command(flatten)]
    pub configuration: ConfigurationOptions,

    #[command(flatten)]
    pub generate: Generate,
}

/// Options that are no settings: a configuration file has all others.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigurationOptions {
    /// Configuration file in TOML with all options by their names, such as max-memory = "64MiB", and OTEL_ variables in a
    /// table [environment]. The command line comes first, then OTEL_ variables, then the file. SIGHUP
    /// has it read again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Look for mistakes in the command line, the variables, the configuration file and the files that these name; tell all
    /// of them and end: 0 if there are none, else 2. Nothing is listened on or connected to
    #[arg(long)]
    pub check: bool,

    /// Print all settings and where each comes from, as a configuration file, without secrets, and end
    #[arg(long)]
    pub print_config: bool,
}

const AFTER_HELP: &str = "\
Environment:
  OTEL_TRACES_EXPORTER (otlp, console, none, or a list; default otlp if there is an endpoint, else console)
  OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT, _PROTOCOL, _HEADERS, _COMPRESSION (gzip, zstd, none), _TIMEOUT,
      _INSECURE (true: gRPC without TLS if the endpoint has no scheme), _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY
      (a time in milliseconds, 0 is no limit; files in PEM)
  OTEL_METRICS_EXPORTER (otlp: metrics of requests go to the collector too; prometheus, none; default none)
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, _PROTOCOL, ... as above (they come before --otlp and --otlp-protocol),
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE (cumulative, delta, lowmemory; default cumulative)
  OTEL_METRIC_EXPORT_INTERVAL (default 60000), OTEL_METRIC_EXPORT_TIMEOUT (default 30000), in milliseconds
  OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_EXPORT_TIMEOUT
      (times in milliseconds; the options above win, and the shorter one of the two timeouts)
  OTEL_SERVICE_NAME (default haproxy), OTEL_RESOURCE_ATTRIBUTES
  OTEL_SDK_DISABLED (true: no spans; the caller's trace context is passed on)
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG (default parentbased_always_on)
  OTEL_PROPAGATORS (default tracecontext,baggage; also b3, b3multi, jaeger, none)
  OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, OTEL_LINK_ATTRIBUTE_COUNT_LIMIT,
      OTEL_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT, OTEL_SPAN_LINK_COUNT_LIMIT (default 128 each)
  OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT (default none)
  OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS (methods of log lines that are not _OTHER; default those of RFC 9110, PATCH, QUERY)
  OTEL_LOG_LEVEL (as --log-level)
  HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY (to the collector over HTTP, not over gRPC and not on this machine)
  NO_COLOR, CLICOLOR_FORCE
A value of an OTEL_ variable that cannot be used is ignored with a warning, except that of an endpoint or a file.

Exit status:
  0  stopped by SIGTERM, SIGINT or SIGUSR1 (SIGHUP reads the configuration again); the log says what became of every span.
     --check found no mistake
  1  cannot start: an address is in use, for instance; or the end took longer than --grace
  2  an option, an endpoint in a variable, the configuration file, or a file that one of them names cannot be used";

/// How spans are kept until they end.
#[derive(Args)]
#[command(next_help_heading = "Tracing")]
pub struct TracingOptions {
    /// End the spans of an id that had no event for so long; longer than your slowest request
    #[arg(long, value_name = "TIME", default_value = duration::text(TracerConfig::default().idle_timeout), value_parser = duration::parse)]
    idle_timeout: Duration,

    /// End the spans of an id that is open for so long
    #[arg(long, value_name = "TIME", default_value = duration::text(TracerConfig::default().max_lifetime), value_parser = duration::parse)]
    max_lifetime: Duration,

    /// Memory of all open ids; beyond it the least recently used ones are ended
    #[arg(long, value_name = "SIZE", default_value = size::text(TracerConfig::default().max_memory), value_parser = size::parse)]
    max_memory: usize,

    /// Most open spans of an id; further ones are not opened
    #[arg(long, value_name = "N", default_value_t = TracerConfig::default().max_spans_per_id)]
    max_spans_per_id: usize,

    /// Most spans that a NOTIFY opens and ends; further ones are not opened, and messages of further ids rejected
    #[arg(long, value_name = "N", default_value_t = TracerConfig::default().max_spans_per_notify)]
    max_spans_per_notify: usize,

    /// Most messages of a NOTIFY; further ones are rejected
    #[arg(long, value_name = "N", default_value_t = TracerConfig::default().max_messages_per_notify)]
    max_messages_per_notify: usize,

    /// Sampling rule, such as path=/healthz,ratio=0 or service=shop*,path=/api/*,rate=10/s; repeatable, the first that
    /// matches decides, else OTEL_TRACES_SAMPLER. It does not overrule a caller whose decision that sampler respects,
    /// unless it has parent=ignore
    #[arg(long, value_name = "RULE")]
    sample: Vec<SamplingRule>,
}

/// Where finished spans go.
#[derive(Args)]
#[command(next_help_heading = "Export")]
pub struct ExportOptions {
    /// OTLP collector, such as http://127.0.0.1:4318; /v1/traces is appended for HTTP unless the URL ends with it. For gRPC
    /// host:port is enough: with TLS unless OTEL_EXPORTER_OTLP_INSECURE is true
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    #[arg(long, value_name = "PROTOCOL")]
    #[arg(help = format!("Protocol of the collector: http/protobuf, http/json or grpc [default: {}]", Protocol::default()))]
    pub otlp_protocol: Option<Protocol>,

    #[arg(long, value_name = "N", value_parser = positive)]
    #[arg(help = format!(
        "Most spans that wait for the collector or are on their way to it; further ones are dropped \
         [env: OTEL_BSP_MAX_QUEUE_SIZE] [default: {}]",
        QueueConfig::default().max_spans
    ))]
    queue_spans: Option<usize>,

    /// Memory of these spans; further ones are dropped
    #[arg(long, value_name = "SIZE", default_value = size::text(QueueConfig::default().max_bytes), value_parser = size::parse)]
    queue_bytes: usize,

    #[arg(long, value_name = "N", value_parser = positive)]
    #[arg(help = format!(
        "Most spans in one request [env: OTEL_BSP_MAX_EXPORT_BATCH_SIZE] [default: {}]",
        QueueConfig::default().batch_spans
    ))]
    batch_spans: Option<usize>,

    /// Memory of spans from which on no further one joins their request; a collector that finds a request too large gets
    /// it in halves
    #[arg(long, value_name = "SIZE", default_value = size::text(QueueConfig::default().batch_bytes), value_parser = size::parse)]
    batch_bytes: usize,

    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    #[arg(help = format!(
        "How long a span waits for others to go with it [env: OTEL_BSP_SCHEDULE_DELAY] [default: {}]",
        duration::text(QueueConfig::default().batch_delay)
    ))]
    batch_delay: Option<Duration>,

    /// Spans that the collector could not take for so long are dropped
    #[arg(long, value_name = "TIME", default_value = duration::text(OtlpConfig::MAX_AGE), value_parser = duration::parse)]
    export_max_age: Duration,

    /// Print each finished trace as a tree; the default without a collector
    #[arg(long)]
    console: bool,

    /// It was said, on or off, by the command line or the file.
    #[arg(skip)]
    pub console_is_given: bool,

    /// Print a trace once it had no new and no open span for so long
    #[arg(long, value_name = "TIME", default_value = duration::text(ConsoleConfig::default().quiet), value_parser = duration::parse)]
    console_quiet: Duration,

    /// Memory of the spans whose traces are not printed yet; beyond it the oldest traces are printed early
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = size::parse)]
    console_bytes: usize,

    /// Receive OTLP/HTTP of other programs here, host:port[,tls] or systemd:NAME[,tls]: shown on the console and at /traces,
    /// forwarded to the collector
    /// [default: off]
    #[arg(long, value_name = "ADDR")]
    pub otlp_listen: Option<Place<TcpAddr>>,

    #[command(flatten)]
    recent: RecentConfig,
}

/// Where the admin endpoints are, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddr {
    /// Nowhere.
    Off,
    /// There.
    At(Place<TcpAddr>),
}

impl FromStr for AdminAddr {
    type Err = PlaceError<TcpAddrError>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(AdminAddr::Off);
        }
        text.parse().map(AdminAddr::At)
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddr::Off => f.write_str("none"),
            AdminAddr::At(addr) => addr.fmt(f),
        }
    }
}

/// Where HTTP is served, `host:port`, with TLS if `,tls` follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddr {
    pub addr: String,
    pub tls: bool,
}

impl FromStr for TcpAddr {
    type Err = TcpAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            ListenAddr { addr: Addr::Tcp(addr), tls, .. } => Ok(TcpAddr { addr, tls }),
            _ => Err(TcpAddrError::NotTcp),
        }
    }
}

impl fmt::Display for TcpAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.addr, if self.tls { ",tls" } else { "" })
    }
}

/// What is wrong with the text of such an address.
#[derive(Debug, thiserror::Error)]
pub enum TcpAddrError {
    #[error(transparent)]
    Addr(#[from] AddrError),
    #[error("HTTP is served over TCP only: write host:port, or none")]
    NotTcp,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "not a number above 0".to_owned())
}

/// Reads a variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl TracingOptions {
    pub fn config(&self, env: Env<'_>, warnings: &mut Vec<String>) -> TracerConfig {
        let mut config = TracerConfig::default();
        config.idle_timeout = self.idle_timeout;
        config.max_lifetime = self.max_lifetime;
        config.max_memory = self.max_memory;
        config.max_spans_per_id = self.max_spans_per_id;
        config.max_spans_per_notify = self.max_spans_per_notify;
        config.max_messages_per_notify = self.max_messages_per_notify;
        config.sampling_rules = self.sample.clone();
        warnings.extend(config.read_env(env));
        config
    }
}

impl ExportOptions {
    /// `None` without an endpoint, or if the environment chooses other destinations.
    pub fn otlp(
        &self,
        chosen: Option<Destinations>,
        env: Env<'_>,
        in_file: &InFile,
        warnings: &mut Vec<String>,
    ) -> Result<Option<OtlpConfig>, OtlpConfigError> {
        let is_flag = self.otlp.is_some() && !in_file.has("otlp");
        if !is_flag && chosen.is_some_and(|chosen| !chosen.otlp) {
            return Ok(None);
        }
        let or_default = chosen.is_some_and(|chosen| chosen.otlp);
        let queue = self.queue(QueueConfig::default(), |option| in_file.has(option));
        let given = Given { or_default, queue: Some(&queue), ..self.given(in_file) };
        let Some(mut config) = OtlpConfig::resolve(given, env, warnings)? else { return Ok(None) };
        config.queue = self.queue(config.queue, |option| !in_file.has(option));
        config.max_age = self.export_max_age;
        Ok(Some(config))
    }

    fn given<'a>(&'a self, in_file: &'a InFile) -> Given<'a> {
        Given {
            endpoint: self.otlp.as_deref(),
            endpoint_by: in_file.by("otlp"),
            protocol: self.otlp_protocol,
            protocol_by: in_file.by("otlp-protocol"),
            ..Given::default()
        }
    }

    /// With the options that are set, of those for which there are variables only some.
    fn queue(&self, queue: QueueConfig, some: impl Fn(&str) -> bool) -> QueueConfig {
        QueueConfig {
            max_spans: self.queue_spans.filter(|_| some("queue-spans")).unwrap_or(queue.max_spans),
            batch_spans: self.batch_spans.filter(|_| some("batch-spans")).unwrap_or(queue.batch_spans),
            batch_delay: self.batch_delay.filter(|_| some("batch-delay")).unwrap_or(queue.batch_delay),
            max_bytes: self.queue_bytes,
            batch_bytes: self.batch_bytes,
        }
    }

    /// Where metrics of requests are exported to.
    pub fn metrics(
        &self,
        env: Env<'_>,
        in_file: &InFile,
        warnings: &mut Vec<String>,
    ) -> Result<Option<MetricsConfig>, OtlpConfigError> {
        MetricsConfig::resolve(Given { or_default: true, ..self.given(in_file) }, env, warnings)
    }

    /// `None` if a collector is enough, an option wants none, or the environment chooses other destinations.
    pub fn console(
        &self,
        chosen: Option<Destinations>,
        in_file: &InFile,
        has_collector: bool,
    ) -> Option<ConsoleConfig> {
        // The environment comes before the file, and after the command line.
        let by_option = self.console_is_given && (chosen.is_none() || !in_file.has("console"));
        let is_wanted = match chosen {
            _ if by_option => self.console,
            Some(chosen) => chosen.console,
            None => !has_collector,
        };
        is_wanted.then(|| ConsoleConfig {
            quiet: self.console_quiet,
            max_bytes: self.console_bytes,
            ..ConsoleConfig::for_stdout()
        })
    }

    /// `None` if no trace is to be kept.
    pub fn recent(&self) -> Option<RecentConfig> {
        Some(self.recent.clone()).filter(|recent| recent.max_traces > 0)
    }
}

#[cfg(test)]
mod tests;
