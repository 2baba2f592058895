//! Where the agent listens: at addresses, and on sockets that systemd passed.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use spoa_otel::admin::{Admin, AdminConfig};
use spoa_otel::export::receiver::{Receiver, ReceiverConfig, RequestSink};
use spoa_otel::passed::{PassedError, PassedSockets, Place};
use spop_agent::tls::Tls;
use spop_agent::{ListenAddr, ListeningSocket, Server};
use tracing::{info, warn};

use crate::failure::misconfigured;
use crate::options::TcpAddr;

/// An address, or a socket, that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{option} {place}: {error}{advice}")]
struct CannotListen {
    option: &'static str,
    place: String,
    #[source]
    error: io::Error,
    advice: &'static str,
}

/// Where the error of an option came about.
struct At<'a, P>(&'static str, &'a P);

impl<P: Display> At<'_, P> {
    fn failed(&self, error: io::Error) -> CannotListen {
        CannotListen { option: self.0, place: self.1.to_string(), error, advice: "" }
    }

    /// Tokens are for all to read where nothing is encrypted.
    fn warn_if_readable(&self, in_plain: bool, addrs: &[SocketAddr]) {
        if in_plain && addrs.iter().any(|addr| !addr.ip().to_canonical().is_loopback()) {
            warn!("{}: tokens and passwords go over the network unencrypted: let its address end with ,tls", self.0);
        }
    }

    /// What the unit passes is not what the options say.
    fn not_passed(&self, error: PassedError) -> Box<dyn Error> {
        misconfigured(format!("{} {}: {error}", self.0, self.1)).into()
    }
}

/// The admin endpoints'.
pub async fn admin(
    place: &Place<TcpAddr>,
    mut config: AdminConfig,
    tls: Option<&Tls>,
    passed: &mut PassedSockets,
) -> Result<Admin, Box<dyn Error>> {
    let at = At("--admin", place);
    config.tls = tls.filter(|_| http_has_tls(place)).cloned();
    let in_plain = config.credentials.is_some() && config.tls.is_none();
    let bound = match place {
        Place::Passed(name) => Admin::listen_on(passed.tcp(name).map_err(|error| at.not_passed(error))?, config),
        Place::At(addr) => Admin::bind(&addr.addr, config).await,
    };
    let advice = "; give --admin another address, or none";
    let admin = bound.map_err(|error| CannotListen { advice, ..at.failed(error) })?;
    at.warn_if_readable(in_plain, admin.addrs());
    Ok(admin)
}

/// The OTLP receiver's.
pub async fn receiver(
    place: &Place<TcpAddr>,
    mut config: ReceiverConfig,
    tls: Option<&Tls>,
    sinks: Vec<Arc<dyn RequestSink>>,
    passed: &mut PassedSockets,
) -> Result<Receiver, Box<dyn Error>> {
    let at = At("--otlp-listen", place);
    config.tls = tls.filter(|_| http_has_tls(place)).cloned();
    let in_plain = config.credentials.is_some() && config.tls.is_none();
    let bound = match place {
        Place::Passed(name) => {
            Receiver::listen_on(passed.tcp(name).map_err(|error| at.not_passed(error))?, config, sinks)
        }
        Place::At(addr) => Receiver::bind(&addr.addr, config, sinks).await,
    };
    let receiver = bound.map_err(|error| at.failed(error))?;
    at.warn_if_readable(in_plain, receiver.addrs());
    for addr in receiver.addrs() {
        info!(%addr, kind = %"otlp", "listening");
    }
    Ok(receiver)
}

/// HAProxy's.
pub async fn spop(
    mut server: Server,
    place: &Place<ListenAddr>,
    passed: &mut PassedSockets,
) -> Result<Server, Box<dyn Error>> {
    let at = At("--listen", place);
    let before = server.addrs().len();
    match place {
        Place::Passed(name) => {
            for socket in passed.streams(name).map_err(|error| at.not_passed(error))? {
                let socket = if name.tls() { with_tls(socket).map_err(|error| at.failed(error))? } else { socket };
                server = server.listen_on(socket).map_err(|error| at.failed(error))?;
            }
        }
        Place::At(addr) => server = server.bind(addr).await.map_err(|error| at.failed(error))?,
    }
    for addr in server.addrs().skip(before) {
        info!(%addr, kind = %"spop", "listening");
    }
    Ok(server)
}

fn with_tls(socket: ListeningSocket) -> io::Result<ListeningSocket> {
    match socket {
        ListeningSocket::Tcp(socket) => Ok(ListeningSocket::Tls(socket)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is for TCP, and this socket is another one")),
    }
}

/// Whether HTTP is served with TLS there.
pub fn http_has_tls(place: &Place<TcpAddr>) -> bool {
    match place {
        Place::At(addr) => addr.tls,
        Place::Passed(name) => name.tls(),
    }
}

/// What was passed in vain is a mistake in a unit, or in the options.
pub fn warn_of_unused(passed: &PassedSockets) {
    let names = passed.unused();
    if !names.is_empty() {
        warn!(
            "systemd passed sockets that no option uses, closed here: {names} (systemd:NAME as an address takes them)"
        );
    }
}
