//! `spop man` and `spop completions`: documentation for packagers.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

/// Print the manual page, or write the pages of all commands into a directory
#[derive(Args)]
pub(crate) struct Man {
    /// Where to write spop.1, spop-check.1 and the others [default: print spop.1]
    directory: Option<PathBuf>,
}

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = "Example:\n  spop completions bash > /etc/bash_completion.d/spop")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn man(options: &Man, command: Command, out: &mut impl Write) -> Result<(), Failure> {
    match &options.directory {
        None => Ok(clap_mangen::Man::new(command).render(out)?),
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::File { name: directory.display().to_string(), error }),
    }
}

pub(crate) fn completions(options: &Completions, mut command: Command, out: &mut impl Write) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "spop", &mut script);
    Ok(out.write_all(&script)?)
}
