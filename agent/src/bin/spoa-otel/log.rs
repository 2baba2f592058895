//! The log on standard error. Whoever reads that may be stuck; who writes a line does not wait for it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use spop_agent::size;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::journal;

/// OpenTelemetry's variable for the least severe messages.
pub const VARIABLE: &str = "OTEL_LOG_LEVEL";

/// The level that nobody chose.
const LEVEL: Level = Level::Info;

/// What is logged, and in which form.
#[derive(Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    #[arg(long = "log-level", value_name = "LEVEL", value_enum, ignore_case = true)]
    #[arg(help = format!("Least severe messages to log [env: {VARIABLE}] [default: {}]", LevelFilter::from(LEVEL)))]
    level: Option<Level>,

    /// Another level for a part of the program, such as spop_agent=debug; repeatable
    #[arg(long = "log-filter", value_name = "PART=LEVEL", value_delimiter = ',', value_parser = part)]
    parts: Vec<(String, Level)>,

    /// Form of the log, which goes to standard error
    #[arg(long = "log-format", value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Memory of the lines that standard error does not take; beyond it the oldest are lost
    #[arg(long = "log-buffer", value_name = "SIZE", default_value = "1MiB", value_parser = size::parse)]
    buffer: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Level {
    Off,
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people; with priorities and without times if the journal of systemd reads them.
    Text,
    /// A JSON object a line.
    Json,
}

fn part(text: &str) -> Result<(String, Level), String> {
    let Some((part, level)) = text.split_once('=').filter(|(part, _)| !part.is_empty()) else {
        return Err("not PART=LEVEL, such as spop_agent=debug".to_owned());
    };
    let level = Level::from_str(level, true);
    Ok((part.to_owned(), level.map_err(|_| "the level is none of off, error, warn, info, debug, trace".to_owned())?))
}

impl LogOptions {
    /// What is logged. `variable`: the value of [`VARIABLE`]; the option comes before it unless a file has it.
    pub fn filter(&self, variable: Option<&str>, in_file: bool, warnings: &mut Vec<String>) -> Targets {
        let by_variable = variable.and_then(level);
        warnings.extend(variable.and_then(complaint));
        let level = if in_file { by_variable.or(self.level) } else { self.level.or(by_variable) }.unwrap_or(LEVEL);
        // What fails there is told by us, with what to do, and at a limited rate.
        let quiet = [("opentelemetry-otlp", Level::Off), ("opentelemetry_sdk", level.min(Level::Warn))];
        Targets::new().with_default(level).with_targets(quiet).with_targets(self.parts.clone())
    }
}

fn level(text: &str) -> Option<Level> {
    Level::from_str(text, true).ok()
}

/// What is wrong with the variable's value, if it is no level.
pub fn complaint(value: &str) -> Option<String> {
    let text = || format!("{VARIABLE}={value}: not off, error, warn, info, debug or trace; ignored");
    level(value).is_none().then(text)
}

/// The log of the program.
pub struct Log {
    lines: Arc<Lines>,
    filter: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Logs from now on, panics too.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(options: &LogOptions, filter: Targets) -> io::Result<Self> {
        let lines = Lines::to(io::stderr(), options.buffer)?;
        let (filter, handle) = reload::Layer::new(filter);
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
        let layer = match options.format {
            Format::Text if journal::reads_stderr() => {
                layer.with_ansi(false).event_format(journal::Lines::new()).with_filter(filter).boxed()
            }
            Format::Text => {
                layer.with_ansi(io::stderr().is_terminal() && !anstyle_query::no_color()).with_filter(filter).boxed()
            }
            Format::Json => layer.json().with_filter(filter).boxed(),
        };
        tracing_subscriber::registry().with(layer).init();
        std::panic::set_hook(Box::new(|panic| {
            let backtrace = Backtrace::capture();
            match backtrace.status() {
                BacktraceStatus::Captured => tracing::error!("{panic}\n{backtrace}"),
                _ => tracing::error!("{panic}"),
            }
        }));
        Ok(Log { lines, filter: handle })
    }

    /// Counts the lines that were lost.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lines.lost.clone()
    }

    /// Logs something else from now on.
    pub fn set_filter(&self, filter: Targets) {
        // Fails when there is no log any more.
        let _ = self.filter.reload(filter);
    }

    /// Adds a line whatever the levels are.
    pub fn say(&self, text: &str) {
        self.lines.add(format!("{text}\n").as_bytes());
    }

    /// Waits until everything is written, for so long at most.
    pub fn flush(&self, timeout: Duration) {
        self.lines.flush(timeout);
    }
}

/// The lines that wait.
#[derive(Default)]
struct Lines {
    limit: usize,
    state: Mutex<State>,
    added: Condvar,
    written: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<[u8]>>,
    /// Of what waits and what is being written.
    bytes: usize,
}

impl Lines {
    fn to(output: impl Write + Send + 'static, limit: usize) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Lines { limit, ..Lines::default() });
        let of_thread = lines.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_to(output))?;
        Ok(lines)
    }

    fn flush(&self, timeout: Duration) {
        let state = self.lock();
        let unfinished = |state: &mut State| state.bytes > 0;
        // What standard error does not take now, nobody can be told of.
        drop(self.written.wait_timeout_while(state, timeout, unfinished));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line; the oldest make room for it, so that the last ones, the account of all spans, come out.
    fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        let mut lost = 0;
        let fits = cost(line) <= self.limit;
        while fits && state.bytes.saturating_add(cost(line)) > self.limit {
            let Some(oldest) = state.waiting.pop_front() else { break };
            state.bytes -= cost(&oldest);
            lost += 1;
        }
        if state.bytes.saturating_add(cost(line)) <= self.limit {
            state.bytes += cost(line);
            state.waiting.push_back(line.into());
            self.added.notify_one();
        } else {
            lost += 1;
        }
        self.lost.fetch_add(lost, Relaxed);
    }

    fn write_to(&self, mut output: impl Write) {
        let mut told = 0;
        loop {
            let mut state = self.lock();
            let line = loop {
                match state.waiting.pop_front() {
                    Some(line) => break line,
                    None => state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            if output.write_all(&line).and_then(|()| output.flush()).is_err() {
                self.lost.fetch_add(1, Relaxed);
                told += 1;
            }
            let lost = self.lost.load(Relaxed);
            // This is a line like others, and must not take the place of one.
            if lost > told && self.lock().waiting.is_empty() {
                tracing::warn!(lines = lost - told, "log lines were lost: standard error did not take them in time");
                told = lost;
            }
            self.lock().bytes -= cost(&line);
            self.written.notify_all();
        }
    }
}

/// The memory of a line that waits.
fn cost(line: &[u8]) -> usize {
    line.len() + size_of::<Box<[u8]>>()
}

/// Takes one line, by one call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An output that takes a line only when it is told to.
    struct Stuck {
        go: mpsc::Receiver<()>,
        taken: mpsc::Sender<String>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(io::Error::other)?;
            self.taken.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_oldest_lines_make_room_and_are_counted() {
        let (go, wait) = mpsc::channel();
        let (taken, lines) = mpsc::channel();
        let room = 4 * cost(b"line 0\n");
        let log = Lines::to(Stuck { go: wait, taken }, room).unwrap();
        log.add(b"line 0\n");
        while !log.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        for n in 1..=9 {
            log.add(format!("line {n}\n").as_bytes());
            assert!(log.lock().bytes <= room);
        }
        log.add(&vec![b'x'; room]);
        // One is being written, three wait, and the long one never fits.
        assert_eq!(log.lost.load(Relaxed), 7);
        log.add(b"last 0\n");
        log.flush(Duration::from_millis(1));
        (0..4).for_each(|_| go.send(()).unwrap());
        log.flush(Duration::from_secs(20));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["line 0\n", "line 8\n", "line 9\n", "last 0\n"]);
        drop(lines);
        go.send(()).unwrap();
        log.add(b"nobody\n");
        log.flush(Duration::from_secs(20));
        assert_eq!(log.lost.load(Relaxed), 9, "what cannot be written is lost");
    }

    #[test]
    fn a_part_has_a_level_that_exists() {
        assert_eq!(part("a::b=debug"), Ok(("a::b".to_owned(), Level::Debug)));
        assert_eq!(part("a=WARNING"), Ok(("a".to_owned(), Level::Warn)));
        for wrong in ["warning", "a", "=debug", "a=", "a=loud", "a=b=c", ""] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
