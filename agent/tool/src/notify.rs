//! `spop notify`: one NOTIFY, and what the agent answers.

use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use spop_agent::addr::Addr;
use spop_core::{
    Action, Capabilities, ClientConfig, ClientEvent, EncodeError, EngineId, FrameId, MAX_HEADER_LEN, StreamId,
};

use crate::check::{engine_id, to_json};
use crate::expect::{self, Expected, Mismatch};
use crate::failure::Failure;
use crate::link::{Goodbye, Link};
use crate::message;
use crate::say::say;
use crate::show::{Bare, JsonAction, Name};
use crate::tls::TlsOptions;

/// Send a NOTIFY and print the actions of its ACK
#[derive(Args)]
#[command(after_help = help(), after_long_help = help())]
pub(crate) struct Options {
    /// The agent: host:port, tcp://host:port, unix:/path or abns@name
    addr: Addr,
    /// The name of a message, then its arguments
    #[arg(required = true, value_name = "MESSAGE [KEY=TYPE:VALUE]")]
    message: Vec<OsString>,
    /// Further messages of the same NOTIFY, each behind a `--`
    #[arg(last = true, value_name = "MESSAGE [KEY=TYPE:VALUE]")]
    more: Vec<OsString>,
    /// Send it so often, each time when the answer to the last one is there
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// What every ACK has to say; may be given several times [exit code 1 otherwise]
    #[arg(long, value_name = "SCOPE.NAME=TYPE[:VALUE]")]
    expect: Vec<Expected>,
    /// The engine-id to announce
    #[arg(long, value_name = "ID", default_value = "spop-notify", value_parser = engine_id)]
    engine_id: EngineId,
    /// The max-frame-size to announce
    #[arg(long, value_name = "BYTES", default_value_t = 16380, value_parser = clap::value_parser!(u32).range(256..))]
    max_frame_size: u32,
    /// Send the NOTIFY in fragments with so many bytes of payload, as HAProxy up to 3.0 does
    #[arg(long, value_name = "SIZE", value_parser = fragment_size)]
    fragment: Option<usize>,
    /// How long the connection and each answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::net::time)]
    timeout: Duration,
    /// Print one JSON object per answer
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

fn fragment_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if size > 0 => Ok(size),
        _ => Err("not a number above 0".to_owned()),
    }
}

fn help() -> String {
    format!("{}\n\n{}\n\n{EXAMPLES}", message::GRAMMAR, expect::GRAMMAR)
}

const EXAMPLES: &str = "\
Examples:
  spop notify 127.0.0.1:12345 check-client-ip ip=ipv4:192.0.2.17
  spop notify 127.0.0.1:12345 check-client-ip ip=ip:2001:db8::1 --json
  spop notify 127.0.0.1:12345 --expect sess.ip_score=int64:42 check-client-ip ip=ipv4:192.0.2.17
  spop notify unix:/run/spoa.sock first a=int64:1 -- second b=string:two =bool:true
  spop notify 127.0.0.1:12345 --fragment 200 upload body=binary@request.bin";

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let messages = message::parse_all(&options.message, &options.more).map_err(Failure::Usage)?;
    let payload = message::encode_all(&messages).map_err(|error| Failure::Usage(error.to_string()))?;
    let config =
        ClientConfig::DEFAULT.with_max_frame_size(options.max_frame_size).with_engine_id(Some(options.engine_id));
    let mut link = Link::connect(&options.addr, options.tls.of(&options.addr)?.as_ref(), config, options.timeout)?;
    let negotiated = link.handshake(|_| {})?;
    if options.fragment.is_some() && !negotiated.capabilities.contains(Capabilities::FRAGMENTATION) {
        return Err(Failure::Agent("the agent does not announce fragmentation".to_owned()));
    }
    let (mut broken, mut unmet) = (None, None);
    for n in 0..options.repeat {
        // As HAProxy 3.1 and later number them.
        let stream_id = StreamId(n.wrapping_mul(2).wrapping_add(1));
        let verdict = exchange(options, &mut link, stream_id, &payload, out)?;
        match verdict {
            Ok(()) => {}
            Err(Mismatch::Malformed(error)) => broken = broken.or(Some(error)),
            Err(mismatch) => unmet = unmet.or(Some(mismatch)),
        }
    }
    match link.goodbye()? {
        Goodbye::Disconnect(..) => {}
        other => say(format_args!("the agent's answer to our DISCONNECT: {other}")),
    }
    match (broken, unmet) {
        (Some(error), _) => {
            Err(Failure::Agent(format!("the agent broke the protocol: the actions of an ACK are malformed: {error}")))
        }
        (None, Some(mismatch)) => Err(Failure::Unexpected(format!("not as expected: {mismatch}"))),
        (None, None) => Ok(()),
    }
}

/// One NOTIFY and its ACK; the inner result is that of the expectations.
fn exchange(
    options: &Options,
    link: &mut Link,
    stream_id: StreamId,
    payload: &[u8],
    out: &mut impl Write,
) -> Result<Result<(), Mismatch>, Failure> {
    let start = Instant::now();
    match options.fragment {
        None => send_whole(link, stream_id, payload)?,
        Some(size) => send_fragments(link, stream_id, payload, size)?,
    }
    link.event("ACK", |event, _| match event {
        ClientEvent::Ack { frame_id, aborted, actions, .. } => {
            let took = start.elapsed();
            let verdict = expect::check(&options.expect, actions.clone());
            let mut parsed = Vec::new();
            let mut error = None;
            for action in actions {
                match action {
                    Ok(action) => parsed.push(action),
                    Err(broken) => error = Some(broken.to_string()),
                }
            }
            let answer = Answer { stream_id, frame_id, took, aborted, actions: parsed, error };
            if options.json {
                answer.json(out)?;
            } else {
                answer.table(out)?;
            }
            out.flush()?;
            Ok(Some(verdict))
        }
        _ => Ok(None),
    })
}

const FRAME_ID: FrameId = FrameId(1);

fn send_whole(link: &mut Link, stream_id: StreamId, payload: &[u8]) -> Result<(), Failure> {
    let mut out = vec![0; MAX_HEADER_LEN + payload.len()];
    let refused = |error: &dyn std::fmt::Display| Failure::Usage(format!("the NOTIFY cannot be sent: {error}"));
    let mut notify = link.client.notify(&mut out, stream_id, FRAME_ID).map_err(|error| refused(&error))?;
    notify.encoded(payload).map_err(|error| match error {
        EncodeError::NoSpace => too_big(link, payload),
        other => refused(&other),
    })?;
    let len = notify.finish();
    link.write(out.get(..len).unwrap_or_default())
}

fn too_big(link: &Link, payload: &[u8]) -> Failure {
    let limit = link.client.negotiated().map_or(0, |n| n.max_frame_size);
    let n = payload.len();
    Failure::Usage(format!("{n} bytes of messages do not fit the negotiated max-frame-size {limit}; see --fragment"))
}

fn send_fragments(link: &mut Link, stream_id: StreamId, payload: &[u8], size: usize) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Usage(format!("the NOTIFY cannot be sent: {error}"));
    link.client.start_fragmented(stream_id, FRAME_ID).map_err(|error| refused(&error))?;
    let mut out = vec![0; MAX_HEADER_LEN + size.min(payload.len())];
    while let Some(len) = link.client.notify_fragment(&mut out, payload, size).map_err(|error| refused(&error))? {
        link.write(out.get(..len).unwrap_or_default())?;
    }
    Ok(())
}

/// What came back.
struct Answer<'a> {
    stream_id: StreamId,
    frame_id: FrameId,
    took: Duration,
    aborted: bool,
    actions: Vec<Action<'a>>,
    error: Option<String>,
}

impl Answer<'_> {
    fn table(&self, out: &mut impl Write) -> Result<(), Failure> {
        let (stream, frame, took) = (self.stream_id.0, self.frame_id.0, self.took.as_secs_f64() * 1e3);
        let aborted = if self.aborted { " ABORT" } else { "" };
        let n = self.actions.len();
        writeln!(out, "ACK stream={stream} frame={frame}{aborted} in {took:.3} ms, actions: {n}")?;
        let rows: Vec<[String; 4]> = self.actions.iter().map(row).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (w0, w1, w2) = (width(0), width(1), width(2));
        for [action, variable, kind, value] in &rows {
            writeln!(out, "{}", format!("  {action:w0$}  {variable:w1$}  {kind:w2$}  {value}").trim_end())?;
        }
        if let Some(error) = &self.error {
            writeln!(out, "  then malformed: {error}")?;
        }
        Ok(())
    }

    fn json(&self, out: &mut impl Write) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Json<'a> {
            stream_id: u64,
            frame_id: u64,
            latency_ms: f64,
            aborted: bool,
            actions: Vec<JsonAction<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
        }
        let object = Json {
            stream_id: self.stream_id.0,
            frame_id: self.frame_id.0,
            latency_ms: self.took.as_micros() as f64 / 1e3,
            aborted: self.aborted,
            actions: self.actions.iter().map(JsonAction).collect(),
            error: self.error.as_deref(),
        };
        Ok(writeln!(out, "{}", to_json(&object)?)?)
    }
}

fn row(action: &Action<'_>) -> [String; 4] {
    match action {
        Action::SetVar { scope, name, value } => [
            "set-var".to_owned(),
            format!("{}.{}", scope.prefix(), Name(name)),
            crate::show::type_name(value).to_owned(),
            Bare(value).to_string(),
        ],
        Action::UnsetVar { scope, name } => {
            ["unset-var".to_owned(), format!("{}.{}", scope.prefix(), Name(name)), String::new(), String::new()]
        }
    }
}
