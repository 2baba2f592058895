//! TLS at all listeners.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::families::{Families, Labels};
use spop_agent::tls::{Tls, TlsResult, TlsStats};

/// `handshakes` are by kind of listener.
pub(super) fn encode(
    handshakes: &[(&'static str, &Arc<TlsStats>)],
    tls: Option<&Tls>,
    f: &mut Families<'_>,
) -> fmt::Result {
    let rows = handshakes.iter().flat_map(|(listener, stats)| {
        TlsResult::ALL.into_iter().map(move |result| {
            let labels: Labels<'_, 2> = [("listener", listener), ("result", result.name())];
            (labels, stats.get(result))
        })
    });
    f.counters(
        "tls_handshakes",
        "TLS handshakes by what became of them, and TLS that came where there is none.",
        rows,
    )?;
    let Some(tls) = tls else { return Ok(()) };
    let (done, failed) = tls.reloads();
    let reloads = [("done", done), ("failed", failed)];
    f.counters_by(
        "result",
        "tls_reloads",
        "Changes of certificates and keys found, by whether they are in use.",
        reloads,
    )?;
    let ends = tls.not_after().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    match ends {
        Some(at) => f.gauge("tls_certificate_expiry_timestamp_seconds", "When --tls-cert expires.", at.as_secs()),
        None => Ok(()),
    }
}
