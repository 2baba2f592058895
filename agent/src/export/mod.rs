//! Export of finished spans.
//!
//! [`Pipeline::submit`] hands a span to every configured [`Exporter`]. Each has
//! a queue of its own, bounded in spans and in bytes, and a task of its own
//! that does the I/O, so a slow destination delays neither the connections nor
//! the other exporters; what does not fit is dropped, counted by
//! [cause](DropCause) and logged at a limited rate.
//!
//! - [`otlp`]: to a collector, over OTLP/HTTP or OTLP/gRPC.
//! - [`console`]: as a tree of each finished trace on the terminal.
//! - [`recent`]: keeps the recent traces for the page `/traces`.
//! - [`receiver`]: takes OTLP from other processes into the console's trees and
//!   the recent traces, and forwards it to the collector.

pub(crate) mod axis;
pub mod console;
mod decoded_size;
pub(crate) mod duration;
pub(crate) mod finite;
pub(crate) mod heading;
pub mod otlp;
mod queue;
pub mod receiver;
pub mod recent;
pub(crate) mod request;
mod stats;
pub(crate) mod text;
pub(crate) mod tree;
mod weight;

pub use queue::QueueConfig;
pub use stats::{DropCause, ExportSnapshot, ExportStats, RequestDurations};

use crate::span::{FinishedSpan, SpanSink};
use crate::worker::deadline_after;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Future of [`Exporter::shutdown`].
pub type ShutdownFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A destination of finished spans.
pub trait Exporter: Send + Sync {
    /// Name for logs and metric labels.
    fn name(&self) -> &'static str;

    /// Takes spans, or counts them as dropped. Called from connection tasks:
    /// must neither block nor wait for I/O.
    fn submit(&self, spans: &[FinishedSpan]);

    /// The exporter's counters.
    fn stats(&self) -> ExportSnapshot;

    /// Takes no more spans, delivers what is queued until the deadline and
    /// counts the rest as [`DropCause::Shutdown`].
    fn shutdown(&self, deadline: Instant) -> ShutdownFuture<'_>;
}

/// All configured exporters.
#[derive(Default)]
pub struct Pipeline {
    exporters: Vec<Arc<dyn Exporter>>,
}

impl Pipeline {
    /// A pipeline to these exporters; without any, spans go nowhere.
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters }
    }

    /// Hands finished spans to every exporter. Never blocks.
    pub fn submit(&self, spans: &[FinishedSpan]) {
        for exporter in &self.exporters {
            exporter.submit(spans);
        }
    }

    /// Every exporter's name and counters.
    pub fn stats(&self) -> Vec<(&'static str, ExportSnapshot)> {
        self.exporters.iter().map(|exporter| (exporter.name(), exporter.stats())).collect()
    }

    /// Stops all exporters at once, waiting at most `grace` for what they have
    /// queued. Gives every exporter's final counters; what did not leave in
    /// time is in [`ExportSnapshot::dropped_shutdown`].
    pub async fn shutdown(&self, grace: Duration) -> Vec<(&'static str, ExportSnapshot)> {
        let deadline = deadline_after(grace);
        let stops = self.exporters.iter().map(|e| e.shutdown(deadline));
        futures_util::future::join_all(stops).await;
        let stats = self.stats();
        for (name, stats) in &stats {
            if stats.dropped_shutdown > 0 {
                tracing::warn!(exporter = name, spans = stats.dropped_shutdown, "spans lost at shutdown");
            }
        }
        stats
    }
}

impl SpanSink for Pipeline {
    fn submit(&self, spans: &[FinishedSpan]) {
        Pipeline::submit(self, spans);
    }
}
