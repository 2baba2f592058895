//! The end of the agent, part by part, and its account of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use spoa_otel::admin::AdminServer;
use spoa_otel::export::Pipeline;
use spoa_otel::export::otlp::OtlpExporter;
use spoa_otel::export::receiver::Receiver;
use spoa_otel::red::{Red, RedExporter};
use spoa_otel::tracer::Tracer;
use spop_agent::ServerStats;
use spop_agent::time::Timestamp;
use tokio::task::JoinHandle;
use tracing::info;

use crate::log_lines::LogLines;
use crate::report;
use crate::secrets::Secrets;
use crate::shutdown::{Grace, Part};

/// At the end, requests to the admin endpoints have so long at most.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// What goes on for a while when HAProxy is served no more.
pub struct Running {
    pub tracer: Arc<Tracer>,
    pub pipeline: Arc<Pipeline>,
    pub otlp: Option<Arc<OtlpExporter>>,
    pub red: Arc<Red>,
    pub red_exporter: Option<RedExporter>,
    pub receiver: Option<Arc<Receiver>>,
    pub log_lines: Option<LogLines>,
    pub admin: Option<AdminServer>,
    pub stats: Arc<ServerStats>,
    pub secrets: Secrets,
    /// Of the log itself.
    pub log_lines_lost: Arc<AtomicU64>,
}

impl Running {
    /// Ends everything, what feeds others before these.
    pub async fn stop(self, sweeper: JoinHandle<()>, grace: Grace) {
        // They tell of requests that have ended meanwhile, too.
        if let Some(log_lines) = self.log_lines {
            log_lines.shutdown(grace.left(Part::LogLines)).await;
        }
        sweeper.abort();
        report::served(&self.stats.snapshot());
        self.tracer.shut_down(Timestamp::now());
        if let Some(receiver) = self.receiver {
            receiver.shutdown(grace.left(Part::Receiver)).await;
        }
        let left = grace.left(Part::Exporters);
        let stop_metrics = async {
            if let Some(exporter) = &self.red_exporter {
                exporter.shutdown(left).await;
            }
        };
        let (exports, ()) = tokio::join!(self.pipeline.shutdown(left), stop_metrics);
        let spans = self.tracer.stats();
        report::refused(&spans);
        report::not_whole(&spans);
        for (name, export) in &exports {
            report::accounts(&spans, name, export);
        }
        for by in self.tracer.sampling_stats().iter().filter(|by| by.sampled + by.unsampled > 0) {
            info!(decided_by = by.decided_by, sampled = by.sampled, unsampled = by.unsampled, "traces");
        }
        report::metrics(&self.red.stats());
        if let Some(admin) = self.admin {
            admin.shutdown(grace.left(Part::Admin).min(ADMIN_GRACE)).await;
        }
        report::log_lines_lost(self.log_lines_lost.load(Relaxed));
        info!("stopped");
    }
}
