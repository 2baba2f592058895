//! The programs under attack, and the good client that they have to serve meanwhile.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spop_core::{ClientConfig, Status, Value};
use tokio::io::AsyncWriteExt;

use crate::common::{Event, Peer};
use crate::process::{Process, eventually};
use crate::programs::{example, skipped};

/// "At once", on a machine that does much else.
const AT_ONCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    SpoaOtel,
    IpReputation,
}

pub const BOTH: [Program; 2] = [Program::SpoaOtel, Program::IpReputation];

/// A running agent. It is one process from its start to its end.
pub struct LiveAgent {
    pub program: Program,
    pub process: Process,
    pub addr: String,
    /// A connection that is there from the beginning and has to survive everything.
    good: Peer,
    notifies: u64,
}

impl LiveAgent {
    pub async fn start(program: Program, args: &[&str]) -> Self {
        Self::start_with(program, args, &[]).await
    }

    pub async fn start_with(program: Program, args: &[&str], envs: &[(&str, &str)]) -> Self {
        let mut command = match program {
            Program::SpoaOtel => Command::new(env!("CARGO_BIN_EXE_spoa-otel")),
            Program::IpReputation => Command::new(example("ip_reputation")),
        };
        if program == Program::SpoaOtel && !args.contains(&"--admin") {
            command.args(["--admin", "none"]);
        }
        command.args(["--listen", "127.0.0.1:0"]).args(args).env("NO_COLOR", "1").envs(envs.iter().copied());
        let mut process = Process::start(&format!("{program:?}"), &mut command);
        let addr = process.line("listens", |line| listening(line, "spop")).await;
        let good = Peer::hello(&addr, ClientConfig::DEFAULT).await;
        let mut agent = LiveAgent { program, process, addr, good, notifies: 0 };
        agent.serves("the start").await;
        agent
    }

    /// Where it takes OTLP, if it was told to.
    pub fn otlp_addr(&self) -> Option<String> {
        log(&self.process).iter().find_map(|line| listening(line, "otlp"))
    }

    /// Where it speaks SPOP, in the order of its options.
    pub fn spop_addrs(&self) -> Vec<String> {
        log(&self.process).iter().filter_map(|line| listening(line, "spop")).collect()
    }

    /// Where it takes log lines, over UDP or TCP, in the order of its options.
    pub fn log_addrs(&self) -> Vec<String> {
        let addrs = log(&self.process).into_iter().filter_map(|line| listening(&line, "kind=log"));
        addrs.filter_map(|addr| Some(addr.split_once("://")?.1.to_owned())).collect()
    }

    /// Where its admin endpoints are, if it was told to have any.
    pub fn admin_addr(&self) -> Option<String> {
        log(&self.process).iter().find_map(|line| listening(line, "admin"))
    }

    /// Fails unless the good client gets the right answer at once.
    pub async fn good_is_served(&mut self, after: &str) {
        self.notifies += 1;
        let served = tokio::time::timeout(AT_ONCE, ask(self.program, &mut self.good, self.notifies)).await;
        self.process.assert_alive();
        assert!(served.is_ok(), "{:?} after {after}: the good client is not served at once", self.program);
    }

    /// The same for a new client too.
    pub async fn serves(&mut self, after: &str) {
        self.good_is_served(after).await;
        self.notifies += 1;
        let new = async {
            let mut new = Peer::hello(&self.addr, ClientConfig::DEFAULT).await;
            ask(self.program, &mut new, self.notifies).await;
        };
        let served = tokio::time::timeout(AT_ONCE, new).await;
        self.process.assert_alive();
        assert!(served.is_ok(), "{:?} after {after}: a new client is not served at once", self.program);
    }

    /// The number of its open files.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }

    /// Waits until it has no more open files than so many.
    pub async fn open_files_at_most(&self, limit: usize) {
        let what = format!("{:?} has {limit} open files or less", self.program);
        eventually(&what, || (self.open_files() <= limit).then_some(())).await;
    }

    /// Waits until it takes no more memory than so many bytes.
    pub async fn rss_at_most(&self, limit: u64) {
        let what = format!("{:?} takes {} KiB or less", self.program, limit >> 10);
        eventually(&what, || (self.process.rss() <= limit).then_some(())).await;
    }

    /// Stops it, which has to go well. Gives its log.
    pub async fn stop(self) -> Vec<String> {
        self.process.signal("-TERM");
        self.ended().await
    }

    /// Waits for its end, which has to be a good one. Gives its log.
    pub async fn ended(mut self) -> Vec<String> {
        assert_eq!(self.good.event().await, Event::Disconnect(Status::NORMAL), "{:?}", self.program);
        drop(self.good);
        let status = self.process.ended().await;
        assert!(status.success(), "{:?}: {status}", self.program);
        if self.program == Program::SpoaOtel {
            // The output is read by a thread of its own.
            self.process.line("stops", |line| line.ends_with("stopped").then_some(())).await;
        }
        let log = log(&self.process);
        assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
        log
    }
}

/// The address in the line that tells of listening for this.
fn listening(line: &str, kind: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening addr=")?;
    let (addr, rest) = rest.split_once(' ')?;
    rest.contains(kind).then(|| addr.to_owned())
}

/// The log so far, without the trees that spoa-otel prints.
fn log(process: &Process) -> Vec<String> {
    let is_log = |line: &String| line.contains("panicked") || line.starts_with("20") && line.contains("Z ");
    process.output().into_iter().filter(is_log).collect()
}

/// A NOTIFY with something for each of the programs, and the right answer.
async fn ask(program: Program, peer: &mut Peer, n: u64) {
    let id = n.to_string();
    let frame = peer.encode_notify(n, 1, |notify| {
        notify.message(b"otel:good").unwrap();
        for (name, value) in [("id", &*id), ("span", "good"), ("inject", "good"), ("finish", "*")] {
            notify.arg(name.as_bytes(), Value::from(value)).unwrap();
        }
        notify.message(b"rate").unwrap();
        notify.arg(b"ip", Value::Ipv4([192, 0, 2, 17].into())).unwrap();
    });
    peer.stream.write_all(&frame).await.unwrap();
    let event = peer.event().await;
    let Event::Ack { stream_id, frame_id: 1, vars } = &event else { panic!("{program:?}: {event:?}") };
    assert_eq!(*stream_id, n);
    let expected = match program {
        Program::SpoaOtel => "traceparent",
        Program::IpReputation => "ip_score",
    };
    let (_, _, value) = vars.iter().find(|(_, name, _)| name == expected).unwrap_or_else(|| panic!("{event:?}"));
    if program == Program::IpReputation {
        assert_eq!(value, "Int64(42)");
    }
}

/// The value of `name=` in the log line that has this text.
pub fn figure(log: &[String], text: &str, name: &str) -> u64 {
    let line = log.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?}: {log:#?}"));
    let mut pairs = line.split(' ').filter_map(|word| word.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no {name}: {line}"));
    value.parse().unwrap()
}

/// Raises this process's limit of open files, which agents started later inherit. False, with a word, if the system
/// does not allow so many.
pub fn allow_files(needed: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|soft| soft >= needed) {
        return true;
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    if let Err(error) = raised {
        skipped(&format!("{needed} open files are not allowed (ulimit -Hn): {error}"));
    }
    raised.is_ok()
}
