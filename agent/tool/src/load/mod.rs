//! `spop load`: many NOTIFYs, every ACK verified, and what that took.

mod connection;
mod plan;
mod preset;
mod process;
mod report;
mod tally;
mod worker;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use spop_agent::addr::Addr;
use spop_core::{Capabilities, ClientConfig, EngineId, FrameId, PREFIX_LEN, StreamId, encoded_len};

use crate::check::engine_id;
use crate::expect::{self, Expected};
use crate::failure::Failure;
use crate::link::Link;
use crate::message;
use crate::say::say;
use crate::tls::TlsOptions;
use connection::{Connection, Pace};
use plan::{Payload, Plan};
use preset::Preset;
use report::{Agent, Report};
use tally::{Progress, Tally};
use worker::Clock;

/// Send many NOTIFYs, verify every ACK, and report rate, latency and errors
///
/// A closed loop sends the next NOTIFY when an ACK comes; an open loop (--rate) sends at fixed times, and its latencies
/// count from those times, so that a slow agent cannot hide its delays by slowing the tool.
///
/// The ids and the structure of every ACK are verified, and that it has the expected actions.
#[derive(Args)]
#[command(after_help = help(), after_long_help = help())]
pub(crate) struct Options {
    /// The agent: host:port, tcp://host:port, unix:/path or abns@name
    addr: Addr,
    /// A message of one's own, and its arguments, in place of a preset
    #[arg(value_name = "MESSAGE [KEY=TYPE:VALUE]", conflicts_with = "preset")]
    message: Vec<OsString>,
    /// Further messages of the same NOTIFY, each behind a `--`
    #[arg(last = true, value_name = "MESSAGE [KEY=TYPE:VALUE]", requires = "message")]
    more: Vec<OsString>,
    /// What to send
    #[arg(long, value_enum, default_value_t = Preset::Ip)]
    preset: Preset,
    /// Connections
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// NOTIFYs in flight on each connection (1 to 128)
    #[arg(long, short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=128))]
    in_flight: u8,
    /// Open loop: so many NOTIFYs per second, over all connections
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How long to send
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = crate::net::time)]
    duration: Duration,
    /// Send so many NOTIFYs, however long it takes
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Threads [default: half the cores, at most one per connection]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// What every ACK has to say, in place of what the preset expects; may be given several times
    #[arg(long, value_name = "SCOPE.NAME=TYPE[:VALUE]", conflicts_with = "expect_nothing")]
    expect: Vec<Expected>,
    /// Take any ACK that is well-formed and has the ids of a NOTIFY in flight
    #[arg(long)]
    expect_nothing: bool,
    /// The process of the agent, on this machine: adds its CPU time and peak memory to the report
    #[arg(long)]
    pid: Option<u32>,
    /// The engine-id to announce
    #[arg(long, value_name = "ID", default_value = "spop-load", value_parser = engine_id)]
    engine_id: EngineId,
    /// The max-frame-size to announce
    #[arg(long, value_name = "BYTES", default_value_t = 16380, value_parser = clap::value_parser!(u32).range(256..))]
    max_frame_size: u32,
    /// How long a connection and each answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::net::time)]
    timeout: Duration,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    /// No progress line on standard error
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("not a number above 0".to_owned()),
    }
}

fn help() -> String {
    format!(
        "{}\n\nIn a string of one's own, {{seq}} becomes a number of 16 hex digits that is new in every NOTIFY.\n\n{}\n\n{EXAMPLES}",
        message::GRAMMAR,
        expect::GRAMMAR
    )
}

const EXAMPLES: &str = "\
Examples:
  spop load 127.0.0.1:12345
  spop load 127.0.0.1:12345 -c 64 -i 8 -d 1m --pid $(pidof my-agent)
  spop load 127.0.0.1:12345 --rate 20000 --expect sess.ip_score=int64:42
  spop load unix:/run/spoa.sock --preset trace --expect-nothing --json
  spop load 127.0.0.1:12345 --expect txn.score=int64 my-message id=string:req-{seq} ip=ip:192.0.2.17";

/// How often the progress line is written: on a terminal, and elsewhere.
const PROGRESS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let plan = Arc::new(plan(options)?);
    let mut links = Vec::new();
    for _ in 0..options.connections {
        links.push(connect(&plan, options.timeout)?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or((cores / 2).max(1), usize::from).min(links.len());
    let agent_before = options.pid.map(|pid| process::usage(Some(pid))).transpose()?;
    let tool_before = own_cpu();
    let clock = Clock(Instant::now());
    let mut workers = Vec::new();
    for links in deal(links, threads) {
        let (plan, progress) = (plan.clone(), Arc::new(Progress::default()));
        let tally = Tally::new().map_err(|error| Failure::Io(io::Error::other(error)))?;
        let shared = progress.clone();
        let own = shares(options, &links);
        let thread = std::thread::spawn(move || {
            let connections = links.into_iter().zip(own);
            let connections = connections
                .map(|((_, link), share)| Connection::new(&plan, link, share.pace, share.quota, share.number))
                .collect();
            worker::run(&plan, connections, clock, &shared, tally)
        });
        workers.push((thread, progress));
    }
    if !options.quiet {
        show_progress(&workers, clock.0);
    }
    let mut tally = Tally::new().map_err(|error| Failure::Io(io::Error::other(error)))?;
    for (thread, _) in workers {
        match thread.join() {
            Ok(result) => tally.merge(result?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let tool_cpu = own_cpu().saturating_sub(tool_before);
    // It may have died under the load, which is no reason to keep the report back.
    let agent =
        options.pid.zip(agent_before).map(|(pid, before)| Agent::new(pid, before, process::usage(Some(pid)).ok()));
    let report = Report {
        addr: options.addr.to_string(),
        connections: options.connections.into(),
        in_flight: options.in_flight.into(),
        threads,
        rate: options.rate,
        tally: &tally,
        tool_cpu,
        agent,
    };
    if options.json {
        report.json(out)?;
    } else {
        report.text(out)?;
    }
    match tally.error_count() {
        0 if tally.acks == 0 => Err(Failure::Unexpected("no ACK came".to_owned())),
        0 => Ok(()),
        n => Err(Failure::Unexpected(format!("{n} errors in {} NOTIFYs", tally.sent))),
    }
}

fn plan(options: &Options) -> Result<Plan, Failure> {
    let own = !options.message.is_empty();
    let messages = if own {
        message::parse_all(&options.message, &options.more).map_err(Failure::Usage)?
    } else {
        vec![options.preset.message().map_err(Failure::Usage)?]
    };
    let expected = match (options.expect_nothing || own, options.expect.is_empty()) {
        (_, false) => options.expect.clone(),
        (true, true) => Vec::new(),
        (false, true) => vec![Preset::expected()],
    };
    Ok(Plan {
        addr: options.addr.clone(),
        tls: options.tls.of(&options.addr)?,
        config: ClientConfig::DEFAULT
            .with_max_frame_size(options.max_frame_size)
            .with_engine_id(Some(options.engine_id)),
        payload: Payload::new(&messages).map_err(|error| Failure::Usage(error.to_string()))?,
        expected,
        in_flight: options.in_flight.into(),
        timeout: nanos(options.timeout),
        end: options.requests.is_none().then(|| nanos(options.duration)),
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn connect(plan: &Plan, timeout: Duration) -> Result<Link, Failure> {
    let mut link = Link::connect(&plan.addr, plan.tls.as_ref(), plan.config, timeout)?;
    let negotiated = link.handshake(|_| {})?;
    // With the longest ids.
    let len = encoded_len::frame(StreamId(u64::from(u32::MAX)), FrameId(1), plan.payload.bytes.len()) - PREFIX_LEN;
    if len > negotiated.max_frame_size as usize {
        let limit = negotiated.max_frame_size;
        return Err(Failure::Usage(format!(
            "a NOTIFY of {len} bytes does not fit the negotiated max-frame-size {limit}"
        )));
    }
    if plan.in_flight > 1 && !negotiated.capabilities.contains(Capabilities::PIPELINING) {
        say("the agent does not announce pipelining: one NOTIFY in flight on this connection");
    }
    Ok(link)
}

/// This tool's CPU time. Where there is no /proc it is left at 0.
fn own_cpu() -> Duration {
    process::usage(None).map_or(Duration::ZERO, |usage| usage.cpu)
}

/// Deals the connections, with their numbers, out to the threads.
fn deal(links: Vec<Link>, threads: usize) -> Vec<Vec<(usize, Link)>> {
    let mut hands: Vec<Vec<(usize, Link)>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, link) in links.into_iter().enumerate() {
        if let Some(hand) = hands.get_mut(index % threads.max(1)) {
            hand.push((index, link));
        }
    }
    hands
}

/// What of the run falls to a connection.
struct Share {
    pace: Option<Pace>,
    quota: Option<u64>,
    number: (u64, u64),
}

fn shares(options: &Options, links: &[(usize, Link)]) -> Vec<Share> {
    let all = u64::from(options.connections);
    // New in every run.
    let base = SystemTime::UNIX_EPOCH.elapsed().map_or(0, nanos);
    let share = |index: u64| Share {
        // Spread evenly: the NOTIFYs of the connections take turns.
        pace: options.rate.map(|rate| Pace {
            offset: index as f64 * 1e9 / rate,
            interval: all as f64 * 1e9 / rate,
            count: 0,
        }),
        quota: options.requests.map(|n| n / all + u64::from(index < n % all)),
        number: (base.wrapping_add(index), all),
    };
    links.iter().map(|(index, _)| share(*index as u64)).collect()
}

type Worker = (JoinHandle<Result<Tally, Failure>>, Arc<Progress>);

/// Writes the progress line until the workers end.
fn show_progress(workers: &[Worker], start: Instant) {
    let terminal = io::stderr().is_terminal();
    let every = if terminal { PROGRESS.0 } else { PROGRESS.1 };
    let mut next = every;
    let mut last = (Duration::ZERO, 0);
    while workers.iter().any(|(thread, _)| !thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(20));
        let now = start.elapsed();
        if now < next {
            continue;
        }
        next = now + every;
        let read = workers.iter().map(|(_, progress)| progress.read());
        let (acks, errors) = read.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let per_second = (acks - last.1) as f64 / (now - last.0).as_secs_f64();
        last = (now, acks);
        let (from, to) = if terminal { ("\r", "") } else { ("", "\n") };
        // Nobody may be looking.
        let _unseen =
            write!(io::stderr(), "{from}{:>5} s {per_second:>10.0} ACKs/s {errors:>6} errors{to}", now.as_secs());
    }
    if terminal {
        let _unseen = writeln!(io::stderr());
    }
}
