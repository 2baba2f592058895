//! The long run: one agent behind HAProxys of four threads, in turn with log lines and with nine spans, while the collector fails in each
//! way that there is, HAProxys reload, the agent reads its configuration again, and agents are ended and killed. After each phase the
//! accounts must come out to the last span. `devenv/soak --hours 1` runs it for an hour and writes the report; here it lasts some seconds.

use std::time::{Duration, Instant};

use super::clients::{Answer, Clients, ask};
use super::memory::{Sample, median};
use super::proxies::{Peers, Proxies};
use super::steps::{Step, steps};
use super::totals::Totals;
use super::{Kind, from_env, percentile, report};
use crate::faults::{FaultyCollector, Mode};
use crate::haproxy::{Program, extremes, programs};
use crate::lines::handover::Sockets;
use crate::origin::Origin;
use crate::process::{Process, free_port};
use crate::scrape::Metrics;
use crate::setup::Spoa;

/// A run of this length is a long one: all HAProxys, several rounds.
const LONG: Duration = Duration::from_secs(600);

/// Until everything is exported, and what HAProxy left open is idle.
const SETTLES: Duration = Duration::from_secs(90);

/// Beyond HAProxy's timeouts: what a busy machine, or a SYN sent again, may take.
const SLACK: Duration = Duration::from_secs(3);

/// Spans of a killed agent that were not exported yet are lost: at most of so long.
const LOST_BY_KILL: Duration = Duration::from_secs(2);

/// What memory may grow from the second round to the last.
const GROWTH: f64 = 1.05;
const GROWTH_KIB: f64 = 1024.0;

/// What is run.
pub struct Plan {
    pub date: String,
    pub agent: String,
    pub programs: Vec<Program>,
    pub cores: usize,
    pub rate: u32,
    rounds: usize,
    length: Duration,
}

impl Plan {
    fn from_env() -> Self {
        let total = Duration::from_secs(from_env("SPOP_SOAK_SECONDS", 16));
        let mut programs = if total >= LONG { programs() } else { extremes() };
        programs.sort_by_key(|program| program.version);
        let rounds = if total >= LONG { programs.len().max(4) + 2 } else { programs.len() };
        let length = total / (Kind::IN_TURN.len() * rounds + Kind::AT_THE_END.len()) as u32;
        Plan {
            date: said("date", &["-u", "+%F %H:%M UTC"]),
            agent: said(env!("CARGO_BIN_EXE_spoa-otel"), &["--version"]),
            programs,
            cores: std::thread::available_parallelism().unwrap().get(),
            rate: from_env("SPOP_SOAK_RATE", 100) as u32,
            rounds,
            length,
        }
    }
}

fn said(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a phase saw.
pub struct Phase {
    pub name: String,
    kind: Kind,
    round: usize,
    pub haproxy: String,
    pub answers: usize,
    pub resets: u32,
    /// p50, p99 and the longest, in milliseconds.
    pub times: [f64; 3],
    /// Lines, missing ones, events without an answer; spans started, exported, dropped, and at the collector.
    pub figures: [u64; 7],
    /// Changes of the collector, reloads, SIGHUP, SIGTERM, SIGKILL.
    pub done: [usize; 5],
    pub samples: Vec<Sample>,
    pub end: Duration,
}

struct Run {
    plan: Plan,
    start: Instant,
    sockets: Sockets,
    /// Behind the sockets.
    spoa: Spoa,
    collector: FaultyCollector,
    origin: Origin,
    folder: tempfile::TempDir,
    reads: u32,
    phases: Vec<Phase>,
    faults: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wrong_again_and_again() {
    let mut run = Run::start(Plan::from_env()).await;
    for round in 0..run.plan.rounds {
        for kind in Kind::IN_TURN {
            run.phase(kind, round).await;
        }
    }
    run.check_memory();
    for kind in Kind::AT_THE_END {
        run.phase(kind, run.plan.rounds - 1).await;
    }
    run.spoa.process.signal("-TERM");
    assert!(run.spoa.process.ended().await.success());
    assert!(run.faults.is_empty(), "{:#?}", run.faults);
    if run.plan.length * run.phases.len() as u32 >= LONG {
        run.plan.programs.iter().for_each(|program| program.tested("soak").passed());
    }
}

impl Run {
    async fn start(plan: Plan) -> Self {
        let (collector, sockets, folder) =
            (FaultyCollector::start().await, Sockets::open(), tempfile::tempdir().unwrap());
        write_config(&folder, &collector.url, 0);
        let spoa = start_agent(&sockets, &folder).await;
        let (start, origin) = (Instant::now(), Origin::forgetful().await);
        Run { plan, start, sockets, spoa, collector, origin, folder, reads: 0, phases: vec![], faults: vec![] }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let fault = what();
            println!("FAULT: {fault}");
            self.faults.push(fault);
        }
    }

    fn sample(&self) -> Sample {
        Sample::take(self.spoa.process.pid(), self.start.elapsed())
    }

    async fn phase(&mut self, kind: Kind, round: usize) {
        let program = self.plan.programs[round % self.plan.programs.len()].clone();
        let before = Totals::of(&Metrics::scrape(&self.spoa.admin).await);
        self.collector.forget();
        let mut asked = match kind {
            Kind::Asked => Some(start_asked(&format!("127.0.0.1:{}", free_port()), &self.collector.url).await),
            _ => None,
        };
        let log = self.sockets.log.local_addr().unwrap().to_string();
        let who = asked.as_ref().unwrap_or(&self.spoa);
        let peers = Peers { spoa: &who.addr, log: &log, server: &self.origin.addr };
        let mut proxies = Proxies::start(&program, kind, peers).await;
        let mut answers = until_asked(&proxies.addr, &who.admin).await;

        let clients = Clients::start(&proxies.addr, self.plan.rate);
        let (begin, mut gone, mut done, mut samples) = (Instant::now(), Totals::default(), [0; 5], Vec::new());
        for (at, step) in steps(kind, self.plan.length) {
            tokio::time::sleep_until((begin + at).into()).await;
            match step {
                Step::Sample => samples.push(self.sample()),
                Step::Collector(mode) => self.collector.set(mode).await,
                Step::Reload(proxy) => proxies.haproxys[proxy].reload(),
                Step::Hup => self.reload().await,
                Step::End(signal) => match &mut asked {
                    Some(asked) => self.end_asked(asked, signal).await,
                    None => gone = gone + self.end_itself(signal).await,
                },
            }
            if let Some(count) = step.counted() {
                done[count] += 1;
            }
        }
        tokio::time::sleep_until((begin + self.plan.length).into()).await;
        self.collector.set(Mode::Healthy).await;
        answers.extend(clients.stop().await);
        for haproxy in &mut proxies.haproxys {
            haproxy.reloaded().await;
        }
        // Over the last ones of both.
        answers.push(ask(&proxies.addr, "/last").await);
        let now = self.settled(kind, gone, before, answers.len()).await;
        samples.push(self.sample());

        let phase = Phase {
            name: format!("{}, {}", round + 1, kind.name()),
            kind,
            round,
            haproxy: program.full_version.clone(),
            answers: answers.len(),
            resets: answers.iter().map(|answer| answer.resets).sum(),
            times: times(&answers),
            figures: self.figures(now, proxies.spoe_errors()),
            done,
            samples,
            end: self.start.elapsed(),
        };
        self.check_phase(&program, &answers, &now, &phase);
        self.phases.push(phase);
        let text = report::text(&self.plan, &self.phases, &self.faults);
        if let Ok(path) = std::env::var("SPOP_SOAK_REPORT") {
            std::fs::write(&path, &text).unwrap_or_else(|error| panic!("SPOP_SOAK_REPORT={path}: {error}"));
        }
    }

    fn figures(&self, now: Totals, errors: usize) -> [u64; 7] {
        let Totals { lines, missing, started, exported, dropped, .. } = now;
        let [lines, missing, started, exported, dropped] =
            [lines, missing, started, exported, dropped].map(|figure| figure.max(0) as u64);
        [lines, missing, errors as u64, started, exported, dropped, self.collector.spans().0]
    }

    /// What this phase counted, when nothing is under way any more.
    async fn settled(&mut self, kind: Kind, gone: Totals, before: Totals, answers: usize) -> Totals {
        let end = Instant::now() + SETTLES;
        let mut last = None;
        loop {
            let now = Totals::of(&Metrics::scrape(&self.spoa.admin).await) + gone - before;
            // Lines that a killed agent had read are counted by nobody.
            let whole = kind == Kind::Killed || now.lines + now.not_taken >= 2 * answers as i64;
            if whole && now.open == 0 && now.queued == 0 && last == Some(now) {
                return now;
            }
            if Instant::now() > end {
                return now;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn check_phase(&mut self, program: &Program, answers: &[Answer], now: &Totals, phase: &Phase) {
        let (kind, what) = (phase.kind, format!("{} ({})", phase.name, phase.haproxy));
        let [_, _, errors, .., collected] = phase.figures;
        let statuses = answers.iter().filter(|answer| answer.status != 200).count();
        self.check(statuses == 0, || format!("{what}: {statuses} requests were not answered by 200"));
        let without = answers.iter().filter(|answer| !answer.traced).count();
        let may_be_without = if kind == Kind::Nine { errors as usize } else { 0 };
        self.check(without <= may_be_without, || format!("{what}: {without} requests without ids, {errors} errors"));

        // Each proxy asks at each event, and waits no longer than this. Of old they look again every five seconds only.
        let mut longest = 2 * kind.events() * kind.spoe_timeout() + SLACK;
        if program.version < (3, 0) && kind.ends_agents() {
            longest += Duration::from_secs(10);
        }
        let [_, p99, max] = phase.times;
        self.check(max <= longest.as_secs_f64() * 1e3, || format!("{what}: a request took {max:.0} ms"));
        let usual = 2 * kind.spoe_timeout() + Duration::from_secs(1);
        self.check(p99 <= usual.as_secs_f64() * 1e3, || format!("{what}: a hundredth took {p99:.0} ms and more"));

        if kind == Kind::Killed {
            let expected = 4 * answers.len() as u64;
            let lost = expected.saturating_sub(collected);
            let bound = 4 * phase.done[4] as u64 * u64::from(self.plan.rate) * LOST_BY_KILL.as_secs();
            self.check(lost <= bound && collected > 0, || format!("{what}: {lost} of {expected} spans are lost"));
            return;
        }

        // Lines: each request has one at each proxy; one that was sent again may have more.
        let (least, most) = (2 * answers.len() as i64, 2 * (answers.len() as i64 + i64::from(phase.resets)));
        let known = now.lines + now.not_taken;
        self.check((least..=most).contains(&known), || {
            format!("{what}: {} requests, {} of them again, {now:?}", answers.len(), phase.resets)
        });
        self.check(now.lines == now.outcomes, || format!("{what}: lines have no outcome: {now:?}"));
        // HAProxy's threads may number two lines alike.
        let alike = 4 * (2 + phase.done[1]) as i64;
        self.check(now.missing <= now.not_taken + alike, || format!("{what}: lines are missing: {now:?}"));
        // One that is replaced at once may have had no request.
        let reloads = phase.done[1] as i64;
        let seen = if self.plan.length < LONG / 20 { reloads.min(2) } else { reloads };
        self.check(kind == Kind::Ended || now.sources >= 2 + seen, || {
            format!("{what}: not as many HAProxys as reloads: {now:?}")
        });

        // Spans.
        let of_a_line = match kind {
            Kind::Nine if program.bears_nine_spans() => 9,
            _ => 2,
        };
        let expected = of_a_line * if kind == Kind::Nine { now.completed } else { now.traced };
        // An event that HAProxy did not wait for may have come late, or not at all.
        let inexact = if kind == Kind::Nine { of_a_line * errors as i64 } else { 0 };
        self.check((now.started - expected).abs() <= inexact, || format!("{what}: {expected} spans expected, {now:?}"));
        self.check(now.lines - now.completed - now.traced <= inexact, || {
            format!("{what}: requests without spans: {now:?}")
        });
        self.check(now.adds_up(), || format!("{what}: spans do not add up: {now:?}"));
        let at_collector = now.exported..=now.exported + now.dropped;
        self.check(at_collector.contains(&(collected as i64)), || {
            format!("{what}: {collected} at the collector, {now:?}")
        });
        self.check(phase.done[2] == 0 || (now.reads > 0 && now.unread == 0), || {
            format!("{what}: the configuration was not read again: {now:?}")
        });
    }

    /// Of the phases so far, which all saw the same process.
    fn check_memory(&mut self) {
        let last = self.plan.rounds - 1;
        let versions = self.plan.programs.len();
        // The same HAProxy does the same again.
        let Some(first) = (1..last).find(|round| round % versions == last % versions) else { return };
        for kind in Kind::IN_TURN {
            let of_round =
                |round| self.phases.iter().find(move |phase| phase.kind == kind && phase.round == round).unwrap();
            let memory = |round| median(of_round(round).samples.iter().map(|sample| sample.anon)) as f64;
            let files = |round| median(of_round(round).samples.iter().map(|sample| sample.files));
            let [then, now] = [memory(first), memory(last)];
            let [files_then, files_now] = [files(first), files(last)];
            self.check(now <= then * GROWTH + GROWTH_KIB, || {
                format!("{}: {now} KiB in round {}, {then} KiB in round {}", kind.name(), last + 1, first + 1)
            });
            self.check(files_now <= files_then + 8, || {
                format!("{}: {files_now} files, {files_then} before", kind.name())
            });
        }
    }

    /// Another configuration, and SIGHUP.
    async fn reload(&mut self) {
        self.reads += 1;
        write_config(&self.folder, &self.collector.url, self.reads);
        self.spoa.process.signal("-HUP");
    }

    /// The agent that is asked, and gets no lines, is ended and started again.
    async fn end_asked(&mut self, asked: &mut Spoa, signal: &str) {
        asked.process.signal(signal);
        let status = asked.process.ended().await;
        if signal == "-TERM" {
            let served = super::figures(&mut asked.process, "connections ended").await;
            self.check(status.success(), || format!("SIGTERM: {status:?}"));
            let answered = served["acks"] + served["unanswered"];
            self.check(served["notifies"] == answered, || format!("NOTIFYs do not add up: {served:?}"));
        }
        let addr = asked.addr.clone();
        *asked = start_asked(&addr, &self.collector.url).await;
    }

    /// The agent that gets the lines is ended and started again; what it counted.
    async fn end_itself(&mut self, signal: &str) -> Totals {
        let until_then = Totals::of(&Metrics::scrape(&self.spoa.admin).await);
        self.spoa.process.signal(signal);
        let status = self.spoa.process.ended().await;
        let next = start_agent(&self.sockets, &self.folder).await;
        let mut old = std::mem::replace(&mut self.spoa, next);
        if signal != "-TERM" {
            return Totals { open: 0, queued: 0, ..until_then };
        }
        self.check(status.success(), || format!("SIGTERM: {status:?}"));
        account(&mut old.process, until_then).await
    }
}

/// The last words of an agent, and what they do not say as it was just before.
async fn account(process: &mut Process, until_then: Totals) -> Totals {
    let read = super::figures(process, "log lines read").await;
    let spans = super::figures(process, "spans accounted for exporter=\"otlp\"").await;
    let [lines, started, exported, dropped] =
        [read["ours"], spans["started"], spans["exported"], spans["dropped"]].map(|figure| figure as i64);
    let ended = spans["ended"] as i64;
    Totals {
        lines,
        outcomes: lines,
        traced: lines - until_then.completed,
        started,
        ended,
        sampled: ended,
        submitted: ended,
        exported,
        dropped,
        open: 0,
        queued: 0,
        ..until_then
    }
}

/// No configuration is as the one before.
fn write_config(folder: &tempfile::TempDir, collector: &str, n: u32) {
    let (queue, delay) = ([8_000, 20_000][n as usize % 2], 100 + n % 3 * 100);
    let text = format!(
        "otlp = \"{collector}\"\nqueue-spans = {queue}\nqueue-bytes = \"16MiB\"\nbatch-delay = \"{delay}ms\"\nidle-timeout = \"20s\"\n\
         [environment]\nOTEL_EXPORTER_OTLP_TIMEOUT = \"1000\"\n"
    );
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
}

async fn start_agent(sockets: &Sockets, folder: &tempfile::TempDir) -> Spoa {
    sockets.start_with(&["--config", folder.path().join("config.toml").to_str().unwrap()]).await
}

async fn start_asked(addr: &str, collector: &str) -> Spoa {
    Spoa::start(addr, &["--otlp", collector], &[]).await
}

/// Requests until the agent is asked; HAProxy's first health check may come after the first one.
async fn until_asked(addr: &str, admin: &str) -> Vec<Answer> {
    let asked = async || Metrics::scrape(admin).await.sum("messages_total", "");
    let (before, mut answers) = (asked().await, Vec::new());
    let end = Instant::now() + crate::process::PATIENCE;
    while asked().await == before {
        assert!(Instant::now() < end, "the agent is not asked");
        answers.push(ask(addr, "/warm-up").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answers
}

fn times(answers: &[Answer]) -> [f64; 3] {
    let all: Vec<_> = answers.iter().map(|answer| answer.took).collect();
    [50.0, 99.0, 100.0].map(|percent| percentile(all.clone(), percent))
}
