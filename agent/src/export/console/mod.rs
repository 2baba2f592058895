//! Finished traces as trees on the terminal.
//!
//! Spans are collected by trace, this process's own and those that the
//! [receiver](super::receiver) got. A trace is printed when none of its spans
//! is open in this process and none came in for a while
//! ([`ConsoleConfig::quiet`]). What is held in memory is bounded: beyond the
//! bounds the oldest traces are printed early, and say so.

mod render;
mod store;
mod view;

use super::queue::BoundedQueue;
use super::receiver::{ReceivedRequest, RequestSink};
use super::stats::{DropCause, DropLog, ExportSnapshot, ExportStats};
use super::weight::Weight;
use super::{Exporter, QueueConfig, ShutdownFuture};
use crate::metric::metrics;
use crate::semconv::HAPROXY_SPAN_END;
use crate::span::{FinishedSpan, OpenSpans, held_with_origins};
use crate::worker::Worker;
use opentelemetry::TraceId;
use render::Format;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use store::{Finished, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use view::ViewSpan;

/// Columns of an output whose width is unknown.
const DEFAULT_WIDTH: usize = 100;
/// Rendered traces that may wait for the output.
const MAX_RENDERED: usize = 16;

/// Configuration of the console.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// How long no span of a trace must have come in before it is printed; at
    /// least twice the queue's batch delay.
    pub quiet: Duration,
    /// Most traces held back.
    pub max_traces: usize,
    /// Most spans held back, of all traces.
    pub max_spans: usize,
    /// Most bytes of them.
    pub max_bytes: usize,
    /// Most lines printed of one trace.
    pub max_rows: usize,
    /// Attributes shown beside a span.
    pub attributes: Vec<String>,
    /// Width in columns; without it the terminal's, or 100.
    pub width: Option<usize>,
    /// Whether to use colours.
    pub color: bool,
    /// Bounds of the queue.
    pub queue: QueueConfig,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(500),
            max_traces: 1_000,
            max_spans: 20_000,
            max_bytes: 32 << 20,
            max_rows: 200,
            attributes: vec![HAPROXY_SPAN_END.to_owned()],
            width: None,
            color: false,
            queue: QueueConfig {
                max_spans: 20_000,
                max_bytes: 32 << 20,
                batch_delay: Duration::from_millis(20),
                ..QueueConfig::default()
            },
        }
    }
}

impl ConsoleConfig {
    /// The default for standard output: with colours if it is a terminal that
    /// has them and `NO_COLOR` is not set, or if `CLICOLOR_FORCE` is.
    pub fn for_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal() && anstyle_query::term_supports_color();
        Self { color: !anstyle_query::no_color() && (terminal || anstyle_query::clicolor_force()), ..Self::default() }
    }
}

metrics! {
    /// The console's own counters at one instant.
    snapshot ConsoleSnapshot, counters ConsoleStats;
    Counter "console_traces" "Traces printed, parts of traces included." {
        /// Traces handed to the output, parts of traces included.
        traces,
    }
    Counter "console_traces_evicted" "Traces printed early: too many were held back, or too large ones." {
        /// Those of them that were printed early because of the memory bounds.
        evicted,
    }
}

/// A span and the memory that it holds.
type Held = (FinishedSpan, usize);

type Table = Arc<OnceLock<Weak<dyn OpenSpans>>>;

/// Prints finished traces as trees.
pub struct Console {
    queue: Arc<BoundedQueue<Held>>,
    stats: Arc<ExportStats>,
    console_stats: Arc<ConsoleStats>,
    open_spans: Table,
    drop_log: DropLog,
    worker: Worker,
}

impl Console {
    /// Starts a console on standard output, on the current Tokio runtime.
    pub fn stdout(config: ConsoleConfig) -> std::io::Result<Self> {
        Self::start(config, std::io::stdout())
    }

    /// Starts a console on any output. The output may block: it has a thread
    /// of its own.
    pub fn start(config: ConsoleConfig, output: impl Write + Send + 'static) -> std::io::Result<Self> {
        let queue = Arc::new(BoundedQueue::new(config.queue.clone()));
        let stats = Arc::<ExportStats>::default();
        let console_stats = Arc::<ConsoleStats>::default();
        let open_spans = Table::default();
        let printer = Printer::start(output, stats.clone())?;
        // A span that waits in the queue must not be taken for absent.
        let quiet = config.quiet.max(config.queue.batch_delay.saturating_mul(2));
        let task = Task {
            queue: queue.clone(),
            stats: stats.clone(),
            console_stats: console_stats.clone(),
            open_spans: open_spans.clone(),
            store: Store::new(
                quiet,
                config.max_traces,
                Weight { spans: config.max_spans.max(1), bytes: config.max_bytes },
            ),
            printer,
            config,
        };
        Ok(Self {
            queue,
            stats,
            console_stats,
            open_spans,
            drop_log: DropLog::new("spans not shown on the console"),
            worker: Worker::spawn(task.run()),
        })
    }

    /// Sets the table that knows which spans are still open; their traces are
    /// held back. Only the first call has an effect. Without a table, or after
    /// its end, traces are printed as soon as they are quiet.
    pub fn track_open_spans(&self, table: Weak<dyn OpenSpans>) {
        // A second table is ignored, as documented.
        let _ = self.open_spans.set(table);
    }

    /// The console's own counters.
    pub fn console_stats(&self) -> ConsoleSnapshot {
        self.console_stats.snapshot()
    }

    fn push(&self, spans: impl Iterator<Item = Held>) {
        let weighed = spans.map(|held| {
            let weight = Weight { spans: 1, bytes: held.1 };
            (held, weight)
        });
        self.drop_log.all(&self.stats, &self.queue.push_all(weighed));
    }
}

impl Exporter for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn submit(&self, spans: &[FinishedSpan]) {
        self.stats.add_submitted(spans.len());
        self.push(spans.iter().map(|span| (span.clone(), span.held())));
    }

    fn stats(&self) -> ExportSnapshot {
        self.stats.snapshot().with_queue(self.queue.held(), self.queue.limit())
    }

    fn shutdown(&self, deadline: Instant) -> ShutdownFuture<'_> {
        Box::pin(async move {
            self.queue.close();
            if self.worker.join(deadline).await {
                self.stats.drop_pending();
            }
        })
    }
}

impl RequestSink for Console {
    /// Shows the spans as far as there is room; what is not shown is not a
    /// reason to reject it, so this never reports a drop to the sender.
    fn accept(&self, request: &Arc<ReceivedRequest>) -> usize {
        self.stats.add_submitted(request.spans.len());
        self.push(held_with_origins(&request.spans).map(|(span, bytes)| (span.clone(), bytes)));
        0
    }
}

/// Collects the spans and renders the traces that are finished.
struct Task {
    config: ConsoleConfig,
    queue: Arc<BoundedQueue<Held>>,
    stats: Arc<ExportStats>,
    console_stats: Arc<ConsoleStats>,
    open_spans: Table,
    store: Store,
    printer: Printer,
}

impl Task {
    async fn run(mut self) {
        loop {
            let due = self.store.next_due();
            tokio::select! {
                batch = self.queue.next_batch() => match batch {
                    Some(mut batch) => self.collect(std::mem::take(&mut batch.items)).await,
                    None => break,
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.print_due().await;
                }
            }
        }
        let is_open = self.open_check();
        for finished in self.store.drain(is_open) {
            self.print(finished).await;
        }
        self.printer.finish().await;
    }

    async fn collect(&mut self, batch: Vec<Held>) {
        for (span, bytes) in batch {
            for evicted in self.store.add(span, bytes, Instant::now()) {
                self.console_stats.evicted.one();
                self.print(evicted).await;
            }
        }
    }

    async fn print_due(&mut self) {
        let is_open = self.open_check();
        for finished in self.store.take_due(Instant::now(), is_open) {
            self.print(finished).await;
        }
    }

    /// Whether a trace has an open span in this process.
    fn open_check(&self) -> impl Fn(TraceId) -> bool + use<> {
        let table = self.open_spans.get().and_then(Weak::upgrade);
        move |trace| table.as_ref().is_some_and(|t| t.open_spans(trace) > 0)
    }

    async fn print(&self, finished: Finished) {
        let format = Format { width: self.width(), color: self.config.color, max_rows: self.config.max_rows };
        let views: Vec<_> = finished.spans.iter().map(|span| ViewSpan::of(span, &self.config.attributes)).collect();
        let text = render::render(&views, finished.remarks, format);
        self.console_stats.traces.one();
        let spans = finished.spans.len();
        if !self.printer.print(text, spans).await {
            self.stats.add_dropped(DropCause::ExportFailed, spans);
        }
    }

    fn width(&self) -> usize {
        let terminal = || terminal_size::terminal_size().map(|(width, _)| width.0.into());
        self.config.width.or_else(terminal).unwrap_or(DEFAULT_WIDTH)
    }
}

/// A thread for an output that may block: while it does, the console's queue
/// fills up and nothing else waits.
struct Printer {
    texts: mpsc::Sender<(String, usize)>,
    done: oneshot::Receiver<()>,
}

impl Printer {
    fn start(mut output: impl Write + Send + 'static, stats: Arc<ExportStats>) -> std::io::Result<Self> {
        let (texts, mut queued) = mpsc::channel::<(String, usize)>(MAX_RENDERED);
        let (ended, done) = oneshot::channel();
        std::thread::Builder::new().name("console".to_owned()).spawn(move || {
            // Dropped with the thread, which tells `finish`.
            let _ended: oneshot::Sender<()> = ended;
            while let Some((text, spans)) = queued.blocking_recv() {
                let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
                match written {
                    Ok(()) => stats.add_exported(spans),
                    Err(error) => {
                        stats.add_dropped(DropCause::ExportFailed, spans);
                        tracing::error!(%error, "cannot write to the console; it is closed");
                        break;
                    }
                }
            }
            queued.close();
            while let Some((_, spans)) = queued.blocking_recv() {
                stats.add_dropped(DropCause::ExportFailed, spans);
            }
        })?;
        Ok(Self { texts, done })
    }

    /// Hands over a text; `false` if the output is closed.
    async fn print(&self, text: String, spans: usize) -> bool {
        self.texts.send((text, spans)).await.is_ok()
    }

    /// Waits until everything is written.
    async fn finish(self) {
        drop(self.texts);
        // An error means that the sender was dropped: the thread has ended.
        let _ = self.done.await;
    }
}
