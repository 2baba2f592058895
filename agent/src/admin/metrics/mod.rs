//! `/metrics`: everything that is counted, in Prometheus's text format.
//!
//! The figures are read when they are asked for. The tracer's families are declared beside its counters; the other
//! snapshots are taken apart without `..`, so that a field that is not exposed does not compile.

mod export;
mod families;
#[cfg(target_os = "linux")]
mod process;
mod server;
mod tracer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use super::Endpoint;
use crate::export::Pipeline;
use crate::export::console::Console;
use crate::export::otlp::Forwarder;
use crate::export::receiver::Receiver;
use crate::export::recent::Recent;
use crate::http_server::HttpStats;
use crate::tracer::Tracer;
use families::Families;
use spop_agent::ServerStats;

/// What [`router`] serves.
pub const ENDPOINTS: &[Endpoint] = &[("/metrics", "what the agent counts, for Prometheus")];

/// Whose figures are exposed.
pub struct Sources {
    /// The SPOP server.
    pub server: Arc<ServerStats>,
    /// The tracer.
    pub tracer: Arc<Tracer>,
    /// The exporters.
    pub pipeline: Arc<Pipeline>,
    /// The console, which counts traces beside its spans.
    pub console: Option<Arc<Console>>,
    /// The recent traces, counted beside their spans.
    pub recent: Option<Arc<Recent>>,
    /// The OTLP receiver.
    pub receiver: Option<Arc<Receiver>>,
    /// The forwarder of what is received.
    pub forwarder: Option<Arc<Forwarder>>,
    /// The admin listener's own connections.
    pub admin: Arc<HttpStats>,
    /// Lines of the log that nobody read in time.
    pub log_lines_lost: Arc<AtomicU64>,
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
        server::encode(self.server.snapshot(), &mut families)?;
        tracer::encode(self.tracer.stats(), self.tracer.sampling_stats(), &mut families)?;
        let mut exporters = self.pipeline.stats();
        exporters.extend(self.forwarder.iter().map(|forwarder| ("forward", forwarder.stats())));
        export::exporters(&exporters, &mut families)?;
        let console = self.console.iter().map(|console| console.console_stats());
        console.into_iter().try_for_each(|stats| export::console(stats, &mut families))?;
        let recent = self.recent.iter().map(|recent| recent.recent_stats());
        recent.into_iter().try_for_each(|stats| export::recent(stats, &mut families))?;
        let receiver = self.receiver.as_ref().map(|receiver| receiver.stats());
        receiver.into_iter().try_for_each(|stats| export::receiver(stats, &mut families))?;
        let mut listeners = vec![("admin", self.admin.snapshot())];
        listeners.extend(receiver.map(|stats| ("otlp", stats.http)));
        server::http_listeners(&listeners, &mut families)?;
        let lost = self.log_lines_lost.load(Relaxed);
        families.counter("log_lines_lost", "Lines of the log that standard error did not take in time.", lost)
    }
}

/// Serves `/metrics`.
pub fn router(sources: Sources) -> Router {
    let mut registry = Registry::default();
    #[cfg(target_os = "linux")]
    registry.register_collector(Box::new(process::Process));
    registry.sub_registry_with_prefix("spoa").register_collector(Box::new(sources));
    Router::new().route("/metrics", get(metrics)).with_state(Arc::new(registry))
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match prometheus_text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
