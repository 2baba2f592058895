//! The agent is restarted under load, and its sockets stay open: no request fails, no span is lost.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::client::get;
use super::{Mode, Proxy, Setup, Transport};
use crate::collector::Collector;
use crate::haproxy::{Program, extremes};
use crate::passed::pass;
use crate::programs::say;
use crate::setup::Spoa;
use crate::spans::by_trace;

/// Five hundred requests a second.
const PACE: Duration = Duration::from_millis(2);

/// At most, at once.
const AT_ONCE: usize = 64;

/// Of each kind of change.
const ROUNDS: usize = 3;

/// What systemd holds while agents come and go.
pub struct Sockets {
    pub spop: TcpListener,
    pub log: UdpSocket,
}

impl Sockets {
    pub fn open() -> Self {
        let (spop, log) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        // As ReceiveBuffer= of a socket unit, which root alone may set beyond the system's limit.
        let _ =
            set_socket_recv_buffer_size_force(&log, 4 << 20).or_else(|_| set_socket_recv_buffer_size(&log, 4 << 20));
        Sockets { spop, log }
    }

    async fn start(&self, collector: &Collector) -> Spoa {
        self.start_with(&["--otlp", &collector.url]).await
    }

    pub async fn start_with(&self, args: &[&str]) -> Spoa {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
        command.args(["--listen", "systemd:spop", "--log-listen", "systemd:log"]).args(args);
        let sockets = [("spop", self.spop.try_clone().unwrap().into()), ("log", self.log.try_clone().unwrap().into())];
        pass(&mut command, sockets.into());
        Spoa::run(command).await
    }
}

/// What an agent says at its end.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    notifies: u64,
    acks: u64,
    unanswered: u64,
    late: u64,
    lines: u64,
    started: u64,
    ended: u64,
    exported: u64,
    dropped: u64,
}

/// The figures in a line of its log.
fn figures(line: &str) -> BTreeMap<&str, u64> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, figure)| Some((name, figure.parse().ok()?))).collect()
}

impl Account {
    /// Waits for the end of an agent that was told to stop.
    async fn of(mut spoa: Spoa) -> Self {
        assert!(spoa.process.ended().await.success());
        spoa.process.line("its account", |line| line.ends_with(" stopped").then_some(())).await;
        let output = spoa.process.output();
        let line = |of: &str| figures(output.iter().find(|line| line.contains(of)).unwrap());
        let (served, read) = (line("connections ended"), line("log lines read"));
        let spans = line("spans accounted for exporter=\"otlp\"");
        let own = Account {
            notifies: served["notifies"],
            acks: served["acks"],
            unanswered: served["unanswered"],
            late: served["late"],
            lines: read["ours"],
            started: spans["started"],
            ended: spans["ended"],
            exported: spans["exported"],
            dropped: spans["dropped"],
        };
        assert_eq!((own.notifies, own.unanswered), (own.acks, 0), "what it took it answered: {own:?}");
        assert_eq!((own.started, own.started), (own.ended, own.exported + own.dropped), "{own:?}");
        own
    }

    fn add(&mut self, other: Account) {
        self.notifies += other.notifies;
        self.late += other.late;
        self.lines += other.lines;
        self.exported += other.exported;
        self.dropped += other.dropped;
    }
}

/// Asks at this pace until told to stop; the trace of each request.
pub async fn load(addr: String, over: watch::Receiver<bool>) -> Vec<String> {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A machine that is too slow for the pace makes no crowd of them.
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut requests = Vec::new();
    while !*over.borrow() {
        ticks.tick().await;
        let place = places.clone().acquire_owned().await.unwrap();
        let (addr, path) = (addr.clone(), format!("/handed-over/{}", requests.len()));
        requests.push(tokio::spawn(async move {
            let _place = place;
            get(&addr, &path).await
        }));
    }
    let seen = join_all(requests).await.into_iter().map(Result::unwrap);
    seen.map(|seen| {
        assert_eq!(seen.status, Some(200), "{seen:?}");
        seen.trace_id.unwrap()
    })
    .collect()
}

/// Under load, one agent after the other: how long it took until the next one listened, and what all of them say.
async fn hand_over(program: &Program, overlapping: bool) {
    let what = format!("{}.{} overlapping={overlapping}", program.version.0, program.version.1);
    let setup = Setup { spoe_timeout: "5s", ..Setup::of(Mode::Lean, Transport::Udp) };
    let sockets = Sockets::open();
    let collector = Collector::start().await;
    let spoa = sockets.start(&collector).await;
    let files = (sockets.log.local_addr().unwrap().to_string(), tempfile::tempdir().unwrap());
    let mut proxy = Proxy::around(program, setup, collector, spoa, files).await;
    let (stop, over) = watch::channel(false);
    let load = tokio::spawn(load(proxy.addresses.http.clone(), over));
    let (mut all, mut longest) = (Account::default(), Duration::ZERO);
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let begin = Instant::now();
        if overlapping {
            let old = std::mem::replace(&mut proxy.spoa, sockets.start(&proxy.collector).await);
            old.process.signal("-TERM");
            all.add(Account::of(old).await);
        } else {
            proxy.spoa.process.signal("-TERM");
            proxy.spoa.process.ended().await;
            let old = std::mem::replace(&mut proxy.spoa, sockets.start(&proxy.collector).await);
            longest = longest.max(begin.elapsed());
            all.add(Account::of(old).await);
        }
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.send(true).unwrap();
    let ids = load.await.unwrap();
    let requests = ids.len() + proxy.warm_up;
    let traces = by_trace(proxy.collector.wait_for(2 * requests).await);
    for id in ids {
        assert_eq!(traces[&id].len(), 2, "{what}");
    }
    proxy.spoa.process.signal("-TERM");
    all.add(Account::of(proxy.spoa).await);
    let asked = all.notifies + all.late;
    say(&format!("{what}: {requests} requests, {asked} NOTIFYs, {} crossed a DISCONNECT, {longest:?} away", all.late));
    assert_eq!((all.lines, all.exported, all.dropped), (requests as u64, 2 * requests as u64, 0), "{what}: {all:?}");
    // One that HAProxy sends within the same moment is possible; it is rare.
    assert!(all.late * 100 <= asked, "{what}: {all:?}");
    // What HAProxy sent is known to an agent, also what it could not answer any more. The first requests may have come before
    // HAProxy knew the agent.
    let not_asked = requests as u64 - asked;
    assert!(not_asked < proxy.warm_up as u64, "{what}: {not_asked} of {requests}: {all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing() {
    for program in extremes() {
        for overlapping in [false, true] {
            hand_over(&program, overlapping).await;
        }
    }
}
