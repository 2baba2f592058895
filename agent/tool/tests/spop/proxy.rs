//! A real HAProxy before an agent. `SPOP_HAPROXY` names the programs, separated by commas; the default is `haproxy` of the search path.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::matrix::Tested;
use crate::support::{Process, skipped, until, wait};

/// Calls it with each HAProxy and its version.
pub fn with_each(test: impl Fn(&str, &str)) {
    let programs = std::env::var("SPOP_HAPROXY").unwrap_or_else(|_| "haproxy".to_owned());
    for program in programs.split(',').map(str::trim).filter(|program| !program.is_empty()) {
        match Command::new(program).arg("-v").output() {
            Ok(version) => {
                let version = String::from_utf8(version.stdout).unwrap();
                let version = version.split_whitespace().nth(2).unwrap_or_default();
                let tested = Tested::begins("tool", version);
                test(program, version);
                tested.passed();
            }
            Err(error) => skipped(&format!("no {program}: {error}; SPOP_HAPROXY names the programs")),
        }
    }
}

/// Is it one of those that had fragmentation, async and `mode tcp`?
pub fn is_old(version: &str) -> bool {
    version.starts_with("2.") || version.starts_with("3.0")
}

/// HAProxy, listening.
pub struct Proxy {
    process: Process,
    directory: TempDir,
}

impl Proxy {
    /// With this agent, the engine `all` of an SPOE configuration, and an answer to every request, in HAProxy's words of `lf-string`.
    pub fn start(program: &str, agent: &str, spoe: &str, answer: &str) -> Self {
        Self::with_threads(program, 1, agent, spoe, answer)
    }

    /// With so many threads.
    pub fn with_threads(program: &str, threads: usize, agent: &str, spoe: &str, answer: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        std::fs::write(dir.join("spoe.cfg"), spoe).unwrap();
        std::fs::write(dir.join("haproxy.cfg"), config(dir, threads, agent, answer)).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut process = Process(
            Command::new(program)
                .args(["-db", "-f", dir.join("haproxy.cfg").to_str().unwrap()])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
        let (socket, log) = (dir.join("web.sock"), dir.join("log"));
        until("HAProxy listens", || {
            let log = || std::fs::read_to_string(&log).unwrap();
            assert!(process.0.try_wait().unwrap().is_none(), "{program}: {}", log());
            UnixStream::connect(&socket).is_ok()
        });
        Proxy { process, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("web.sock")
    }

    /// The answer to a request with these header lines.
    pub fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A soft stop: HAProxy up to 3.0 sends its DISCONNECTs.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.process.0), Signal::USR1).unwrap();
        wait(&mut self.process.0, "HAProxy");
    }
}

fn config(dir: &Path, threads: usize, agent: &str, answer: &str) -> String {
    let dir = dir.display();
    format!(
        "\
global
    nbthread {threads}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind unix@{dir}/web.sock
    filter spoe engine all config {dir}/spoe.cfg
    default_backend answers
backend answers
    http-request return status 200 content-type text/plain lf-string {answer}\\n
backend agents
    mode tcp
    option spop-check
    timeout server 30s
    server agent {agent} check inter 200ms
"
    )
}
