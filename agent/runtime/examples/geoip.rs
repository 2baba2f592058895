//! The country of each client, from a file of MaxMind (GeoLite2-Country.mmdb, or another database with `country.iso_code`).
//!
//! `cargo run -p spop-agent --example geoip -- 127.0.0.1:12345 GeoLite2-Country.mmdb`, `haproxy -f geoip/haproxy.cfg`

use std::net::IpAddr;

use maxminddb::{Reader, geoip2::Country};
use spop_agent::{Ack, Notify, Result, Scope, Server};

type Database = Reader<Vec<u8>>;

fn country(database: &Database, ip: IpAddr) -> Result<Option<&str>> {
    let found: Option<Country<'_>> = database.lookup(ip)?.decode()?;
    Ok(found.and_then(|found| found.country.iso_code))
}

#[tokio::main]
async fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(path)) = (args.next(), args.next()) else { return Err("usage: geoip ADDRESS FILE".into()) };
    let database = Database::open_readfile(path)?;
    let locate = move |notify: &Notify<'_>, ack: &mut Ack<'_>| -> Result {
        for message in notify.messages() {
            let ip = message.arg("ip").and_then(|value| value.as_ip());
            // An address that is in no network of the file leaves the variable unset.
            if let Some(country) = ip.map(|ip| country(&database, ip)).transpose()?.flatten() {
                ack.set_var(Scope::Session, "country", country)?;
            }
        }
        Ok(())
    };
    let server = Server::new(locate).bind(&*listen).await?;
    tracing::info!(addr = server.addrs().next().map(tracing::field::display), "listening");
    server.run_until_signal().await
}
