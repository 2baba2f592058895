//! HAProxy reloads, or the agent is started again, under load: the lines that are lost are counted, the other requests have
//! their spans.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{get, request};
use super::configuration::patient;
use super::{Mode, Proxy, Setup, Transport, start_spoa, with_each};
use crate::haproxy::Program;
use crate::process::{PATIENCE, eventually};
use crate::scrape::Metrics;

/// Clients that ask until they are told to stop.
struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(proxy: &Proxy) -> Self {
        let over = Arc::<AtomicBool>::default();
        let clients = (0..8).map(|n| {
            let (addr, over) = (proxy.addresses.http.clone(), over.clone());
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while !over.load(Relaxed) {
                    ids.extend(ask(&addr, &format!("/busy/{n}")).await);
                }
                ids
            })
        });
        Load { clients: clients.collect(), over }
    }

    /// The traces of the requests that were answered.
    async fn stop(self) -> HashSet<String> {
        self.over.store(true, Relaxed);
        let ids: Vec<_> = join_all(self.clients).await.into_iter().flat_map(Result::unwrap).collect();
        let distinct: HashSet<_> = ids.iter().cloned().collect();
        assert_eq!(distinct.len(), ids.len(), "a trace for each");
        distinct
    }
}

/// The trace of a request, if it was answered: what waits in the backlog of a process that ends is reset by the kernel.
async fn ask(addr: &str, path: &str) -> Option<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        stream.write_all(&request("GET", path, "connection: close\r\n")).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.expect("a request hangs")?;
    let answer = Some(answer).filter(|answer| !answer.is_empty())?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let id = answer.split("x-trace-id: ").nth(1).and_then(|rest| rest.lines().next());
    Some(id.unwrap_or_else(|| panic!("a request without ids: {answer}")).to_owned())
}

/// Of these, those without spans.
fn lost<'i>(proxy: &Proxy, ids: &'i HashSet<String>) -> Vec<&'i String> {
    let there: HashSet<_> = proxy.collector.spans().into_iter().map(|span| span.trace_id).collect();
    ids.iter().filter(|id| !there.contains(*id)).collect()
}

#[tokio::test]
async fn haproxy_reloads_over_udp() {
    reloads(Transport::Udp).await;
}

#[tokio::test]
async fn haproxy_reloads_with_a_ring() {
    reloads(Transport::Ring).await;
}

async fn reloads(transport: Transport) {
    with_each(async |program| {
        for master in [false, true] {
            if !master || program.can_be_master() {
                reload(&program, transport, master).await;
            }
        }
    })
    .await;
}

async fn reload(program: &Program, transport: Transport, master: bool) {
    let what = format!("{program:?} {transport:?}, master: {master}");
    let setup = Setup { master, edit: Some(&patient), ..Setup::of(Mode::Lean, transport) };
    let mut proxy = Proxy::start(program, setup).await;
    let load = Load::start(&proxy);
    // Under way while the old process finishes.
    let addr = proxy.addresses.http.clone();
    let slow = tokio::spawn(async move { get(&addr, "/reloaded/slow").await });
    eventually("the server has it", || {
        proxy.origin.hits().iter().any(|hit| hit.path == "/reloaded/slow").then_some(())
    })
    .await;
    proxy.haproxy.reload();
    let of_both = |metrics: &Metrics| metrics.get("log_sources") >= 2.0;
    Metrics::scrape_until(&proxy.spoa.admin, &format!("{what}: lines of the new process"), of_both).await;
    let slow = slow.await.unwrap();
    let mut ids = load.stop().await;
    ids.extend(slow.trace_id);
    proxy.haproxy.reloaded().await;

    // From here on nothing is lost.
    let after = get(&proxy.addresses.http, "/after").await.trace_id.unwrap();
    eventually(&format!("{what}: the spans of a request after the reload"), || {
        lost(&proxy, &HashSet::from([after.clone()])).is_empty().then_some(())
    })
    .await;
    ids.insert(after);
    let in_order = |metrics: &Metrics| metrics.get("log_spans_total") == proxy.collector.spans().len() as f64;
    let metrics = Metrics::scrape_until(&proxy.spoa.admin, &what, in_order).await;
    let lost = lost(&proxy, &ids);
    match transport {
        Transport::Ring => {
            // Those that no line of their process tells of: asked, or asked in vain, and no line came.
            let asked = metrics.get("messages_lean_total") + proxy.haproxy.spoe_errors() as f64;
            let lines = metrics.get("log_requests_total{outcome=\"traced\"}") + metrics.get("log_lines_missing");
            assert!(asked - lines >= lost.len() as f64, "{what}: {asked} asked, {lines} lines, {lost:?}");
            assert!(lost.len() < ids.len() / 2, "{what}: {} of {}", lost.len(), ids.len());
        }
        _ => {
            assert!(lost.is_empty(), "{what}: {lost:?} of {}", ids.len());
            assert_eq!(metrics.get("log_lines_missing"), 0.0, "{what}");
        }
    }
}

#[tokio::test]
async fn the_agent_is_started_again_behind_a_ring() {
    with_each(async |program| {
        let setup = Setup { edit: Some(&patient), ..Setup::of(Mode::Lean, Transport::Ring) };
        let mut proxy = Proxy::start(&program, setup).await;
        let load = Load::start(&proxy);
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.spoa.process.signal("-TERM");
        assert!(proxy.spoa.process.ended().await.success(), "{program:?}");
        let listen = proxy.spoa.addr.clone();
        proxy.spoa = start_spoa(&listen, &proxy.log, setup, &proxy.collector).await;
        let connected = |metrics: &Metrics| metrics.get("log_connections_total") > 0.0;
        let came_back = program.version != (3, 0);
        if came_back {
            Metrics::scrape_until(&proxy.spoa.admin, &format!("{program:?}: HAProxy connects"), connected).await;
        }
        let ids = load.stop().await;
        if came_back {
            let after = HashSet::from([get(&proxy.addresses.http, "/after").await.trace_id.unwrap()]);
            let is_there = || lost(&proxy, &after).is_empty().then_some(());
            eventually(&format!("{program:?}: the spans of a request after the restart"), is_there).await;
            let lost = lost(&proxy, &ids).len();
            assert!(lost < ids.len() / 2, "{program:?}: {lost} of {} lost", ids.len());
        }
    })
    .await;
}
