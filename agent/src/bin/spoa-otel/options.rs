//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, ValueEnum};
use spop_agent::addr::Addr;
use spop_agent::duration;
use spop_agent::export::console::ConsoleConfig;
use spop_agent::export::otlp::{OtlpConfig, Protocol};
use spop_agent::server::ServerConfig;
use spop_agent::tracing::{SamplingRule, TracerConfig};

/// Turns the events of HAProxy into OpenTelemetry spans: an SPOA that exports OTLP, and shows traces on the console.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Options {
    /// Where HAProxy finds this agent: host:port, tcp://host:port or unix:/path; may be given several times
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub listen: Vec<Addr>,

    #[command(flatten)]
    pub tracing: TracingOptions,

    #[command(flatten)]
    pub export: ExportOptions,

    #[command(flatten, next_help_heading = "Connections")]
    pub server: ServerConfig,

    /// Least severe messages to log (error, warn, info, debug, trace), or a filter such as info,spop_agent::server=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = "Log")]
    pub log_level: String,

    /// Form of the log, which goes to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, help_heading = "Log")]
    pub log_format: LogFormat,
}

const AFTER_HELP: &str = "\
Environment:
  OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT, _PROTOCOL, _HEADERS, _COMPRESSION, _TIMEOUT,
      _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY
  OTEL_SERVICE_NAME (default haproxy), OTEL_RESOURCE_ATTRIBUTES
  OTEL_SDK_DISABLED (true: no spans; the caller's trace context is passed on)
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG (default parentbased_always_on)
  OTEL_PROPAGATORS (default tracecontext,baggage; also b3, b3multi, jaeger, none)
  OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, OTEL_LINK_ATTRIBUTE_COUNT_LIMIT,
      OTEL_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT, OTEL_SPAN_LINK_COUNT_LIMIT (default 128 each)
  OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT (default none)
  NO_COLOR, CLICOLOR_FORCE

Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot start, 2 for a wrong command line.";

/// How spans are kept until they end.
#[derive(Args)]
#[command(next_help_heading = "Tracing")]
pub struct TracingOptions {
    /// End the spans of an id that had no event for so long; longer than your slowest request
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration::parse)]
    idle_timeout: Duration,

    /// End the spans of an id that is open for so long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    max_lifetime: Duration,

    /// Memory of all open ids; beyond it the least recently used ones are ended
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_memory: ByteSize,

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
    /// OTLP collector, such as http://127.0.0.1:4318; /v1/traces is appended for HTTP
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// Protocol of the collector: http/protobuf or grpc [default: http/protobuf]
    #[arg(long, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<Protocol>,

    /// Print each finished trace as a tree; the default without a collector
    #[arg(long)]
    console: bool,

    /// Print a trace once it had no new and no open span for so long
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse)]
    console_quiet: Duration,

    /// Receive OTLP/HTTP of other programs here: shown on the console, forwarded to the collector [default: off]
    #[arg(long, value_name = "ADDR")]
    pub otlp_listen: Option<SocketAddr>,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl TracingOptions {
    pub fn config(&self) -> Result<TracerConfig, Box<dyn std::error::Error>> {
        let mut config = TracerConfig::default();
        config.idle_timeout = self.idle_timeout;
        config.max_lifetime = self.max_lifetime;
        config.max_memory = usize::try_from(self.max_memory.as_u64())?;
        config.sampling_rules = self.sample.clone();
        for warning in config.read_env(env) {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

impl ExportOptions {
    /// `None` without an endpoint.
    pub fn otlp(&self) -> Result<Option<OtlpConfig>, Box<dyn std::error::Error>> {
        Ok(OtlpConfig::resolve(self.otlp.as_deref(), self.otlp_protocol, env)?)
    }

    /// `None` if a collector is enough.
    pub fn console(&self, has_collector: bool) -> Option<ConsoleConfig> {
        (self.console || !has_collector)
            .then(|| ConsoleConfig { quiet: self.console_quiet, ..ConsoleConfig::for_stdout() })
    }
}
