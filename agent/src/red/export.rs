//! The export by OTLP, every so often and once more at the end.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout_at};

use super::meters::Meters;
use super::{Counters, Red};
use crate::export::otlp::{MetricsConfig, MetricsSender, OtlpConfigError};
use crate::worker::{LONGEST_WAIT, Worker, deadline_after};

/// Exports the metrics of requests to a collector.
pub struct RedExporter {
    destination: watch::Sender<Arc<Destination>>,
    stop: watch::Sender<Option<Instant>>,
    task: Worker,
}

impl RedExporter {
    /// Starts the export task on the current Tokio runtime; the collector need not be reachable. What was counted before
    /// is not exported: to be called before the first request. `default_service`: that of services that are too many.
    ///
    /// # Errors
    /// The connection cannot be set up.
    pub fn start(red: &Red, config: MetricsConfig, default_service: &str) -> Result<Self, OtlpConfigError> {
        let meters = Meters::new(default_service, config.temporality, red.max_series);
        let (destination, destinations) = watch::channel(Arc::new(Destination::new(config)?));
        let meters = red.meters.get_or_init(|| Arc::new(meters)).clone();
        let (stop, stopped) = watch::channel(None);
        let export = Export { meters, destinations, counters: red.counters.clone() };
        Ok(RedExporter { destination, stop, task: Worker::spawn(export.run(stopped)) })
    }

    /// Prepares another collector, or the same one otherwise, on the current Tokio runtime. The temporality stays.
    ///
    /// # Errors
    /// The connection cannot be set up.
    pub fn prepare(&self, config: MetricsConfig) -> Result<Replacement, OtlpConfigError> {
        let temporality = self.destination.borrow().config.temporality;
        Destination::new(MetricsConfig { temporality, ..config }).map(Replacement)
    }

    /// From now on exports go there, and are made as often as it says. One that is under way comes to its end, and
    /// what was counted goes on.
    pub fn replace(&self, Replacement(destination): Replacement) {
        self.destination.send_replace(Arc::new(destination));
    }

    /// Exports what there is now, for at most `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let deadline = deadline_after(grace);
        self.stop.send_replace(Some(deadline));
        self.task.join(deadline).await;
    }
}

/// Another collector, or the same one otherwise, for an exporter that goes on.
pub struct Replacement(Destination);

/// Where metrics go.
struct Destination {
    sender: Arc<MetricsSender>,
    config: MetricsConfig,
}

impl Destination {
    fn new(config: MetricsConfig) -> Result<Self, OtlpConfigError> {
        Ok(Self { sender: Arc::new(MetricsSender::new(&config)?), config })
    }

    fn period(&self) -> Duration {
        self.config.interval.min(LONGEST_WAIT)
    }
}

struct Export {
    meters: Arc<Meters>,
    destinations: watch::Receiver<Arc<Destination>>,
    counters: Arc<Counters>,
}

impl Export {
    async fn run(self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut destinations = self.destinations.clone();
        let mut destination = destinations.borrow_and_update().clone();
        let mut ticks = every(destination.period());
        let deadline = loop {
            tokio::select! {
                biased;
                deadline = told_to_stop(&mut stop) => break deadline,
                Ok(()) = destinations.changed() => {
                    destination = destinations.borrow_and_update().clone();
                    // Otherwise the next export comes when it would have come.
                    if ticks.period() != destination.period() {
                        ticks = every(destination.period());
                    }
                }
                _ = ticks.tick() => {
                    if let ControlFlow::Break(deadline) = self.export_unless_told(&destination, &mut stop).await {
                        break deadline;
                    }
                }
            }
        };
        let destination = self.destinations.borrow().clone();
        destination.sender.end_soon();
        if let Some(deadline) = deadline {
            self.export(&destination, deadline.min(Instant::now() + destination.config.limit())).await;
        }
    }

    /// Exports; told to stop meanwhile, it gives the deadline for all, of which this export takes at most half of what is left.
    async fn export_unless_told(
        &self,
        destination: &Destination,
        stop: &mut watch::Receiver<Option<Instant>>,
    ) -> ControlFlow<Option<Instant>> {
        let mut export = pin!(self.export(destination, Instant::now() + destination.config.limit()));
        let deadline = tokio::select! {
            () = &mut export => return ControlFlow::Continue(()),
            deadline = told_to_stop(stop) => deadline,
        };
        // What the collector has got it also answers, but the last export needs time, too.
        destination.sender.end_soon();
        if let Some(deadline) = deadline {
            let now = Instant::now();
            let _ = timeout_at(now + deadline.duration_since(now) / 2, export).await;
        }
        ControlFlow::Break(deadline)
    }

    /// One request for each service.
    async fn export(&self, destination: &Destination, deadline: Instant) {
        for reader in self.meters.readers() {
            let (sender, counters) = (destination.sender.clone(), self.counters.clone());
            // With many series it takes milliseconds to collect and, when the sending begins, to encode them: no work for a
            // thread that serves HAProxy.
            let begun = tokio::task::spawn_blocking(move || {
                let metrics = reader.metrics()?;
                let mut attempt = Attempt { counters, taken: false };
                let mut sending = Box::pin(async move {
                    if let Some(rejected) = sender.send(&metrics, deadline).await {
                        attempt.taken = true;
                        attempt.counters.rejected.add(rejected);
                    }
                });
                (&mut sending).now_or_never().is_none().then_some(sending)
            });
            if let Ok(Some(sending)) = begun.await {
                sending.await;
            }
        }
    }
}

/// When all has to be done by; `None` if nobody waits for it.
async fn told_to_stop(stop: &mut watch::Receiver<Option<Instant>>) -> Option<Instant> {
    stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline)
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Counts a request, also one that the end comes in between.
struct Attempt {
    counters: Arc<Counters>,
    taken: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Counters { exported, failed, .. } = &*self.counters;
        if self.taken { exported.one() } else { failed.one() }
    }
}
