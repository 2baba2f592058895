//! The signals that end an agent, and those that do not.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ready at SIGTERM, SIGINT or SIGUSR1; the last is what HAProxy sends to its `program` sections when it reloads or stops
/// softly. SIGHUP is logged and ends nothing. From the call on, so call it before anybody can know of the process; once
/// it is ready, all four are without effect.
///
/// # Errors
/// The signal handlers cannot be installed.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    tokio::spawn(ignore(signal(SignalKind::hangup())?));
    end_signal()
}

/// The same, for a program that does something at SIGHUP, such as to read its configuration again.
///
/// # Errors
/// The signal handlers cannot be installed.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut soft_stop = signal(SignalKind::user_defined1())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = soft_stop.recv() => "SIGUSR1",
        };
        tracing::info!(signal = name, "told to stop");
    })
}

async fn ignore(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP is ignored: there is nothing to read again");
    }
}
