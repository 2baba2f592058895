//! Long load with a collector in trouble, and with an agent that is restarted again and again. Short here; `devenv/soak`
//! sets SPOP_SOAK_SECONDS and shows the figures.

mod clients;
mod long;
mod memory;
mod proxies;
mod report;
mod steps;
mod totals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::faults::{FaultyCollector, Mode};
use crate::haproxy::extremes;
use crate::process::Process;
use crate::setup::{Chain, Setup, Spoa};

const WORKERS: u32 = 16;

/// What a phase of the long run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One agent is asked for ids, and gets the lines.
    Lean,
    /// The same, with all messages and the lines.
    Nine,
    /// One agent gets the lines, and the one that is asked is ended and killed.
    Asked,
    /// The one that gets the lines is ended, behind sockets that stay.
    Ended,
    /// It is killed.
    Killed,
}

impl Kind {
    const IN_TURN: [Kind; 3] = [Kind::Lean, Kind::Nine, Kind::Asked];
    const AT_THE_END: [Kind; 2] = [Kind::Ended, Kind::Killed];

    fn name(self) -> &'static str {
        match self {
            Kind::Lean => "lean",
            Kind::Nine => "nine spans",
            Kind::Asked => "lean, asked agent ends",
            Kind::Ended => "lean, agent ends",
            Kind::Killed => "lean, agent is killed",
        }
    }

    /// Whether the collector fails, HAProxys reload, and the configuration is read again.
    fn disturbs(self) -> bool {
        matches!(self, Kind::Lean | Kind::Nine | Kind::Asked)
    }

    fn ends_agents(self) -> bool {
        matches!(self, Kind::Asked | Kind::Ended | Kind::Killed)
    }

    /// HAProxy's `timeout processing`, of an event.
    fn spoe_timeout(self) -> Duration {
        Duration::from_millis(if self == Kind::Nine { 2000 } else { 500 })
    }

    /// Events of a request at which a proxy asks.
    fn events(self) -> u32 {
        if self == Kind::Nine { 8 } else { 1 }
    }
}

/// An answered request: when it was sent, how long it took, its status.
type Answered = (Instant, Duration, u16);

fn from_env(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

/// Requests at a fixed rate until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<Vec<Answered>>>,
}

impl Load {
    fn start(chain: &Chain) -> Self {
        let rate = from_env("SPOP_SOAK_RATE", 100) as u32;
        let stop = Arc::<AtomicBool>::default();
        let worker = |n: u32| {
            let (http, url, stop) = (chain.http.clone(), format!("{}/soak/{n}", chain.url), stop.clone());
            async move {
                let mut answered = Vec::new();
                let mut ticks = tokio::time::interval(Duration::from_secs(1) * WORKERS / rate);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let sent = Instant::now();
                    let answer = http.get(&url).send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
                    answered.push((sent, sent.elapsed(), answer.status().as_u16()));
                }
                answered
            }
        };
        Load { workers: (0..WORKERS).map(|n| tokio::spawn(worker(n))).collect(), stop }
    }

    async fn stop(self) -> Vec<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in self.workers {
            all.extend(worker.await.unwrap());
        }
        all
    }
}

/// The figures of the log line with this text.
async fn figures(process: &mut Process, text: &str) -> BTreeMap<String, u64> {
    let line = process.line(text, |line| line.contains(text).then(|| line.to_owned())).await;
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// Milliseconds.
fn percentile(mut times: Vec<Duration>, percent: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * percent / 100.0) as usize;
    times.get(at.min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_in_trouble_costs_no_request_and_loses_no_span_silently() {
    let seconds = from_env("SPOP_SOAK_SECONDS", 8);
    let period = Duration::from_secs_f64((seconds as f64 / 8.0).min(5.0));
    for program in extremes() {
        let mut collector = FaultyCollector::start().await;
        let queue = 16 << 20;
        let args = ["--otlp", &collector.url.clone(), "--queue-bytes", "16MiB", "--max-memory", "16MiB"];
        let env = [("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        let setup = Setup { spoa_args: &args, spoa_env: &env, ..Setup::default() };
        let mut chain = Chain::start(&program, setup).await;
        let load = Load::start(&chain);
        // Undisturbed at first, to compare with.
        let start = Instant::now();
        let calm = Duration::from_secs(seconds) / 4;
        let mut modes = vec![(start, Mode::Healthy)];
        let trouble = [Mode::Killed, Mode::Healthy, Mode::Hung, Mode::Healthy].into_iter().cycle();
        let before = chain.spoa.process.rss();
        let highest = Mutex::new(before);
        let mut wait = calm;
        for mode in trouble {
            let until = Instant::now() + wait;
            while Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let now = chain.spoa.process.rss();
                let mut highest = highest.lock().unwrap();
                *highest = now.max(*highest);
            }
            wait = period;
            if start.elapsed() >= calm + Duration::from_secs(seconds) && modes.len() > 4 {
                break;
            }
            collector.set(mode).await;
            modes.push((Instant::now(), mode));
        }
        collector.set(Mode::Healthy).await;
        let answered = load.stop().await;
        chain.spoa.process.signal("-TERM");
        assert!(chain.spoa.process.ended().await.success());
        let spans = figures(&mut chain.spoa.process, "spans accounted for").await;
        let highest = *highest.lock().unwrap();

        println!("HAProxy {:?}: {} requests in {:.0?}", program.version, answered.len(), start.elapsed());
        let mut by_mode = BTreeMap::<_, Vec<_>>::new();
        for (sent, took, _) in &answered {
            let mode = modes.iter().rev().find(|(since, _)| since <= sent).map_or(Mode::Healthy, |(_, mode)| *mode);
            let name = if *sent < start + calm { "undisturbed".to_owned() } else { format!("{mode:?}") };
            by_mode.entry(name).or_default().push(*took);
        }
        for (mode, times) in by_mode {
            let [p50, p99] = [50.0, 99.0].map(|percent| percentile(times.clone(), percent));
            println!("  {mode:12} {:6} requests, p50 {p50:6.2} ms, p99 {p99:6.2} ms", times.len());
        }
        println!("  memory: {} KiB at the start, {} KiB at most", before >> 10, highest >> 10);
        let (unique, twice) = collector.spans();
        println!("  collector: {unique} spans, {twice} of them again\n  agent: {spans:?}");

        let failed = answered.iter().filter(|(_, _, status)| *status != 200).count();
        assert_eq!(failed, 0, "{program:?}: every request is answered");
        assert_eq!(spans["started"], spans["ended"]);
        assert_eq!(spans["started"], spans["exported"] + spans["dropped"], "{spans:?}");
        assert_eq!(spans["started"], 18 * (answered.len() as u64 + warm_up(&chain)), "{spans:?}");
        assert!((spans["exported"]..=spans["started"]).contains(&unique), "{unique}: {spans:?}");
        let bound = before + queue + (16 << 20) + (32 << 20);
        assert!(highest <= bound, "{highest} bytes of memory are more than {bound}");
    }
}

/// Requests before the load that were traced.
fn warm_up(chain: &Chain) -> u64 {
    let hits = chain.origin.hits();
    hits.iter().filter(|hit| hit.path == "/warm-up" && hit.header("traceparent").is_some()).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restarted_ten_times_costs_no_request() {
    let pause = Duration::from_millis(from_env("SPOP_SOAK_SECONDS", 5) * 100);
    for program in extremes() {
        let mut chain = Chain::start(&program, Setup::default()).await;
        let load = Load::start(&chain);
        let (mut notifies, mut without_ack) = (0, 0);
        let addr = chain.spoa.addr.clone();
        for _ in 0..10 {
            tokio::time::sleep(pause).await;
            chain.spoa.process.signal("-TERM");
            assert!(chain.spoa.process.ended().await.success());
            let served = figures(&mut chain.spoa.process, "connections ended").await;
            assert_eq!(served["notifies"], served["acks"] + served["unanswered"], "{served:?}");
            notifies += served["notifies"];
            without_ack += served["unanswered"] + served["late"];
            let spans = figures(&mut chain.spoa.process, "spans accounted for").await;
            assert_eq!(spans["started"], spans["exported"] + spans["dropped"], "{spans:?}");
            chain.spoa = Spoa::start(&addr, &["--otlp", &chain.collector.url], &[]).await;
        }
        let answered = load.stop().await;
        let errors: usize = chain.proxies.iter().map(|proxy| proxy.spoe_errors()).sum();
        println!(
            "HAProxy {:?}: {} requests, {notifies} NOTIFYs taken, {without_ack} came too late; HAProxy logged {errors} \
            events without an answer",
            program.version,
            answered.len()
        );
        let failed = answered.iter().filter(|(_, _, status)| *status != 200).count();
        assert_eq!(failed, 0, "{program:?}: every request is answered");
        assert!(without_ack <= errors as u64, "{program:?}: each event without an ACK is in HAProxy's log");
    }
}
