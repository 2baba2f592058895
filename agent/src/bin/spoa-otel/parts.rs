//! The parts of the agent, put together and listening.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spoa_otel::admin::health::{self, Health};
use spoa_otel::admin::metrics::{self, Sources};
use spoa_otel::admin::traces;
use spoa_otel::admin::{Admin, AdminConfig, AdminServer, Site};
use spoa_otel::export::console::Console;
use spoa_otel::export::otlp::OtlpExporter;
use spoa_otel::export::receiver::{ReceiverConfig, RequestSink};
use spoa_otel::export::recent::Recent;
use spoa_otel::export::{Exporter, Pipeline};
use spoa_otel::line::listener::{ListenCause, ListenError};
use spoa_otel::passed::PassedSockets;
use spoa_otel::red::{Red, RedExporter};
use spoa_otel::reloads::Reloads;
use spoa_otel::tracer::Tracer;
use spop_agent::time::Timestamp;
use spop_agent::{Ack, Beat, Handler, Notify, Server, ServerStats};
use tokio::signal::unix::Signal;
use tracing::{info, warn};

use crate::failure::misconfigured;
use crate::files;
use crate::listening;
use crate::log::Log;
use crate::log_lines::LogLines;
use crate::options::AdminAddr;
use crate::reload::{Fixed, Reloader};
use crate::secrets::Secrets;
use crate::settings::{Settings, Source};
use crate::shutdown::{Grace, Part};
use crate::stop::Running;
use crate::systemd::{self, Vitals};

/// The table of open spans is swept at least so often.
const SWEEP: Duration = Duration::from_secs(1);

struct TracingHandler(Arc<Tracer>);

impl Handler for TracingHandler {
    fn notify(&self, notify: &Notify<'_>, ack: &mut Ack<'_>) -> spop_agent::Result {
        self.0.handle(notify.messages(), notify.received(), ack.encoder());
        Ok(())
    }
}

/// Where spans go.
struct Exporters {
    otlp: Option<Arc<OtlpExporter>>,
    console: Option<Arc<Console>>,
    recent: Option<Arc<Recent>>,
}

impl Exporters {
    fn start(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let (options, plan) = (&settings.options, &settings.plan);
        let otlp = plan.otlp.clone().map(OtlpExporter::start).transpose().map_err(misconfigured)?;
        let console = plan.console.clone().map(Console::stdout).transpose()?;
        // Nobody could look at the traces without the admin endpoints.
        let recent = options.export.recent().filter(|_| options.admin != AdminAddr::Off).map(Recent::new);
        Ok(Self { otlp: otlp.map(Arc::new), console: console.map(Arc::new), recent: recent.map(Arc::new) })
    }

    fn pipeline(&self) -> Arc<Pipeline> {
        let mut exporters: Vec<Arc<dyn Exporter>> = Vec::new();
        exporters.extend(self.otlp.iter().map(|otlp| otlp.clone() as Arc<dyn Exporter>));
        exporters.extend(self.console.iter().map(|console| console.clone() as Arc<dyn Exporter>));
        exporters.extend(self.recent.iter().map(|recent| recent.clone() as Arc<dyn Exporter>));
        Arc::new(Pipeline::new(exporters))
    }

    /// Where the requests of other programs go.
    fn sinks(&self) -> Vec<Arc<dyn RequestSink>> {
        let mut sinks: Vec<Arc<dyn RequestSink>> = Vec::new();
        sinks.extend(self.console.iter().map(|console| console.clone() as Arc<dyn RequestSink>));
        sinks.extend(self.recent.iter().map(|recent| recent.clone() as Arc<dyn RequestSink>));
        sinks.extend(self.otlp.iter().map(|otlp| otlp.forwarder() as Arc<dyn RequestSink>));
        sinks
    }
}

/// The agent, which listens everywhere.
pub struct Parts {
    server: Server,
    health: Arc<Health>,
    running: Running,
    /// Of `--grace`.
    grace: Duration,
    fixed: Fixed,
    reloads: Arc<Reloads>,
}

impl Parts {
    /// Sets up everything.
    ///
    /// # Errors
    /// An address cannot be listened on, or the terminal cannot be written to.
    pub async fn start(settings: Settings, mut passed: PassedSockets, log: &Log) -> Result<Self, Box<dyn Error>> {
        spoa_otel::environment::provide(settings.variables.of_file());
        if settings.plan.tracer.disabled {
            info!("OTEL_SDK_DISABLED: no spans; the callers' trace context is passed on");
        }
        for warning in &settings.plan.warnings {
            warn!("{warning}");
        }
        let (secrets, wrong) = Secrets::load(&settings.options);
        if let Some(error) = wrong.into_iter().next() {
            return Err(misconfigured(error).into());
        }
        let exporters = Exporters::start(&settings)?;
        let pipeline = exporters.pipeline();
        let fixed = Fixed::of(&settings);
        let Settings { options, plan, .. } = settings;
        let red = Arc::new(Red::new(&options.red));
        let start = |config| RedExporter::start(&red, config, &plan.tracer.default_service);
        let red_exporter = plan.metrics.map(start).transpose().map_err(misconfigured)?;
        let tracer = Arc::new(Tracer::new(plan.tracer, pipeline.clone()));
        if let Some(console) = &exporters.console {
            let table = Arc::downgrade(&tracer);
            console.track_open_spans(table);
        }

        // First, so that it can be watched how the others are bound.
        let admin = match &options.admin {
            AdminAddr::Off => None,
            AdminAddr::At(place) => {
                let config = AdminConfig { credentials: secrets.admin.clone(), ..options.admin_config.clone() };
                Some(listening::admin(place, config, secrets.tls.as_ref(), &mut passed).await?)
            }
        };
        let receiver = match &options.export.otlp_listen {
            None => None,
            Some(place) => {
                let reserved_files = options.server.reserved_files;
                let credentials = secrets.otlp.clone();
                let config = ReceiverConfig { reserved_files, credentials, ..options.receiver.clone() };
                let tls = secrets.tls.as_ref();
                let receiver = listening::receiver(place, config, tls, exporters.sinks(), &mut passed);
                Some(Arc::new(receiver.await?))
            }
        };
        let receivers = receiver.as_ref().map_or(0, |_| options.receiver.max_connections);
        let mut log_options = options.log_lines;
        log_options.listener.tls = secrets.tls.clone();
        let log_lines = LogLines::listen(log_options, options.server.reserved_files, &mut passed, &tracer, &red);
        let log_lines = log_lines.await.map_err(cannot_listen)?;
        let log_connections = log_lines.as_ref().map_or(0, |lines| lines.max_connections);
        let connections = options.server.max_connections + receivers + log_connections;
        files::make_room(connections, options.server.reserved_files);
        let grace = options.server.grace;
        let mut server_config = options.server;
        server_config.grace = Part::Connections.of(grace);
        let mut server = Server::new(TracingHandler(tracer.clone())).config(server_config);
        if let Some(tls) = &secrets.tls {
            server = server.tls(tls.clone());
        }
        let stats = server.stats();
        let health = Arc::new(Health::default());
        let mut running = Running {
            tracer,
            pipeline,
            otlp: exporters.otlp.clone(),
            red,
            red_exporter,
            receiver,
            log_lines,
            admin: None,
            stats,
            secrets,
            log_lines_lost: log.lost(),
        };
        let reloads = Arc::new(Reloads::started());
        running.admin = admin.map(|admin| serve_admin(admin, &running, &exporters, &health, &reloads));
        for place in &options.listen {
            server = listening::spop(server, place, &mut passed).await?;
        }
        listening::warn_of_unused(&passed);
        Ok(Self { server, health, running, grace, fixed, reloads })
    }

    /// Serves until the stop, then ends in good order: what is left of the grace time. Until then each hangup has the
    /// settings read again.
    pub async fn serve(self, source: &Source, log: &Log, hangup: Signal, stop: impl Future<Output = ()>) -> Grace {
        let Self { server, health, running, grace: time, fixed, reloads } = self;
        let live = server.live_config();
        let reloader = Reloader { source, log, running: &running, server: live, grace: time, fixed, reloads };
        health.ready();
        let pulse = server.pulse();
        let sweeper = tokio::spawn(sweep(running.tracer.clone(), pulse.beat()));
        let vitals = Vitals {
            stats: running.stats.clone(),
            tracer: running.tracer.clone(),
            pipeline: running.pipeline.clone(),
            pulse,
        };
        let telling = tokio::spawn(vitals.tell());
        let mut grace = Grace::begin(time);
        server
            .run(async {
                systemd::ready().await;
                tokio::select! {
                    () = stop => {}
                    () = reloader.run(hangup) => {}
                }
                grace = Grace::begin(time);
                tokio::spawn(systemd::stopping(time));
                health.draining();
                info!(grace = ?time, "stopping");
            })
            .await;
        running.stop(sweeper, grace).await;
        telling.abort();
        grace
    }
}

fn serve_admin(
    admin: Admin,
    running: &Running,
    exporters: &Exporters,
    health: &Arc<Health>,
    reloads: &Arc<Reloads>,
) -> AdminServer {
    let sources = Sources {
        server: running.stats.clone() as Arc<ServerStats>,
        tracer: running.tracer.clone(),
        red: running.red.clone(),
        pipeline: running.pipeline.clone(),
        console: exporters.console.clone(),
        recent: exporters.recent.clone(),
        lines: running.log_lines.as_ref().map(|lines| lines.lines.clone()),
        log_listeners: running.log_lines.as_ref().map(|lines| lines.listeners.stats()),
        receiver: running.receiver.clone(),
        forwarder: exporters.otlp.as_ref().map(|otlp| otlp.forwarder()),
        admin: admin.stats(),
        tls: running.secrets.tls.clone(),
        log_lines_lost: running.log_lines_lost.clone(),
        reloads: reloads.clone(),
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("SPOA_OTEL_COMMIT"),
    };
    let mut site = Site::new()
        .with(metrics::ENDPOINTS, metrics::router(sources))
        .with(health::ENDPOINTS, health::router(health.clone()));
    if let Some(recent) = &exporters.recent {
        site = site.with(traces::ENDPOINTS, traces::router(recent.clone()));
    }
    for addr in admin.addrs() {
        info!(%addr, kind = %"admin", "listening");
    }
    admin.serve(site)
}

/// An address that nobody allowed is a mistake of the settings; one that is in use is not.
fn cannot_listen(error: ListenError) -> Box<dyn Error> {
    match error.cause {
        ListenCause::BeyondLoopback(_) | ListenCause::NoCertificate | ListenCause::Passed(_) => {
            misconfigured(error).into()
        }
        _ => error.into(),
    }
}

/// Ends what nobody ended in time.
async fn sweep(tracer: Arc<Tracer>, mut beat: Beat) {
    loop {
        let wait = tracer.next_deadline().map_or(SWEEP, |at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = tokio::time::sleep(wait.clamp(Duration::from_millis(10), SWEEP)) => {}
            () = beat.answer() => {}
        }
        tracer.sweep(Timestamp::now());
    }
}
