//! The export by OTLP, every so often and once more at the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::meters::Meters;
use super::{Counters, Red};
use crate::export::otlp::{MetricsConfig, MetricsSender, OtlpConfigError};
use crate::worker::{LONGEST_WAIT, Worker, deadline_after};

/// Exports the metrics of requests to a collector.
pub struct RedExporter {
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
        let sender = Arc::new(MetricsSender::new(&config)?);
        let meters = Meters::new(default_service, config.temporality, red.max_series);
        let meters = red.meters.get_or_init(|| Arc::new(meters)).clone();
        let (stop, stopped) = watch::channel(None);
        let export = Export { meters, sender, config, counters: red.counters.clone() };
        Ok(RedExporter { stop, task: Worker::spawn(export.run(stopped)) })
    }

    /// Exports what there is now, for at most `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let deadline = deadline_after(grace);
        self.stop.send_replace(Some(deadline));
        self.task.join(deadline).await;
    }
}

struct Export {
    meters: Arc<Meters>,
    sender: Arc<MetricsSender>,
    config: MetricsConfig,
    counters: Arc<Counters>,
}

impl Export {
    async fn run(self, mut stop: watch::Receiver<Option<Instant>>) {
        let period = self.config.interval.min(LONGEST_WAIT);
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let periodically = async {
            loop {
                ticks.tick().await;
                self.export(Instant::now() + self.config.limit()).await;
            }
        };
        let deadline = tokio::select! {
            deadline = stop.wait_for(Option::is_some) => deadline.ok().and_then(|deadline| *deadline),
            () = periodically => None,
        };
        self.sender.end_soon();
        if let Some(deadline) = deadline {
            self.export(deadline.min(Instant::now() + self.config.limit())).await;
        }
    }

    /// One request for each service.
    async fn export(&self, deadline: Instant) {
        for reader in self.meters.readers() {
            let (sender, counters) = (self.sender.clone(), self.counters.clone());
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
