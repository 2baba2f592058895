//! `spoa-otel`: the tracing agent.

#![forbid(unsafe_code)]

mod environment;
mod failure;
mod files;
mod journal;
mod listening;
mod log;
mod log_lines;
mod manual;
mod options;
mod origin;
mod parts;
mod reload;
mod report;
mod secrets;
mod settings;
mod shutdown;
mod stop;
mod systemd;

use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use failure::{Misconfigured, Overdue};
use futures_util::FutureExt;
use log::Log;
use parts::Parts;
use rustix::io::Errno;
use settings::{Mistake, Reading, Settings, Source};
use shutdown::{Grace, Part};
use spoa_otel::passed::PassedSockets;
use spop_agent::end_signal;
use tokio::signal::unix::{SignalKind, signal};

/// glibc's malloc would keep for ever what many connections took once.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The last lines of the log have so long at least, however short the grace time is.
const LAST_LINES: Duration = Duration::from_millis(250);

/// Exit status: it cannot start, or not go on.
const FAILED: u8 = 1;
/// Exit status: an option, a variable, the configuration file or a file that one of them names cannot be used.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let source = Source::of_process();
    let Reading { settings, mistakes, error } = match source.read() {
        Ok(reading) => reading,
        // It asked for help.
        Err(error) => error.exit(),
    };
    if let Some(error) = error {
        error.exit();
    }
    if let Some(wanted) =
        settings.as_ref().map(|settings| &settings.options.generate).filter(|wanted| wanted.is_wanted())
    {
        return match manual::generate(wanted) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("spoa-otel: {error}");
                FAILED.into()
            }
        };
    }
    let asked = settings.as_ref().map(|settings| &settings.options.configuration);
    if asked.is_some_and(|asked| asked.check) {
        let warnings = settings.iter().flat_map(|settings| &settings.plan.warnings);
        warnings.for_each(|warning| eprintln!("spoa-otel: warning: {warning}"));
    }
    match settings.filter(|_| mistakes.is_empty()) {
        None => {
            tell(&mistakes);
            let text: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
            systemd::failed(&text.join("; "), Some(Errno::INVAL));
            MISCONFIGURED.into()
        }
        Some(settings) if settings.options.configuration.print_config => {
            match io::stdout().write_all(settings::print(&settings).as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => FAILED.into(),
            }
        }
        Some(settings) if settings.options.configuration.check => ExitCode::SUCCESS,
        Some(settings) => start(&source, settings),
    }
}

fn tell(mistakes: &[Mistake]) {
    mistakes.iter().for_each(|mistake| eprintln!("spoa-otel: {mistake}"));
}

/// Serves until the end.
fn start(source: &Source, settings: Settings) -> ExitCode {
    // Before there are threads.
    let passed = PassedSockets::from_env();
    let log = match Log::start(&settings.options.log, settings.plan.log.clone()) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            eprintln!("spoa-otel: no thread for the log: {error}");
            return FAILED.into();
        }
    };
    let outcome = start_runtime(settings.options.workers).and_then(|runtime| {
        let outcome = runtime.block_on(run(source, settings, passed, &log));
        // A look-up of a name may hang in a thread of its own.
        runtime.shutdown_background();
        outcome
    });
    let (status, grace) = match outcome {
        Ok(grace) => (ExitCode::SUCCESS, grace.left(Part::Log)),
        Err(error) => {
            let what = if error.is::<Overdue>() { "stopped" } else { "cannot start" };
            let is_misconfigured = error.is::<Misconfigured>();
            let errno = systemd::errno(&*error).or(is_misconfigured.then_some(Errno::INVAL));
            systemd::failed(&format!("{what}: {error}"), errno);
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{what}: {error}");
            } else {
                log.say(&format!("spoa-otel: {error}"));
            }
            let status = if is_misconfigured { MISCONFIGURED } else { FAILED };
            (status.into(), Duration::ZERO)
        }
    };
    log.flush(grace.max(LAST_LINES));
    status
}

fn start_runtime(workers: Option<u16>) -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = workers.map_or_else(|| workers_beside_haproxy(cores()), usize::from);
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

/// HAProxy takes more of a machine than its agent does, and each of fewer threads has more to do when it wakes up.
const fn workers_beside_haproxy(cores: usize) -> usize {
    cores.div_ceil(2)
}

const _: () =
    assert!(workers_beside_haproxy(1) == 1 && workers_beside_haproxy(2) == 1 && workers_beside_haproxy(5) == 3);

/// Serves until the end, and ends within the grace time whatever hangs.
async fn run(source: &Source, settings: Settings, passed: PassedSockets, log: &Log) -> Result<Grace, Box<dyn Error>> {
    let stop = end_signal()?.shared();
    let hangup = signal(SignalKind::hangup())?;
    let (grace, stopped) = (settings.options.server.grace, stop.clone());
    let overdue = async {
        stopped.await;
        tokio::time::sleep(grace).await;
    };
    let serve = async { Ok(Parts::start(settings, passed, log).await?.serve(source, log, hangup, stop).await) };
    tokio::select! {
        biased;
        outcome = serve => outcome,
        () = overdue => Err(Overdue.into()),
    }
}
