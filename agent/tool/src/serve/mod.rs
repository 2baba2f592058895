//! `spop serve`: an agent that does what it is told.

mod connection;
mod rules;
mod shared;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use spop_agent::addr::ListenAddr;
use spop_core::{AgentConfig, Capabilities};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::tap::{Listener, Tap, TapOptions};
use shared::{Counts, Shared};

/// Be an agent for a configuration under test: show every NOTIFY, answer by rules
///
/// HAProxy's configuration is tried without the agent that it is for. Each NOTIFY and its ACK are a line, as `spop decode` prints them.
#[derive(Args)]
#[command(after_help = help(), after_long_help = help())]
pub(crate) struct Options {
    /// Where to listen: host:port, tcp://host:port, unix:/path[,mode=660,user=NAME,group=NAME] or abns@name
    listen: ListenAddr,
    #[command(flatten)]
    on: On,
    /// Further rules, a line each
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The max-frame-size to offer
    #[arg(long, value_name = "BYTES", default_value_t = AgentConfig::DEFAULT.max_frame_size, value_parser = clap::value_parser!(u32).range(256..))]
    max_frame_size: u32,
    /// What to announce, as far as HAProxy has it too; none is ""
    #[arg(long, value_name = "LIST", default_value = "pipelining,fragmentation", value_parser = capabilities)]
    capabilities: Capabilities,
    /// The most delayed ACKs of a connection at once (0 to 1023); further ones come without a delay
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(0..=connection::MAX_DELAYED as i64))]
    max_delayed: u16,
    #[command(flatten)]
    tap: TapOptions,
}

/// The words of each `--on`, which clap's macro would run together.
struct On(Vec<Vec<String>>);

impl FromArgMatches for On {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let rules = matches.get_occurrences::<String>("on").into_iter().flatten();
        Ok(On(rules.map(|words| words.cloned().collect()).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for On {
    fn augment_args(command: Command) -> Command {
        let on = Arg::new("on").long("on").value_names(["WHEN", "DO"]).num_args(2..).action(ArgAction::Append);
        command.arg(on.help("What to answer to which message, see below; may be given several times"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn capabilities(text: &str) -> Result<Capabilities, String> {
    text.parse().map_err(|error: spop_core::ParseError| error.to_string())
}

fn help() -> String {
    format!("{}\n\n{EXAMPLES}", rules::GRAMMAR)
}

const EXAMPLES: &str = "\
Examples:
  spop serve 127.0.0.1:12345
  spop serve 127.0.0.1:12345 --on check-client-ip 'set-var sess.ip_score=int64:42'
  spop serve 127.0.0.1:12345 --on 'check-client-ip ip=net:192.0.2.0/24' 'set-var sess.ip_score=int64:90' 'delay 200ms'
  spop serve unix:/run/spoa.sock --rules answers.txt --record session.pcapng
Ctrl-C ends it with a summary.";

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut rules = Vec::new();
    for words in &options.on.0 {
        let wrong = |error| Failure::Usage(format!("--on {}: {error}", words.join(" ")));
        rules.push(rules::of_words(words).map_err(wrong)?);
    }
    if let Some(path) = &options.rules {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Failure::File { name: name.clone(), error })?;
        let told = |wrong: Vec<(usize, String)>| {
            let lines: Vec<_> = wrong.iter().map(|(line, error)| format!("{name}:{line}: {error}")).collect();
            Failure::Usage(lines.join("\nspop: "))
        };
        rules.extend(rules::of_file(&text).map_err(told)?);
    }
    let runtime = crate::tap::runtime()?;
    // First: a record of an earlier run is not overwritten by one that cannot begin.
    let listener = runtime.block_on(Listener::bind(&options.listen))?;
    let tap = Arc::new(Tap::new(&options.tap)?);
    let config = AgentConfig::DEFAULT
        .with_max_frame_size(options.max_frame_size)
        .with_capabilities(options.capabilities)
        .with_half_frame_timeout(Some(10_000));
    let (max_delayed, all, counts) = (options.max_delayed.into(), options.tap.all, Counts::default());
    let shared = Arc::new(Shared { rules, config, max_delayed, all, tap: tap.clone(), counts });
    runtime.block_on(listen(listener, options, &shared))?;
    drop(runtime);
    shared.summary();
    drop(shared);
    crate::tap::finish(tap)
}

async fn listen(mut listener: Listener, options: &Options, shared: &Arc<Shared>) -> Result<(), Failure> {
    let own = listener.addr().to_owned();
    let (ending, ends) = watch::channel(false);
    let told = (&shared.counts.refused, shared.tap.closed());
    let mut connections = listener
        .serve(options.tap.max_connections, told, |stream, peer| {
            shared.counts.connections.fetch_add(1, Relaxed);
            connection::serve(stream, peer, own.clone(), shared.clone(), ends.clone())
        })
        .await?;
    ending.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}
