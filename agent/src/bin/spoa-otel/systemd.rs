//! What systemd is told of this service (`sd_notify`), and its watchdog. Without systemd nobody asks, and nothing is said.

use std::env;
use std::error::Error;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustix::io::Errno;
use sd_notify::NotifyState;
use spoa_otel::export::Pipeline;
use spoa_otel::tracer::Tracer;
use spop_agent::ratelimit::LogLimit;
use spop_agent::{Pulse, ServerStats};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, warn};

/// How often it is told how things stand, if they have changed.
const STATUS: Duration = Duration::from_secs(5);

/// The end may take so much longer than the grace time until the process is gone.
const AFTER_GRACE: Duration = Duration::from_secs(2);

/// systemd takes a message within so long, or goes without it.
const PATIENCE: Duration = Duration::from_secs(1);

static NOT_TOLD: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

/// It serves.
pub async fn ready() {
    tell(&[NotifyState::Ready]).await;
}

/// It reads its configuration again; [`ready`] tells when that is done.
pub async fn reloading() {
    // Without the time systemd takes no notice.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]).await;
    }
}

/// It stops, within the grace time, however short `TimeoutStopSec=` is.
pub async fn stopping(grace: Duration) {
    let time = u32::try_from((grace + AFTER_GRACE).as_micros()).unwrap_or(u32::MAX);
    let status = NotifyState::Status("stopping: what is open is answered and exported");
    tell(&[NotifyState::Stopping, status, NotifyState::ExtendTimeoutUsec(time)]).await;
}

/// It cannot start, or not go on. The last word: it is waited for.
pub fn failed(text: &str, errno: Option<Errno>) {
    let line = text.lines().collect::<Vec<_>>().join("; ");
    let errno = errno.and_then(|errno| u32::try_from(errno.raw_os_error()).ok());
    let states = [Some(NotifyState::Status(&line)), errno.map(NotifyState::Errno)];
    // Who could be told that it fails?
    let _ = sd_notify::notify(&states.into_iter().flatten().collect::<Vec<_>>());
}

/// The number of the system's error in this one, if it came by one.
pub fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.raw_os_error().map(Errno::from_raw_os_error),
        None => errno(error.source()?),
    }
}

async fn tell(states: &[NotifyState<'_>]) {
    if !is_asked() {
        return;
    }
    let text = states.iter().map(NotifyState::to_string).collect::<Vec<_>>().join("\n");
    let send = spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&text)]));
    let error = match timeout(PATIENCE, send).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => error,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    if let Some(left_out) = NOT_TOLD.pass() {
        warn!(%error, left_out, "systemd cannot be told how things stand (NOTIFY_SOCKET)");
    }
}

fn is_asked() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// What tells how things stand.
pub struct Vitals {
    pub stats: Arc<ServerStats>,
    pub tracer: Arc<Tracer>,
    pub pipeline: Arc<Pipeline>,
    pub pulse: Arc<Pulse>,
}

impl Vitals {
    /// Tells them as long as it is polled.
    pub async fn tell(self) {
        if is_asked() {
            tokio::join!(self.tell_status(), self.feed_watchdog());
        }
    }

    async fn tell_status(&self) {
        let mut told = String::new();
        let mut ticks = interval(STATUS);
        loop {
            ticks.tick().await;
            let status = self.status();
            if status != told {
                tell(&[NotifyState::Status(&status)]).await;
                told = status;
            }
        }
    }

    fn status(&self) -> String {
        let connections = self.stats.snapshot().connections_open;
        let open = self.tracer.stats().open_spans;
        // The first one is the collector, if there is one.
        let exporters = self.pipeline.stats();
        let (exported, dropped) = exporters.first().map_or((0, 0), |(_, stats)| (stats.exported, stats.dropped()));
        format!("{connections} connections, {open} spans open, {exported} exported, {dropped} dropped")
    }

    /// As long as the tasks that accept connections and end spans come round, systemd does not restart the service.
    async fn feed_watchdog(&self) {
        let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else { return };
        let mut ticks = interval(time / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.pulse.is_alive() {
                tell(&[NotifyState::Watchdog]).await;
            } else {
                error!("a part of the agent hangs: the watchdog of systemd is not told that all is well");
            }
        }
    }
}
