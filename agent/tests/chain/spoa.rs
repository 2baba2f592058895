//! The agent's program, and the configurations of HAProxy beside it.

use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;

/// The agent's program, running.
pub struct Spoa {
    pub process: Process,
    pub addr: String,
    /// Where its admin endpoints are.
    pub admin: String,
}

impl Spoa {
    /// Starts it on `listen` with further options.
    pub async fn start(listen: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        command.args(["--listen", listen]).args(args).envs(env.iter().copied());
        Self::run(command).await
    }

    /// Starts it as it is called here, with admin endpoints.
    pub async fn run(mut command: Command) -> Self {
        command.args(["--admin", "127.0.0.1:0"]);
        let mut process = Process::start("spoa-otel", &mut command);
        let addr = process.line("listening", |line| listening_address(line, "spop")).await;
        let admin = process.line("listening", |line| listening_address(line, "admin")).await;
        Spoa { process, addr, admin }
    }
}

/// The address in the log line about the listener of this kind.
pub fn listening_address(line: &str, kind: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening addr=")?;
    let (addr, of) = rest.split_once(" kind=")?;
    (of == kind).then(|| addr.to_owned())
}

/// A file of devenv/conf.
pub fn conf(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../devenv/conf").join(name)
}
