//! `spoa-otel` started by a test file, which has the modules `common` and `process` too.

#![allow(dead_code)] // Each test file uses a part of it.

use std::process::{Command, Output};

use serde_json::Value as Json;
use spop_core::{ClientConfig, Value};
use tokio::io::AsyncWriteExt;

use crate::common::Peer;
use crate::process::Process;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    command.args(["--listen", "127.0.0.1:0"]);
    command
}

/// Runs it to its end, without admin endpoints unless they are asked for: exit status and output.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = program();
    if !args.iter().any(|arg| arg.starts_with("--admin")) {
        command.args(["--admin", "none"]);
    }
    let Output { status, stdout, stderr } = command.args(args).envs(env.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The program with a log in JSON, and a client of it.
pub struct Session {
    pub process: Process,
    pub peer: Peer,
    /// Where SPOP is spoken.
    pub addr: String,
    /// Where the admin endpoints are.
    pub admin: String,
    notifies: u64,
}

impl Session {
    pub async fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = program();
        command.args(["--admin", "127.0.0.1:0", "--log-format", "json"]).args(args).envs(env.iter().copied());
        let mut process = Process::start("spoa-otel", &mut command);
        let addr = process.line("listens", |line| address(line, "spop")).await;
        let admin = process.line("listens", |line| address(line, "admin")).await;
        let peer = Peer::hello(&addr, ClientConfig::DEFAULT).await;
        Session { process, peer, addr, admin, notifies: 0 }
    }

    /// One NOTIFY with a message of these arguments; waits for the ACK.
    pub async fn message(&mut self, id: &str, args: &[(&str, &str)]) {
        self.notify("otel:test", &[&[("id", id)], args].concat()).await;
    }

    /// The same with a message of any name.
    pub async fn notify(&mut self, message: &str, args: &[(&str, &str)]) {
        self.notifies += 1;
        let frame = self.peer.encode_notify(self.notifies, 1, |notify| {
            notify.message(message.as_bytes()).unwrap();
            for (name, value) in args {
                notify.arg(name.as_bytes(), Value::from(*value)).unwrap();
            }
        });
        self.peer.stream.write_all(&frame).await.unwrap();
        self.peer.ack().await;
    }

    /// Stops it; the lines of its log.
    pub async fn stop(mut self) -> Vec<Json> {
        self.process.signal("-TERM");
        let status = self.process.ended().await;
        assert_eq!(status.code(), Some(0));
        // The output is read by a thread of its own.
        self.process.line("ends", |line| line.contains("\"stopped\"").then_some(())).await;
        // The console prints trees.
        self.process.output().iter().filter(|line| line.starts_with('{')).map(|line| json(line)).collect()
    }
}

/// The address in the log line about the listener of this kind.
pub fn address(line: &str, kind: &str) -> Option<String> {
    let fields = &json(line)["fields"];
    (fields["kind"] == kind).then(|| fields["addr"].as_str().unwrap().to_owned())
}

/// Each line of the log is an object with time, level, target and a message.
pub fn json(line: &str) -> Json {
    let parsed: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    for key in ["timestamp", "level", "target"] {
        assert!(parsed[key].is_string(), "{key}: {line}");
    }
    assert!(parsed["fields"]["message"].is_string(), "{line}");
    parsed
}
