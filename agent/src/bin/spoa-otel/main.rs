//! `spoa-otel`: the tracing agent.

#![forbid(unsafe_code)]

mod environment;
mod files;
mod log;
mod log_lines;
mod options;
mod report;
mod shutdown;

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;
use environment::Destinations;
use futures_util::FutureExt;
use log::Log;
use log_lines::LogLines;
use options::{AdminAddr, Options};
use shutdown::{Grace, Part};
use spoa_otel::admin::health::{self, Health};
use spoa_otel::admin::metrics::{self, Sources};
use spoa_otel::admin::traces;
use spoa_otel::admin::{Admin, Site};
use spoa_otel::export::console::Console;
use spoa_otel::export::otlp::OtlpExporter;
use spoa_otel::export::receiver::{Receiver, ReceiverConfig, RequestSink};
use spoa_otel::export::recent::Recent;
use spoa_otel::export::{Exporter, Pipeline};
use spoa_otel::line::listener::{ListenCause, ListenError};
use spoa_otel::red::{Red, RedExporter};
use spoa_otel::tracer::Tracer;
use spop_agent::time::Timestamp;
use spop_agent::{Ack, Handler, Notify, Server, stop_signal};
use tracing::{info, warn};

/// glibc's malloc would keep for ever what many connections took once.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The table of open spans is swept at least so often.
const SWEEP: Duration = Duration::from_secs(1);

/// At the end, requests to the admin endpoints have so long at most.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// The last lines of the log have so long at least, however short the grace time is.
const LAST_LINES: Duration = Duration::from_millis(250);

/// Exit status: it cannot start, or not go on.
const FAILED: u8 = 1;
/// Exit status: an option, a variable or a file that one of them names cannot be used.
const MISCONFIGURED: u8 = 2;

/// An error that ends with [`MISCONFIGURED`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misconfigured(Box<dyn Error>);

/// An end that took too long.
#[derive(Debug, thiserror::Error)]
#[error("not all was done within --grace")]
struct Overdue;

fn misconfigured(error: impl Into<Box<dyn Error>>) -> Misconfigured {
    Misconfigured(error.into())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let log = match Log::start(&options.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("spoa-otel: no thread for the log: {error}");
            return FAILED.into();
        }
    };
    let outcome = start_runtime(options.workers).and_then(|runtime| {
        let outcome = runtime.block_on(run(options, log.lost()));
        // A look-up of a name may hang in a thread of its own.
        runtime.shutdown_background();
        outcome
    });
    let (status, grace) = match outcome {
        Ok(grace) => (ExitCode::SUCCESS, grace.left(Part::Log)),
        Err(error) => {
            if tracing::enabled!(tracing::Level::ERROR) {
                let what = if error.is::<Overdue>() { "stopped" } else { "cannot start" };
                tracing::error!("{what}: {error}");
            } else {
                log.say(&format!("spoa-otel: {error}"));
            }
            let status = if error.is::<Misconfigured>() { MISCONFIGURED } else { FAILED };
            (status.into(), Duration::ZERO)
        }
    };
    log.flush(grace.max(LAST_LINES));
    status
}

fn start_runtime(workers: Option<u16>) -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        runtime.worker_threads(workers.into());
    }
    Ok(runtime.enable_all().build()?)
}

struct TracingHandler(Arc<Tracer>);

impl Handler for TracingHandler {
    fn notify(&self, notify: &Notify<'_>, ack: &mut Ack<'_>) -> spop_agent::Result {
        self.0.handle(notify.messages(), notify.received(), ack.encoder());
        Ok(())
    }
}

/// Serves until the end, and ends within the grace time whatever hangs.
async fn run(options: Options, log_lines_lost: Arc<AtomicU64>) -> Result<Grace, Box<dyn Error>> {
    let stop = stop_signal()?.shared();
    let (grace, stopped) = (options.server.grace, stop.clone());
    let overdue = async {
        stopped.await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        outcome = serve(options, stop, log_lines_lost) => outcome,
        () = overdue => Err(Overdue.into()),
    }
}

async fn serve(
    options: Options,
    stop: impl Future<Output = ()>,
    log_lines_lost: Arc<AtomicU64>,
) -> Result<Grace, Box<dyn Error>> {
    let tracer_config = options.tracing.config().map_err(misconfigured)?;
    if tracer_config.disabled {
        info!("OTEL_SDK_DISABLED: no spans; the callers' trace context is passed on");
    }
    let mut warnings = Vec::new();
    // A disabled SDK exports nothing.
    let exports_metrics = environment::exports_metrics(options::env, &mut warnings) && !tracer_config.disabled;
    warnings.extend(environment::without_effect(std::env::vars_os(), exports_metrics));
    let chosen = Destinations::chosen(options::env, &mut warnings);
    for warning in warnings {
        warn!("{warning}");
    }
    let otlp = options.export.otlp(chosen).map_err(misconfigured)?;
    let otlp = otlp.map(OtlpExporter::start).transpose().map_err(misconfigured)?.map(Arc::new);
    let console = options.export.console(chosen, otlp.is_some()).map(Console::stdout).transpose()?.map(Arc::new);
    // Nobody could look at the traces without the admin endpoints.
    let recent = options.export.recent().filter(|_| options.admin != AdminAddr::Off).map(Recent::new).map(Arc::new);
    let mut exporters: Vec<Arc<dyn Exporter>> = Vec::new();
    exporters.extend(otlp.iter().map(|otlp| otlp.clone() as Arc<dyn Exporter>));
    exporters.extend(console.iter().map(|console| console.clone() as Arc<dyn Exporter>));
    exporters.extend(recent.iter().map(|recent| recent.clone() as Arc<dyn Exporter>));
    let pipeline = Arc::new(Pipeline::new(exporters));
    let red = Arc::new(Red::new(&options.red));
    let metrics_config = if exports_metrics { options.export.metrics().map_err(misconfigured)? } else { None };
    let start = |config| RedExporter::start(&red, config, &tracer_config.default_service);
    let red_exporter = metrics_config.map(start).transpose().map_err(misconfigured)?;
    let tracer = Arc::new(Tracer::new(tracer_config, pipeline.clone()));
    if let Some(console) = &console {
        let table = Arc::downgrade(&tracer);
        console.track_open_spans(table);
    }

    // First, so that it can be watched how the others are bound.
    let admin = match &options.admin {
        AdminAddr::Off => None,
        AdminAddr::At(addr) => {
            let bound = Admin::bind(&addr.0, options.admin_config.clone()).await;
            Some(bound.map_err(|error| format!("--admin {addr}: {error}; give --admin another address, or none"))?)
        }
    };
    let receiver = match &options.export.otlp_listen {
        None => None,
        Some(addr) => {
            let mut sinks: Vec<Arc<dyn RequestSink>> = Vec::new();
            sinks.extend(console.iter().map(|console| console.clone() as Arc<dyn RequestSink>));
            sinks.extend(recent.iter().map(|recent| recent.clone() as Arc<dyn RequestSink>));
            sinks.extend(otlp.iter().map(|otlp| otlp.forwarder() as Arc<dyn RequestSink>));
            let reserved_files = options.server.reserved_files;
            let config = ReceiverConfig { reserved_files, ..options.receiver.clone() };
            let receiver = Receiver::bind(&addr.0, config, sinks)
                .await
                .map_err(|error| format!("--otlp-listen {addr}: {error}"))?;
            info!(addr = %receiver.local_addr(), kind = %"otlp", "listening");
            Some(Arc::new(receiver))
        }
    };
    let receivers = receiver.as_ref().map_or(0, |_| options.receiver.max_connections);
    let log_lines = LogLines::listen(options.log_lines, options.server.reserved_files, &tracer, &red);
    let log_lines = log_lines.await.map_err(cannot_listen)?;
    let log_connections = log_lines.as_ref().map_or(0, |lines| lines.max_connections);
    let connections = options.server.max_connections + receivers + log_connections;
    files::make_room(connections, options.server.reserved_files);
    let time = options.server.grace;
    let mut server_config = options.server;
    server_config.grace = Part::Connections.of(time);
    let mut server = Server::new(TracingHandler(tracer.clone())).config(server_config);
    let stats = server.stats();
    let health = Arc::new(Health::default());
    let admin = admin.map(|admin| {
        let sources = Sources {
            server: stats.clone(),
            tracer: tracer.clone(),
            red: red.clone(),
            pipeline: pipeline.clone(),
            console: console.clone(),
            recent: recent.clone(),
            lines: log_lines.as_ref().map(|lines| lines.lines.clone()),
            log_listeners: log_lines.as_ref().map(|lines| lines.listeners.stats()),
            receiver: receiver.clone(),
            forwarder: otlp.as_ref().map(|otlp| otlp.forwarder()),
            admin: admin.stats(),
            log_lines_lost: log_lines_lost.clone(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("SPOA_OTEL_COMMIT"),
        };
        let mut site = Site::new()
            .with(metrics::ENDPOINTS, metrics::router(sources))
            .with(health::ENDPOINTS, health::router(health.clone()));
        if let Some(recent) = recent {
            site = site.with(traces::ENDPOINTS, traces::router(recent));
        }
        info!(addr = %admin.local_addr(), kind = %"admin", "listening");
        admin.serve(site)
    });
    for addr in &options.listen {
        server = server.bind(addr).await.map_err(|error| format!("--listen {addr}: {error}"))?;
        let bound = server.addrs().next_back().map(tracing::field::display);
        info!(addr = bound, kind = %"spop", "listening");
    }
    health.ready();

    let sweeper = tokio::spawn(sweep(tracer.clone()));
    let mut grace = Grace::begin(time);
    server
        .run(async {
            stop.await;
            grace = Grace::begin(time);
            health.draining();
            info!(grace = ?time, "stopping");
        })
        .await;
    // They tell of requests that have ended meanwhile, too.
    if let Some(log_lines) = log_lines {
        log_lines.shutdown(grace.left(Part::LogLines)).await;
    }
    sweeper.abort();
    report::served(&stats.snapshot());
    tracer.shut_down(Timestamp::now());
    if let Some(receiver) = receiver {
        receiver.shutdown(grace.left(Part::Receiver)).await;
    }
    let left = grace.left(Part::Exporters);
    let stop_metrics = async {
        if let Some(exporter) = &red_exporter {
            exporter.shutdown(left).await;
        }
    };
    let (exports, ()) = tokio::join!(pipeline.shutdown(left), stop_metrics);
    let spans = tracer.stats();
    report::refused(&spans);
    report::not_whole(&spans);
    for (name, export) in &exports {
        report::accounts(&spans, name, export);
    }
    for by in tracer.sampling_stats().iter().filter(|by| by.sampled + by.unsampled > 0) {
        info!(decided_by = by.decided_by, sampled = by.sampled, unsampled = by.unsampled, "traces");
    }
    report::metrics(&red.stats());
    if let Some(admin) = admin {
        admin.shutdown(grace.left(Part::Admin).min(ADMIN_GRACE)).await;
    }
    report::log_lines_lost(log_lines_lost.load(Relaxed));
    info!("stopped");
    Ok(grace)
}

/// An address that nobody allowed is a mistake of the command line; one that is in use is not.
fn cannot_listen(error: ListenError) -> Box<dyn Error> {
    match error.cause {
        ListenCause::BeyondLoopback(_) => misconfigured(error).into(),
        _ => error.into(),
    }
}

/// Ends what nobody ended in time.
async fn sweep(tracer: Arc<Tracer>) {
    loop {
        let wait = tracer.next_deadline().map_or(SWEEP, |at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(wait.clamp(Duration::from_millis(10), SWEEP)).await;
        tracer.sweep(Timestamp::now());
    }
}
