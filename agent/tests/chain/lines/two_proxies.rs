//! The shipped configurations as they are, one proxy behind the other: one trace.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use futures_util::future::join_all;

use super::client::get_with;
use super::{Mode, Setup, Transport, free_log_address, start_spoa, with_each};
use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program};
use crate::origin::Origin;
use crate::process::{PATIENCE, eventually, free_port};
use crate::scrape::Metrics;
use crate::setup::{Spoa, conf};
use crate::spans::{Span, names};

/// Which agent gets a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    ToTheFirst,
    OfAProxyToOne,
    /// From HAProxy 3.0 on.
    Balanced,
    ToAll,
}

/// Two proxies in a row, and agents of whom any is asked.
pub struct Two {
    // Dropped in this order.
    _proxies: [Haproxy; 2],
    pub spoas: Vec<Spoa>,
    pub origin: Origin,
    pub collector: Collector,
    pub addr: String,
    /// Where each agent that gets lines listens for them.
    pub logs: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Two {
    pub async fn start(program: &Program, setup: Setup<'_>, agents: usize) -> Self {
        Self::start_with(program, setup, agents, Lines::ToTheFirst).await
    }

    pub async fn start_with(program: &Program, setup: Setup<'_>, agents: usize, lines: Lines) -> Self {
        let collector = Collector::start().await;
        let origin = Origin::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (mut spoas, mut logs) = (Vec::new(), Vec::new());
        for agent in 0..agents {
            let listen = format!("127.0.0.1:{}", free_port());
            spoas.push(if agent == 0 || lines != Lines::ToTheFirst {
                logs.push(free_log_address(setup.transport, folder.path()));
                start_spoa(&listen, &logs[agent], setup, &collector).await
            } else {
                Spoa::start(&listen, &["--otlp", &collector.url], &[]).await
            });
        }
        let [one, two, nobody] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let addrs: Vec<_> = spoas.iter().map(|spoa| spoa.addr.as_str()).collect();
        let config = config_for(setup.mode, &addrs, (&logs, lines), &folder);
        let env = |service, listen, server, log| {
            let mut env = vec![
                ("SERVICE_NAME", service),
                ("SPOE_TIMEOUT", setup.spoe_timeout),
                ("LOG_ADDRESS", log),
                ("LISTEN_ADDRESS", listen),
                ("SERVER_ADDRESS", server),
                ("SPOA_ADDRESS", if setup.mode == Mode::Fallback { nobody.as_str() } else { &spoas[0].addr }),
            ];
            if setup.transport == Transport::Ring {
                env.push(("LOG_TARGET", "ring@otel"));
            }
            env
        };
        let inner = if lines == Lines::OfAProxyToOne { &logs[1] } else { &logs[0] };
        let proxies = [
            Haproxy::start(program, &config, &env("haproxy-1", &one, &two, &logs[0]), &one).await,
            Haproxy::start(program, &config, &env("haproxy-2", &two, &origin.addr, inner), &two).await,
        ];
        let two = Two { _proxies: proxies, spoas, origin, collector, addr: one, logs, _folder: folder };
        if setup.mode == Mode::Lean {
            two.wait_until_all_are_asked().await;
        }
        two
    }

    /// See [`until_all_are_asked`].
    pub async fn wait_until_all_are_asked(&self) {
        let asked = async |n: usize| Metrics::scrape(&self.spoas[n].admin).await.sum("messages_total", "") >= 2.0;
        let request = async || drop(get_with(&self.addr, "/warm-up", "").await);
        until_all_are_asked(&self.spoas.iter().collect::<Vec<_>>(), asked, request).await;
    }

    /// The messages that each agent got.
    async fn asked(&self) -> Vec<f64> {
        self.of_each("messages_total").await
    }

    /// A figure of each agent: the sum of a family.
    pub async fn of_each(&self, family: &str) -> Vec<f64> {
        join_all(self.spoas.iter().map(|spoa| async { Metrics::scrape(&spoa.admin).await.sum(family, "") })).await
    }

    /// The spans of a trace, when there are so many.
    pub async fn trace(&self, id: &str, spans: usize) -> Vec<Span> {
        eventually(&format!("{spans} spans of {id}"), || {
            let mut all = self.collector.spans();
            all.retain(|span| span.trace_id == id);
            (all.len() >= spans).then_some(all)
        })
        .await
    }
}

/// Each agent that was not asked yet is alone for a moment: HAProxy opens no further connection while those that it has
/// suffice. `asked` is told which one.
pub async fn until_all_are_asked(spoas: &[&Spoa], asked: impl AsyncFn(usize) -> bool, request: impl AsyncFn()) {
    for (n, spoa) in spoas.iter().enumerate() {
        if asked(n).await {
            continue;
        }
        let others = || spoas.iter().filter(|other| other.addr != spoa.addr);
        others().for_each(|other| other.process.signal("-STOP"));
        let over = Cell::new(false);
        let requests = async {
            loop {
                // At once: one after the other goes over one connection.
                join_all((0..64).map(|_| request())).await;
                if over.get() {
                    break;
                }
                // HAProxy does not know yet that the agent is back.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        };
        let alone = async {
            let end = Instant::now() + PATIENCE;
            while !asked(n).await {
                assert!(Instant::now() < end, "an agent is not asked");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            over.set(true);
            others().for_each(|other| other.process.signal("-CONT"));
        };
        tokio::join!(requests, alone);
    }
}

/// The shipped file itself; with further agents, one like it beside the SPOE file.
pub fn config_for(
    mode: Mode,
    spoas: &[&str],
    (logs, lines): (&[String], Lines),
    folder: &tempfile::TempDir,
) -> PathBuf {
    let shipped = conf(if mode == Mode::LogOnly { "haproxy-log-only.cfg" } else { "haproxy-lean.cfg" });
    if spoas.len() == 1 {
        return shipped;
    }
    let text = std::fs::read_to_string(shipped).unwrap();
    let (before, rest) = text.split_once("    server spoa \"${SPOA_ADDRESS}\"").unwrap();
    let (options, after) = rest.split_once('\n').unwrap();
    let server = |(n, spoa): (usize, &&str)| format!("    server spoa-{n} {spoa}{options}\n");
    let servers: String = spoas.iter().enumerate().map(server).collect();
    std::fs::copy(conf("spoe-lean.cfg"), folder.path().join("spoe-lean.cfg")).unwrap();
    let path = folder.path().join("haproxy.cfg");
    let text = format!("{before}{servers}{after}");
    std::fs::write(&path, spread(&text, spoas, logs, lines)).unwrap();
    path
}

/// As agent/docs/log-line.md has it.
fn spread(text: &str, spoas: &[&str], logs: &[String], lines: Lines) -> String {
    let form = "len 65535 format rfc5424 local0 info";
    let (one, number) = (format!("    log \"${{LOG_TARGET}}\" {form}\n"), " n=\"%lc\"");
    for part in [&one, number] {
        assert_eq!(text.matches(part).count(), 1, "{part}");
    }
    match lines {
        Lines::ToTheFirst | Lines::OfAProxyToOne => text.to_owned(),
        Lines::ToAll => {
            let targets: String = logs.iter().map(|log| format!("    log {log} {form}\n")).collect();
            text.replace(&one, &targets)
        }
        Lines::Balanced => {
            let server = |(log, spoa): (&String, &&str)| {
                let (host, port) = spoa.split_once(':').unwrap();
                format!("    server lines-{port} udp@{log} check addr {host} port {port} inter 200ms fall 1 rise 1\n")
            };
            let servers: String = logs.iter().zip(spoas).map(server).collect();
            let text = text.replace(&one, &format!("    log backend@lines {form}\n")).replace(number, "");
            format!("{text}\nbackend lines\n    mode log\n    balance roundrobin\n{servers}")
        }
    }
}

/// SERVER and CLIENT of a proxy.
pub fn of_proxy<'s>(spans: &'s [Span], service: &str) -> [&'s Span; 2] {
    let find = |kind| {
        let mut found = spans.iter().filter(|span| span.service == service && span.proto.kind == kind);
        let first = found.next().unwrap_or_else(|| panic!("{service}, kind {kind}: {:#?}", names(spans)));
        assert!(found.next().is_none(), "{:#?}", names(spans));
        first
    };
    [find(2), find(3)]
}

/// A trace from the client on, over both proxies to the server.
pub fn assert_joined(spans: &[Span], parent: &str) -> String {
    assert_eq!(spans.len(), 4, "{:#?}", names(spans));
    let [outer, call] = of_proxy(spans, "haproxy-1");
    let [inner, last] = of_proxy(spans, "haproxy-2");
    assert_eq!(
        [&outer.parent, &call.parent, &inner.parent, &last.parent],
        [parent, &outer.span_id, &call.span_id, &inner.span_id]
    );
    last.span_id.clone()
}

const MODES: [(Mode, Transport); 4] = [
    (Mode::Lean, Transport::Udp),
    (Mode::Lean, Transport::Ring),
    (Mode::Fallback, Transport::Udp),
    (Mode::LogOnly, Transport::Udp),
];

#[tokio::test]
async fn one_trace_over_both_proxies() {
    with_each(async |program| {
        for (mode, transport) in MODES {
            let two = Two::start(&program, Setup::of(mode, transport), 1).await;
            let seen = get_with(&two.addr, "/new", "tracestate: without=parent\r\n").await;
            let id = seen.trace_id.unwrap();
            let last = assert_joined(&two.trace(&id, 4).await, "");
            let hit = two.origin.hit("/new");
            assert_eq!(hit.header("traceparent"), Some(format!("00-{id}-{last}-03")), "{program:?} {mode:?}");
            assert_eq!(hit.header("tracestate"), None, "{program:?} {mode:?}: of no trace that goes on");

            // A caller's trace goes on, with its state and its baggage.
            let caller = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                          tracestate: a=1,b=2\r\nbaggage: user=7\r\n";
            let seen = get_with(&two.addr, "/caller", caller).await;
            let id = "0af7651916cd43dd8448eb211c80319c";
            assert_eq!(seen.trace_id.as_deref(), Some(id));
            let spans = two.trace(id, 4).await;
            let last = assert_joined(&spans, "b7ad6b7169203331");
            assert!(spans.iter().all(|span| span.proto.trace_state == "a=1,b=2"), "{program:?} {mode:?}");
            let hit = two.origin.hit("/caller");
            assert_eq!(hit.header("traceparent"), Some(format!("00-{id}-{last}-01")), "{program:?} {mode:?}");
            assert_eq!(hit.header("tracestate").as_deref(), Some("a=1,b=2"), "{program:?} {mode:?}");
            assert_eq!(hit.header("baggage").as_deref(), Some("user=7"), "{program:?} {mode:?}");

            // One that does not want to be recorded is not, and the server is told.
            let unsampled = "1af7651916cd43dd8448eb211c80319c";
            let caller_without = format!("traceparent: 00-{unsampled}-b7ad6b7169203331-00\r\n");
            get_with(&two.addr, "/unsampled", &caller_without).await;
            let traceparent = two.origin.hit("/unsampled").header("traceparent").unwrap();
            assert!(traceparent.starts_with(&format!("00-{unsampled}-")) && traceparent.ends_with("-00"));
            // What is no traceparent begins a new trace.
            for (n, wrong) in WRONG.iter().enumerate() {
                let path = format!("/wrong/{n}");
                let id = get_with(&two.addr, &path, &format!("{wrong}\r\ntracestate: a=1\r\n")).await.trace_id.unwrap();
                assert!(!wrong.contains(&id), "{program:?} {mode:?}: {wrong}");
                let hit = two.origin.hit(&path);
                assert!(hit.header("traceparent").unwrap().starts_with(&format!("00-{id}-")), "{wrong}");
                assert_eq!(hit.header("tracestate"), None, "{program:?} {mode:?}: {wrong}");
            }
            let counted = "log_requests_total{outcome=\"unsampled\"}";
            let both = |metrics: &Metrics| metrics.get(counted) == 2.0;
            Metrics::scrape_until(&two.spoas[0].admin, "two lines of an unsampled request", both).await;
            // By the whole id: that of another trace may begin in the same way.
            let wrong: Vec<_> = two.collector.spans().into_iter().filter(|span| span.trace_id == unsampled).collect();
            assert!(wrong.is_empty(), "{program:?} {mode:?}: {wrong:?}");

            // A health check is left alone, ids and all.
            let seen = get_with(&two.addr, "/healthz", caller).await;
            assert_eq!((seen.status, seen.trace_id), (Some(200), None));
            let hit = two.origin.hit("/healthz");
            assert_eq!(
                hit.header("traceparent").as_deref(),
                caller.lines().next().unwrap().strip_prefix("traceparent: ")
            );
        }
    })
    .await;
}

const WRONG: [&str; 6] = [
    "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "traceparent: 00-2af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "traceparent: ff-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "traceparent: 00-2AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    "traceparent: 00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
    "traceparent: 00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntraceparent: 00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
];

#[tokio::test]
async fn two_agents_share_the_requests_and_one_gets_the_lines() {
    with_each(async |program| {
        let setup = Setup::of(Mode::Lean, Transport::Udp);
        let two = Two::start(&program, setup, 2).await;
        let before = two.asked().await;
        let end = Instant::now() + PATIENCE;
        // HAProxy may find one agent enough for forty requests.
        for batch in 1.. {
            let paths: Vec<_> = (0..40).map(|n| format!("/shared/{batch}/{n}")).collect();
            let seen = join_all(paths.iter().map(|path| get_with(&two.addr, path, ""))).await;
            for (path, seen) in paths.iter().zip(seen) {
                let id = seen.trace_id.unwrap();
                let last = assert_joined(&two.trace(&id, 4).await, "");
                let traceparent = two.origin.hit(path).header("traceparent");
                assert_eq!(traceparent, Some(format!("00-{id}-{last}-03")), "{program:?}");
            }
            let after = two.asked().await;
            let asked = after.iter().sum::<f64>() - before.iter().sum::<f64>();
            assert_eq!(asked, 80.0 * f64::from(batch), "{program:?}: each proxy asks once");
            if before.iter().zip(&after).all(|(before, after)| before < after) {
                break;
            }
            assert!(Instant::now() < end, "{program:?}: {before:?} {after:?}");
        }
    })
    .await;
}
