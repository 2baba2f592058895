//! Certificates, tokens and passwords: files that are read at the start, when they change, and when the agent is told to.

use std::error::Error;

use spoa_otel::Credentials;
use spoa_otel::line::listener::LogAddr;
use spoa_otel::passed::Place;
use spop_agent::ListenAddr;
use spop_agent::tls::Tls;

use crate::listening::http_has_tls;
use crate::options::{AdminAddr, Options};

/// Handles of all that is in use.
#[derive(Default)]
pub struct Secrets {
    pub tls: Option<Tls>,
    pub admin: Option<Credentials>,
    pub otlp: Option<Credentials>,
}

/// Options that nothing uses.
#[derive(Debug, thiserror::Error)]
#[error(
    "--tls-cert and the other options of TLS have no effect: no address has ,tls, as in --listen 0.0.0.0:7000,tls (also \
     --admin, --otlp-listen, --log-listen tcp://...)"
)]
struct NoTlsAddress;

impl Secrets {
    /// What the options name, and what of it cannot be used.
    pub fn load(options: &Options) -> (Self, Vec<Box<dyn Error>>) {
        let (mut secrets, mut wrong) = (Self::default(), Vec::<Box<dyn Error>>::new());
        match options.has_tls_address() {
            true => match Tls::load(options.tls.clone()) {
                Ok(tls) => secrets.tls = Some(tls),
                Err(error) => wrong.push(error.into()),
            },
            false if options.tls.is_given() => wrong.push(NoTlsAddress.into()),
            false => {}
        }
        for (credentials, read) in [
            (&mut secrets.admin, options.admin_config.read_credentials()),
            (&mut secrets.otlp, options.receiver.read_credentials()),
        ] {
            match read {
                Ok(read) => *credentials = read,
                Err(error) => wrong.push(error.into()),
            }
        }
        (secrets, wrong)
    }

    /// Reads the files again, but those of options that are among `changed`: the agent goes on with what it has of the
    /// former ones, which may be gone.
    ///
    /// # Errors
    /// Some cannot be used: what was read of them before stays in use.
    pub fn reload(&self, changed: &[&str]) -> Result<(), Vec<Box<dyn Error>>> {
        let same = |options: &[&str]| !options.iter().any(|option| changed.contains(option));
        let tls = self.tls.as_ref().filter(|_| same(&["tls-cert", "tls-key", "tls-client-ca"]));
        let tls = tls.and_then(|tls| tls.reload().err()).map(Box::<dyn Error>::from);
        let admin = self.admin.as_ref().filter(|_| same(&["admin-token-file", "admin-basic-file"]));
        let otlp = self.otlp.as_ref().filter(|_| same(&["otlp-token-file", "otlp-basic-file"]));
        let credentials = admin.into_iter().chain(otlp);
        let credentials = credentials.filter_map(|credentials| credentials.reload().err()).map(Box::<dyn Error>::from);
        let wrong: Vec<_> = tls.into_iter().chain(credentials).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

impl Options {
    fn has_tls_address(&self) -> bool {
        let spop_has_tls = |place: &Place<ListenAddr>| match place {
            Place::At(addr) => addr.tls,
            Place::Passed(name) => name.tls(),
        };
        self.listen.iter().any(spop_has_tls)
            || matches!(&self.admin, AdminAddr::At(place) if http_has_tls(place))
            || self.export.otlp_listen.as_ref().is_some_and(http_has_tls)
            || self.log_lines.listener.listen.iter().any(LogAddr::has_tls)
    }
}
