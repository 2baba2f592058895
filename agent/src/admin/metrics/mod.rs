//! `/metrics`: everything that is counted, in Prometheus's text format, or in that of OpenMetrics for who asks for it:
//! that one has exemplars.
//!
//! The figures are read when they are asked for. Families are declared beside their counters; those of the server are
//! here, since the runtime knows nothing of them.

mod accept;
mod families;
#[cfg(target_os = "linux")]
mod process;
mod server;
mod tls;
mod tracer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Endpoint;
use crate::export::console::{Console, ConsoleSnapshot};
use crate::export::otlp::Forwarder;
use crate::export::receiver::{Receiver, ReceiverSnapshot};
use crate::export::recent::{Recent, RecentSnapshot};
use crate::export::{ExportSnapshot, Pipeline};
use crate::http_server::{HttpSnapshot, HttpStats};
use crate::line::listener::{ListenerSnapshot, ListenerStats};
use crate::line::{LineStats, Lines};
use crate::red::{Red, RedSnapshot};
use crate::reloads::{ReloadSnapshot, Reloads};
use crate::tracer::Tracer;
use families::Families;
use spop_agent::ServerStats;
use spop_agent::tls::Tls;

/// What [`router`] serves.
pub const ENDPOINTS: &[Endpoint] = &[("/metrics", "what the agent counts, for Prometheus")];

/// Whose figures are exposed.
pub struct Sources {
    /// The SPOP server.
    pub server: Arc<ServerStats>,
    /// The tracer.
    pub tracer: Arc<Tracer>,
    /// The metrics of requests.
    pub red: Arc<Red>,
    /// The exporters.
    pub pipeline: Arc<Pipeline>,
    /// The console, which counts traces beside its spans.
    pub console: Option<Arc<Console>>,
    /// The recent traces, counted beside their spans.
    pub recent: Option<Arc<Recent>>,
    /// What takes HAProxy's log lines.
    pub lines: Option<Arc<Lines>>,
    /// The OTLP receiver.
    pub receiver: Option<Arc<Receiver>>,
    /// The forwarder of what is received.
    pub forwarder: Option<Arc<Forwarder>>,
    /// The listeners of log lines.
    pub log_listeners: Option<Arc<ListenerStats>>,
    /// The admin listener's own connections.
    pub admin: Arc<HttpStats>,
    /// The certificates of TLS listeners.
    pub tls: Option<Tls>,
    /// Lines of the log that nobody read in time.
    pub log_lines_lost: Arc<AtomicU64>,
    /// Reads of the configuration.
    pub reloads: Arc<Reloads>,
    /// The program's version.
    pub version: &'static str,
    /// The commit it was built from; empty if it is not known.
    pub commit: &'static str,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let build = [("version", self.version), ("commit", self.commit)];
        families.info("build", "The running program.", &build)?;
        families.metrics(&self.reloads.stats(), ReloadSnapshot::METRICS)?;
        server::encode(&self.server.snapshot(), &mut families)?;
        tracer::encode(self.tracer.stats(), self.tracer.sampling_stats(), &mut families)?;
        families.metrics(&self.red.stats(), RedSnapshot::METRICS)?;
        if let Some(lines) = &self.lines {
            families.metrics(&lines.stats(), LineStats::METRICS)?;
        }
        let mut exporters = self.pipeline.stats();
        exporters.extend(self.forwarder.iter().map(|forwarder| ("forward", forwarder.stats())));
        families.metrics_by("exporter", &exporters, ExportSnapshot::METRICS)?;
        let took = exporters.iter().map(|(name, stats)| ([("exporter", *name)], stats.request_durations));
        families.histograms("export_request_duration_seconds", "How long requests took.", took)?;
        if let Some(console) = &self.console {
            families.metrics(&console.console_stats(), ConsoleSnapshot::METRICS)?;
        }
        if let Some(recent) = &self.recent {
            families.metrics(&recent.recent_stats(), RecentSnapshot::METRICS)?;
        }
        let mut listeners = vec![("admin", self.admin.snapshot())];
        if let Some(receiver) = &self.receiver {
            let stats = receiver.stats();
            families.metrics(&stats, ReceiverSnapshot::METRICS)?;
            listeners.push(("otlp", stats.http));
        }
        families.metrics_by("listener", &listeners, HttpSnapshot::METRICS)?;
        if let Some(stats) = &self.log_listeners {
            families.metrics(&stats.snapshot(), ListenerSnapshot::METRICS)?;
        }
        let mut handshakes = vec![("spop", self.server.tls()), ("admin", self.admin.tls())];
        handshakes.extend(self.receiver.iter().map(|receiver| ("otlp", receiver.tls_stats())));
        handshakes.extend(self.log_listeners.iter().map(|listeners| ("log", listeners.tls())));
        tls::encode(&handshakes, self.tls.as_ref(), &mut families)?;
        let lost = self.log_lines_lost.load(Relaxed);
        families.counter("log_lines_lost", "Lines of the log that standard error did not take in time.", lost)
    }
}

/// The metrics of requests, whose names are OpenTelemetry's.
#[derive(Debug)]
struct Requests(Arc<Red>);

impl Collector for Requests {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.expose(encoder)
    }
}

/// Serves `/metrics`.
pub fn router(sources: Sources) -> Router {
    let mut registry = Registry::default();
    #[cfg(target_os = "linux")]
    registry.register_collector(Box::new(process::Process));
    registry.register_collector(Box::new(Requests(sources.red.clone())));
    registry.sub_registry_with_prefix("spoa").register_collector(Box::new(sources));
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(Scraped { registry: Arc::new(registry), answers: Arc::new(Semaphore::new(AT_ONCE)) })
}

/// With many series an answer takes some megabytes and milliseconds: so many of them are there at once, until they are
/// read, and none is made on a thread that serves HAProxy.
const AT_ONCE: usize = 4;

/// What the handler needs.
#[derive(Clone)]
struct Scraped {
    registry: Arc<Registry>,
    answers: Arc<Semaphore>,
}

/// A text that counts as an answer until all of it is written.
struct Answer {
    text: String,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

async fn metrics(State(Scraped { registry, answers }): State<Scraped>, headers: HeaderMap) -> Response {
    let open_metrics = accept::prefers_open_metrics(&headers);
    let Ok(permit) = answers.acquire_owned().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let write = move || {
        let mut text = String::new();
        let written = match open_metrics {
            true => text::encode(&mut text, &registry),
            false => prometheus_text::encode(&mut text, &registry),
        };
        written.map(|()| text).map_err(|error| error.to_string())
    };
    let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(error.to_string()));
    let content_type = if open_metrics { accept::OPEN_METRICS } else { prometheus_text::CONTENT_TYPE };
    match written {
        Ok(text) => {
            let body = Bytes::from_owner(Answer { text, _permit: permit });
            ([(CONTENT_TYPE, content_type), (VARY, "accept")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}
