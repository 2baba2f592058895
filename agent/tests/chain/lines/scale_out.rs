//! Two proxies and three agents: any agent is asked, any gets a line.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::client::get;
use super::two_proxies::{Lines, Two};
use super::{Mode, Setup, Transport, start_spoa};
use crate::haproxy::{Program, extremes};
use crate::process::{PATIENCE, eventually};
use crate::spans::by_trace;

const SETUP: Setup<'static> = Setup {
    mode: Mode::Lean,
    transport: Transport::Udp,
    spoe_timeout: "10s",
    spoa_args: &[],
    spoa_env: &[],
    edit: None,
    master: false,
};

/// Sends requests, eight at a time, while `meanwhile` lasts and a hundred at least; their traces.
async fn load(two: &Two, meanwhile: impl Future<Output = ()>) -> Vec<String> {
    let over = Arc::<AtomicBool>::default();
    let clients = (0..8).map(|n| {
        let (addr, over) = (two.addr.clone(), over.clone());
        tokio::spawn(async move {
            let mut ids = Vec::new();
            while ids.len() < 13 || !over.load(Relaxed) {
                let seen = get(&addr, &format!("/scale/{n}")).await;
                assert_eq!(seen.status, Some(200));
                ids.push(seen.trace_id.expect("a request without ids"));
            }
            ids
        })
    });
    let clients: Vec<_> = clients.collect();
    meanwhile.await;
    over.store(true, Relaxed);
    join_all(clients).await.into_iter().flat_map(Result::unwrap).collect()
}

/// Proxies of whose requests in these traces there are spans; each has both.
fn proxies_seen(two: &Two, ids: &[String]) -> HashMap<String, usize> {
    let traces = by_trace(two.collector.spans());
    let of_trace = |id: &String| {
        let spans = traces.get(id).map(Vec::as_slice).unwrap_or_default();
        let proxies =
            ["haproxy-1", "haproxy-2"].map(|service| spans.iter().filter(|span| span.service == service).count());
        assert!(proxies.iter().all(|spans| [0, 2].contains(spans)), "{id}: {proxies:?}");
        (id.clone(), proxies.iter().sum::<usize>() / 2)
    };
    ids.iter().map(of_trace).collect()
}

/// Each of these traces goes over both proxies, and agents were asked and got lines as often as that.
async fn assert_whole(two: &Two, before: [f64; 2], ids: &[String], what: &str) {
    eventually(&format!("{what}: {} whole traces", ids.len()), || {
        proxies_seen(two, ids).values().all(|proxies| *proxies == 2).then_some(())
    })
    .await;
    let traces = by_trace(two.collector.spans());
    for id in ids {
        super::two_proxies::assert_joined(&traces[id], "");
    }
    let [asked, lines] = figures(two).await;
    assert_eq!([asked - before[0], lines - before[1]], [2.0 * ids.len() as f64; 2], "{what}: asked, lines");
}

/// Requests asked for, and lines taken, by all agents.
async fn figures(two: &Two) -> [f64; 2] {
    let [asked, lines] = [two.of_each("messages_lean_total").await, two.of_each("log_requests_total").await];
    [asked, lines].map(|each| each.iter().sum())
}

#[tokio::test]
async fn three_agents_share_the_work_and_one_may_go() {
    let of_program = async |program: Program| {
        let what = format!("{program:?}");
        let lines = if program.version < (3, 0) { Lines::OfAProxyToOne } else { Lines::Balanced };
        let mut two = Two::start_with(&program, SETUP, 3, lines).await;
        until_lines_come(&two, lines).await;
        let before = figures(&two).await;
        let ids = load(&two, async {}).await;
        assert_whole(&two, before, &ids, &what).await;

        // One goes without an end of its own: requests are answered and have ids, and its lines are lost until HAProxy notices.
        let gone = two.spoas.remove(1);
        let listen = gone.addr.clone();
        let killed = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(gone);
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let away = load(&two, killed).await;
        two.spoas.insert(1, start_spoa(&listen, &two.logs[1], SETUP, &two.collector).await);
        two.wait_until_all_are_asked().await;
        until_lines_come(&two, lines).await;
        let seen: usize = proxies_seen(&two, &away).values().sum();
        assert!((away.len()..=2 * away.len()).contains(&seen), "{what}: {seen} of 2 x {}", away.len());

        let before = figures(&two).await;
        let ids = load(&two, async {}).await;
        assert_whole(&two, before, &ids, &format!("{what}, after the restart")).await;
    };
    join_all(extremes().into_iter().map(of_program)).await;
}

/// Waits until each agent that is to get lines has some, and none comes any more.
async fn until_lines_come(two: &Two, lines: Lines) {
    let agents = if lines == Lines::OfAProxyToOne { 2 } else { 3 };
    let end = Instant::now() + PATIENCE;
    while two.of_each("log_requests_total").await.iter().filter(|lines| **lines > 0.0).count() < agents {
        assert!(Instant::now() < end, "an agent gets no lines");
        get(&two.addr, "/warm-up").await;
    }
    settle(two).await;
}

/// Waits until nothing comes any more.
async fn settle(two: &Two) {
    let (mut before, mut now) = ([-1.0; 2], figures(two).await);
    let mut spans = (usize::MAX, two.collector.spans().len());
    while before != now || spans.0 != spans.1 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        before = std::mem::replace(&mut now, figures(two).await);
        spans = (spans.1, two.collector.spans().len());
    }
}

/// HAProxy sends each line to each of its log targets.
#[tokio::test]
async fn without_a_share_every_agent_gets_every_line() {
    let program = &extremes()[0];
    let two = Two::start_with(program, SETUP, 3, Lines::ToAll).await;
    settle(&two).await;
    let before = two.of_each("log_requests_total").await;
    let ids = load(&two, async {}).await;
    settle(&two).await;
    let after = two.of_each("log_requests_total").await;
    let lines: Vec<_> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    assert_eq!(lines, [2.0 * ids.len() as f64; 3]);
}
