//! `spoa-otel`: the tracing agent.

mod options;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use options::{LogFormat, Options};
use spop_agent::export::console::Console;
use spop_agent::export::otlp::OtlpExporter;
use spop_agent::export::receiver::{Receiver, ReceiverConfig, RequestSink};
use spop_agent::export::{Exporter, Pipeline};
use spop_agent::server::{stop_signal, Connection, Handler, HandlerError, Server};
use spop_agent::time::Timestamp;
use spop_agent::tracing::Tracer;
use spop_core::{AckEncoder, Messages};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// The table of open spans is swept at least so often.
const SWEEP: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = start_log(&options)
        .and_then(|()| Ok(tokio::runtime::Runtime::new()?))
        .and_then(|runtime| runtime.block_on(run(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spoa-otel: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(options: &Options) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&options.log_level)
        .map_err(|error| format!("--log-level {}: {error}", options.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

struct TracingHandler(Arc<Tracer>);

impl Handler for TracingHandler {
    fn notify(
        &self,
        _: &Connection,
        received: Timestamp,
        messages: Messages<'_>,
        ack: &mut AckEncoder<'_>,
    ) -> Result<(), HandlerError> {
        self.0.handle(messages, received, ack);
        Ok(())
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let tracer_config = options.tracing.config()?;
    if tracer_config.disabled {
        info!("OTEL_SDK_DISABLED: no spans; the callers' trace context is passed on");
    }
    let otlp = options.export.otlp()?.map(OtlpExporter::start).transpose()?.map(Arc::new);
    let console = options.export.console(otlp.is_some()).map(Console::stdout).transpose()?.map(Arc::new);
    let exporters: Vec<Arc<dyn Exporter>> =
        (otlp.iter().map(|e| e.clone() as _)).chain(console.iter().map(|e| e.clone() as _)).collect();
    let pipeline = Arc::new(Pipeline::new(exporters));
    let tracer = Arc::new(Tracer::new(tracer_config, pipeline.clone()));
    if let Some(console) = &console {
        let table = Arc::downgrade(&tracer);
        console.track_open_spans(table);
    }

    let grace = options.server.grace;
    let receiver = match options.export.otlp_listen {
        None => None,
        Some(addr) => {
            let mut sinks: Vec<Arc<dyn RequestSink>> = Vec::new();
            sinks.extend(console.iter().map(|console| console.clone() as Arc<dyn RequestSink>));
            sinks.extend(otlp.iter().map(|otlp| otlp.forwarder() as Arc<dyn RequestSink>));
            let receiver = Receiver::bind(addr, ReceiverConfig::default(), sinks)
                .await
                .map_err(|error| format!("--otlp-listen {addr}: {error}"))?;
            info!(addr = %receiver.local_addr(), kind = %"otlp", "listening");
            Some(receiver)
        }
    };
    let mut server = Server::new(options.server, TracingHandler(tracer.clone()));
    for addr in &options.listen {
        let bound = server.bind(addr).await.map_err(|error| format!("--listen {addr}: {error}"))?;
        info!(addr = %bound, kind = %"spop", "listening");
    }
    let stats = server.stats();

    let sweeper = tokio::spawn(sweep(tracer.clone()));
    server.run(stop).await;
    info!("stopping");
    sweeper.abort();
    tracer.shut_down(Timestamp::now());
    if let Some(receiver) = receiver {
        receiver.shutdown(grace).await;
    }
    let mut lost = 0;
    for (name, stats) in pipeline.shutdown(grace).await {
        info!(exporter = name, exported = stats.exported, dropped = stats.dropped(), "export ended");
        lost += stats.dropped();
    }
    for by in tracer.sampling_stats().iter().filter(|by| by.sampled + by.unsampled > 0) {
        info!(decided_by = by.decided_by, sampled = by.sampled, unsampled = by.unsampled, "traces");
    }
    let served = stats.snapshot();
    info!(connections = served.connections, notifies = served.notifies, acks = served.acks, "stopped");
    if lost > 0 {
        warn!(spans = lost, "some spans were not exported");
    }
    Ok(())
}

/// Ends what nobody ended in time.
async fn sweep(tracer: Arc<Tracer>) {
    loop {
        let wait = tracer.next_deadline().map_or(SWEEP, |at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(wait.clamp(Duration::from_millis(10), SWEEP)).await;
        tracer.sweep(Timestamp::now());
    }
}
