//! `spop check`: is the agent alive?

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use spop_agent::addr::Addr;
use spop_core::{ClientConfig, EngineId, Flags, Frame, KvList, Negotiated, PREFIX_LEN};

use crate::failure::Failure;
use crate::link::Link;
use crate::show::{JsonPair, Pair};
use crate::tls::TlsOptions;

/// Send HAProxy's health check, or do a whole handshake, and show the answer
///
/// The health check is the frame that `option spop-check` of HAProxy sends, byte for byte, and the answer is judged as
/// HAProxy 3.1 and later judge it. HAProxy closes without a DISCONNECT then, and so does this.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The agent: host:port, tcp://host:port, unix:/path or abns@name
    addr: Addr,
    /// Do the HELLO of a real connection, show what was negotiated, then disconnect in good order
    #[arg(long)]
    handshake: bool,
    /// The max-frame-size to announce
    #[arg(long, value_name = "BYTES", default_value_t = 16380, value_parser = clap::value_parser!(u32).range(256..))]
    max_frame_size: u32,
    /// The engine-id to announce in a handshake
    #[arg(long, value_name = "ID", default_value = "spop-check", value_parser = engine_id, requires = "handshake")]
    engine_id: EngineId,
    /// How long the connection and each answer may take
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = crate::net::time)]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

const EXAMPLES: &str = "\
Examples:
  spop check 127.0.0.1:12345
  spop check --handshake unix:/run/spoa.sock
  spop check --tls --ca-file ca.pem --cert haproxy.pem 10.0.0.5:12345
  HEALTHCHECK CMD [\"spop\", \"check\", \"127.0.0.1:12345\"]      (Dockerfile)
  ExecStartPost=spop check --timeout 5s 127.0.0.1:12345         (systemd)";

/// An engine-id of an option.
pub(crate) fn engine_id(text: &str) -> Result<EngineId, String> {
    EngineId::new(text.as_bytes()).ok_or_else(|| "an engine-id has at most 64 bytes".to_owned())
}

/// What came back.
struct Report {
    hello: Vec<u8>,
    negotiated: Negotiated,
    latency: Duration,
    disconnect: Option<String>,
}

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let result = probe(options);
    match &result {
        Ok(report) if options.json => json(report, options, out)?,
        Ok(report) => text(report, options, out)?,
        Err(failure) if options.json => {
            let (error, exit_code) = (failure.to_string(), failure.code());
            let object = Unhealthy { healthy: false, addr: options.addr.to_string(), error, exit_code };
            writeln!(out, "{}", to_json(&object)?)?;
        }
        Err(_) => {}
    }
    result.map(drop)
}

fn probe(options: &Options) -> Result<Report, Failure> {
    let config = ClientConfig::DEFAULT
        .with_max_frame_size(options.max_frame_size)
        .with_healthcheck(!options.handshake)
        .with_engine_id(Some(options.engine_id));
    let mut link = Link::connect(&options.addr, options.tls.of(&options.addr)?.as_ref(), config, options.timeout)?;
    let start = Instant::now();
    let mut hello = Vec::new();
    let negotiated = link.handshake(|frame| hello = frame.to_vec())?;
    let latency = start.elapsed();
    if !options.handshake {
        judge(&hello, link.input.unread().len())?;
    }
    let disconnect = if options.handshake { Some(link.goodbye()?.to_string()) } else { None };
    Ok(Report { hello, negotiated, latency, disconnect })
}

/// What only HAProxy's own check asks for.
fn judge(hello: &[u8], bytes_after: usize) -> Result<(), Failure> {
    let flags = frame(hello)?.header.flags;
    if flags != Flags::FIN {
        let text = format!("the flags of the AGENT-HELLO are {:#x}; HAProxy's check wants exactly 0x1 (FIN)", flags.0);
        return Err(Failure::Agent(text));
    }
    if bytes_after > 0 {
        let text = format!("{bytes_after} bytes follow the AGENT-HELLO; HAProxy's check takes them for more keys");
        return Err(Failure::Agent(text));
    }
    Ok(())
}

fn frame(hello: &[u8]) -> Result<Frame<'_>, Failure> {
    let body = hello.get(PREFIX_LEN..).unwrap_or_default();
    Frame::decode(body).map_err(|error| Failure::Agent(error.to_string()))
}

fn keys(hello: &[u8]) -> Result<KvList<'_>, Failure> {
    Ok(frame(hello)?.kv())
}

fn text(report: &Report, options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let pairs: Vec<String> = keys(&report.hello)?.flatten().map(|kv| Pair(&kv).to_string()).collect();
    writeln!(out, "healthy     {} answered in {:.3} ms", options.addr, report.latency.as_secs_f64() * 1e3)?;
    writeln!(out, "AGENT-HELLO {}", pairs.join(" "))?;
    if let Some(disconnect) = &report.disconnect {
        let Negotiated { max_frame_size, capabilities, .. } = report.negotiated;
        let names: Vec<_> = capabilities.names().collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        writeln!(out, "negotiated  max-frame-size {max_frame_size}, capabilities {names}")?;
        writeln!(out, "DISCONNECT  {disconnect}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Unhealthy {
    healthy: bool,
    addr: String,
    error: String,
    exit_code: u8,
}

#[derive(Serialize)]
struct Healthy<'a> {
    healthy: bool,
    addr: String,
    latency_ms: f64,
    hello: Vec<JsonPair<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negotiated: Option<JsonNegotiated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonNegotiated {
    max_frame_size: u32,
    capabilities: Vec<&'static str>,
}

fn json(report: &Report, options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let pairs: Vec<_> = keys(&report.hello)?.flatten().collect();
    let negotiated = report.disconnect.as_ref().map(|_| JsonNegotiated {
        max_frame_size: report.negotiated.max_frame_size,
        capabilities: report.negotiated.capabilities.names().collect(),
    });
    let object = Healthy {
        healthy: true,
        addr: options.addr.to_string(),
        latency_ms: report.latency.as_micros() as f64 / 1e3,
        hello: pairs.iter().map(JsonPair).collect(),
        negotiated,
        disconnect: report.disconnect.as_deref(),
    };
    writeln!(out, "{}", to_json(&object)?)?;
    Ok(())
}

/// One line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Io(error.into()))
}
