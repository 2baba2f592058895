//! `spop`: checks, calls, decodes and loads SPOE agents from the command line.

#![forbid(unsafe_code)]
// They panic where nobody reads; `say` does not.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod check;
mod decode;
mod expect;
mod failure;
mod input;
mod link;
mod lint;
mod load;
mod message;
mod net;
mod notify;
mod relay;
mod say;
mod serve;
mod show;
mod tap;
mod tls;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use failure::Failure;
use say::say;
use spop_agent::generate::Generate;

/// The command line tool for SPOP, the protocol between HAProxy and its SPOE agents
#[derive(Parser)]
#[command(name = "spop", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
#[command(
    long_about = "The command line tool for SPOP 2.0, the protocol between HAProxy's SPOE filter and its agents. \
    It plays HAProxy's part towards an agent, and reads recorded traffic.\n\n\
    ADDR is host:port, tcp://host:port, unix:/path or abns@name."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    generate: Generate,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and everything as expected
  1  not as expected: an answer other than --expect, errors of any kind under load, input that does not decode or re-encode
  2  the command line is wrong
  3  cannot connect
  4  the agent broke the protocol, refused or disconnected
  5  no answer in time
  6  a file, the input or the output failed";

#[derive(Subcommand)]
enum Command {
    Check(check::Options),
    Notify(notify::Options),
    Decode(decode::Options),
    Load(load::Options),
    Serve(serve::Options),
    Relay(relay::Options),
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout());
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Check(options)) => check::run(&options, &mut out),
        Some(Command::Notify(options)) => notify::run(&options, &mut out),
        Some(Command::Decode(options)) => decode::run(&options, &mut out),
        Some(Command::Load(options)) => load::run(&options, &mut out),
        Some(Command::Serve(options)) => serve::run(&options),
        Some(Command::Relay(options)) => relay::run(&options),
        Some(Command::Lint(options)) => lint::run(&options, &mut out),
        None => cli.generate.run(Cli::command(), &[], &mut out).map_err(Failure::from),
    };
    let result = result.and(out.flush().map_err(Failure::from));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough, as in `spop decode … | head`.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // The reason goes out even if standard output is stuck behind it.
            let _unwritten = out.flush();
            say(&failure);
            ExitCode::from(failure.code())
        }
    }
}
