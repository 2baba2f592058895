//! More than one machine: two proxies, three agents and a collector, each a host of its own, on links that delay, lose and break.

mod isolated;
mod network;
mod stand;
mod wire;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use self::network::Links;
use self::stand::{Answer, Answers, SPOE_TIMEOUT, Stand};
use super::Transport;
use super::two_proxies::assert_joined;
use crate::haproxy::{Program, extremes};
use crate::process::eventually;
use crate::programs::skipped;
use crate::spans::by_trace;

/// Of each agent's link, in each direction.
const DELAY: Duration = Duration::from_millis(10);
const LOSS_PER_MILLE: u32 = 30;
/// HAProxy leaves out an agent that does not answer: two checks of two seconds each, two seconds apart. A busy machine takes longer.
const LEFT_OUT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// A request waits for nobody so long; a thread of a busy machine may.
const BUSY: Duration = Duration::from_secs(2);

/// How long requests took: half of them, and all but one in a hundred, were not slower.
#[derive(Clone, Copy)]
struct Times {
    half: Duration,
    most: Duration,
    all: Duration,
}

impl Times {
    fn of(answers: &[Answer]) -> Self {
        let mut took: Vec<_> = answers.iter().map(|answer| answer.took).collect();
        took.sort_unstable();
        let [half, most] = [50, 99].map(|percent| took[(took.len() - 1) * percent / 100]);
        Times { half, most, all: took[took.len() - 1] }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.1?} p99 {:.1?} max {:.1?}", self.half, self.most, self.all)
    }
}

/// An agent in trouble costs a request `timeout processing` at each proxy, and no more.
fn assert_bounded(program: &Program, answers: &Answers, what: &str) -> Times {
    let [traced, plain] = [&answers.traced, &answers.plain].map(|answers| Times::of(answers));
    // Old ones may forget the timeout, and look every five seconds: agent/docs/known-limits.md.
    let forgotten = if program.version < (3, 0) { Duration::from_secs(5) } else { Duration::ZERO };
    let bound = plain.all + 2 * (SPOE_TIMEOUT + forgotten) + BUSY;
    println!("measured: {what}: {} traced requests {traced}; plain {plain}", answers.traced.len());
    assert!(traced.all <= bound, "{what}: {traced}, more than {bound:?}; plain: {plain}");
    traced
}

/// Of each request whose lines came, there are both spans of both proxies, joined; of one line, both of its proxy. Lines are of
/// these requests, and of them once.
async fn assert_whole(stand: &Stand, lines: usize, what: &str) {
    let spans = eventually(&format!("{what}: {} spans of lines", 2 * lines), || {
        let mut spans = stand.collector.spans();
        // OTLP says at least once: an answer of the collector may be lost.
        let mut seen = std::collections::HashSet::new();
        spans.retain(|span| seen.insert((span.trace_id.clone(), span.span_id.clone())));
        assert!(spans.len() <= 2 * lines, "{what}: {} spans of {lines} lines", spans.len());
        (spans.len() == 2 * lines).then_some(spans)
    })
    .await;
    let mut traces = by_trace(spans);
    let mut whole = 0;
    for id in &stand.ids {
        let Some(spans) = traces.remove(id) else { continue };
        let mut services = HashMap::<_, usize>::new();
        spans.iter().for_each(|span| *services.entry(span.service.as_str()).or_default() += 1);
        assert!(services.values().all(|spans| *spans == 2), "{what}: {id}: {services:?}");
        if services.len() == 2 {
            assert_joined(&spans, "");
            whole += 1;
        }
    }
    assert!(traces.is_empty(), "{what}: traces of no request: {:?}", traces.keys());
    println!("measured: {what}: {whole} of {} traces are whole", stand.ids.len());
}

/// An agent that does not answer any more keeps requests waiting until HAProxy has noticed.
async fn assert_left_out(program: &Program, stand: &mut Stand, what: &str) {
    let (since, mut waited) = (Instant::now(), Answers::default());
    let left_out = loop {
        let answers = stand.load(SECOND).await;
        if !answers.waited() {
            break answers;
        }
        assert!(since.elapsed() < LEFT_OUT, "{what}: requests still wait for an agent that was cut off");
        waited.traced.extend(answers.traced);
        waited.plain.extend(answers.plain);
    };
    println!("measured: {what}: left out after {:.1?}", since.elapsed() - SECOND);
    assert_bounded(program, &left_out, &format!("{what}, left out"));
    if !waited.traced.is_empty() {
        assert_bounded(program, &waited, &format!("{what}, cut off"));
    }
}

async fn of(program: Program, transport: Transport, links: Links, name: String) {
    let what = format!("HAProxy {}.{} {transport:?}, {links:?}", program.version.0, program.version.1);
    let mut stand = Stand::start(&program, transport, links, &name).await;
    assert_bounded(&program, &stand.load(Duration::from_secs(2)).await, &format!("{what}, good links"));
    let [[_, lost], [_, lost_too]] = stand.settled().await;
    assert_eq!([lost, lost_too], [0; 2], "{what}: lines are lost on good links");

    for agent in &stand.agents {
        agent.host.link_is(DELAY, LOSS_PER_MILLE);
    }
    let before = stand.asked().await;
    let bad = stand.load(Duration::from_secs(4)).await;
    let times = assert_bounded(&program, &bad, &format!("{what}, bad links"));
    let asks = 2 * 2 * DELAY;
    assert!(
        times.half >= Times::of(&bad.plain).half + asks,
        "{what}: the links are not bad, or no agent is asked: {times}"
    );

    // One that gets lines is cut off, and the one that is asked the most: an old HAProxy with one thread may ask no other.
    let after = stand.asked().await;
    let busiest = (0..3).max_by(|a, b| (after[*a] - before[*a]).total_cmp(&(after[*b] - before[*b]))).unwrap();
    let cut_off = [0, busiest];
    cut_off.iter().for_each(|agent| stand.agents[*agent].host.is_plugged(false));
    tokio::time::sleep(10 * DELAY).await; // what was on its way is there
    let before = stand.asked().await;
    assert_left_out(&program, &mut stand, &what).await;
    let after = stand.asked().await;
    assert!(cut_off.iter().all(|agent| after[*agent] == before[*agent]), "{what}: {cut_off:?} {before:?} {after:?}");
    cut_off.iter().for_each(|agent| stand.agents[*agent].host.is_plugged(true));
    for agent in &stand.agents {
        agent.host.link_is(Duration::ZERO, 0);
    }

    // They are asked again, and get lines again.
    stand.wait_until_all_are_asked().await;
    let accounts = stand.settled().await;
    println!("measured: {what}: of {} lines each, came and missing: {accounts:?}", stand.ids.len());
    let [[came, missing], [came_too, _]] = accounts;
    if transport == Transport::Udp {
        assert!(missing > 0, "{what}: an agent that was cut off has missed nothing");
    }
    for (came, agent) in [came, came_too].into_iter().zip(&stand.agents) {
        let metrics = agent.metrics().await;
        assert_eq!(metrics.get("log_requests_total{outcome=\"traced\"}") as usize, came, "{what}");
        assert_eq!(metrics.sum("log_requests_total", "") as usize, came, "{what}");
    }
    assert_eq!(stand.agents[2].metrics().await.sum("log_lines_total", ""), 0.0, "{what}: lines to the third agent");
    assert_whole(&stand, came + came_too, &what).await;
    assert_eq!(stand.origin.hits().len(), stand.ids.len() + stand.plain, "{what}: each request once at the server");
}

#[ignore = "alone, for it is load enough: devenv/test agent"]
#[test]
fn agents_on_hosts_of_their_own_over_bad_links() {
    isolated::run("lines::namespaces::inside", &["SKIPPED: ", "measured: "]);
}

#[ignore = "run by the test above, inside"]
#[tokio::test]
async fn inside() {
    assert!(isolated::is_inside(), "this is not for the network of the machine: run the test above");
    let links = match Links::of_this_kernel() {
        Ok(links) => links,
        Err(why) => return skipped(&format!("hosts in network namespaces: {why}")),
    };
    let programs =
        extremes().into_iter().flat_map(|program| [Transport::Udp, Transport::Ring].map(|by| (program.clone(), by)));
    join_all(programs.enumerate().map(|(n, (program, transport))| of(program, transport, links, format!("n{n}"))))
        .await;
}
