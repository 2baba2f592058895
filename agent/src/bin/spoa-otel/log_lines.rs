//! HAProxy's log lines, if they are listened for.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use spoa_otel::line::listener::{ListenError, ListenerConfig, Listeners};
use spoa_otel::line::{LineConfig, Lines};
use spoa_otel::passed::PassedSockets;
use spoa_otel::red::Red;
use spoa_otel::tracer::Tracer;
use tracing::info;

use crate::report;

/// Where lines come from, and what is made of them.
#[derive(Args)]
#[command(next_help_heading = "Log lines of HAProxy")]
pub struct LogLineOptions {
    #[command(flatten)]
    pub listener: ListenerConfig,

    #[command(flatten)]
    pub lines: LineConfig,
}

/// The listeners, and what takes their lines.
pub struct LogLines {
    pub lines: Arc<Lines>,
    pub listeners: Listeners,
    /// The most connections that there can be.
    pub max_connections: usize,
}

impl LogLines {
    /// `None` if no address is given.
    pub async fn listen(
        options: LogLineOptions,
        reserved_files: u64,
        passed: &mut PassedSockets,
        tracer: &Arc<Tracer>,
        red: &Arc<Red>,
    ) -> Result<Option<Self>, ListenError> {
        let config = ListenerConfig { reserved_files, ..options.listener };
        if config.listen.is_empty() {
            return Ok(None);
        }
        let max_connections = config.connections();
        let lines = Arc::new(Lines::new(options.lines, tracer.clone(), red.clone()));
        let listeners = Listeners::bind(config, passed, lines.clone()).await?;
        for addr in listeners.addrs() {
            info!(%addr, kind = %"log", "listening");
        }
        Ok(Some(Self { lines, listeners, max_connections }))
    }

    /// Takes what has arrived, for at most `grace`, and says what came.
    pub async fn shutdown(self, grace: Duration) {
        let stats = self.listeners.stats();
        self.listeners.shutdown(grace).await;
        report::lines_received(&stats.snapshot());
        report::lines_read(&self.lines.stats());
    }
}
