//! The agent keeps nothing between its answer and the line: it may go and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::client::{get, get_with};
use super::two_proxies::Two;
use super::{Mode, Proxy, Setup, Transport, start_spoa, with_each};
use crate::haproxy::{Program, extremes};
use crate::process::{PATIENCE, eventually};
use crate::spans::names;

#[tokio::test]
async fn between_answer_and_line_nothing_is_lost() {
    with_each(async |program| {
        let setup = Setup::of(Mode::Lean, Transport::Udp);
        let mut two = Two::start(&program, setup, 1).await;
        let addr = two.addr.clone();
        let request = tokio::spawn(async move { get(&addr, "/restarted/slow").await });
        eventually("the server has it", || {
            two.origin.hits().iter().any(|hit| hit.path == "/restarted/slow").then_some(())
        })
        .await;
        // With everything that it has, and without an end of its own.
        two.spoas[0].process.signal("-KILL");
        two.spoas[0].process.ended().await;
        let listen = two.spoas[0].addr.clone();
        two.spoas[0] = start_spoa(&listen, &two.logs[0], setup, &two.collector).await;
        let seen = request.await.unwrap();
        assert_eq!(seen.status, Some(200));
        let spans = two.trace(&seen.trace_id.unwrap(), 4).await;
        assert_eq!(spans.len(), 4, "{program:?}: {:#?}", names(&spans));
    })
    .await;
}

/// HAProxy of old forgets its timeout for an agent that goes away at the wrong moment. With one message a request, or none, no
/// request hangs; those that the agent did not answer have ids of HAProxy's.
#[tokio::test]
async fn ten_restarts_under_load_leave_no_request_hanging() {
    let of_program = |(program, mode): (Program, Mode)| async move {
        let setup = Setup { spoe_timeout: "500ms", ..Setup::of(mode, Transport::Udp) };
        let mut proxy = Proxy::start(&program, setup).await;
        for round in 0..10 {
            let over = Arc::<AtomicBool>::default();
            let clients = (0..8).map(|n| {
                let (addr, over) = (proxy.addresses.http.clone(), over.clone());
                tokio::spawn(async move {
                    while !over.load(Relaxed) {
                        let answer = tokio::time::timeout(PATIENCE, get(&addr, &format!("/away/{n}"))).await;
                        let seen = answer.unwrap_or_else(|_| panic!("a request hangs"));
                        assert_eq!(seen.status, Some(200));
                        assert!(seen.trace_id.is_some(), "a request without ids");
                    }
                })
            });
            let clients: Vec<_> = clients.collect();
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.spoa.process.signal("-TERM");
            assert!(proxy.spoa.process.ended().await.success());
            tokio::time::sleep(Duration::from_millis(100)).await;
            over.store(true, Relaxed);
            for client in clients {
                client.await.unwrap_or_else(|error| panic!("{program:?} {mode:?}, round {round}: {error}"));
            }
            let listen = proxy.spoa.addr.clone();
            proxy.spoa = start_spoa(&listen, &proxy.log, setup, &proxy.collector).await;
            if mode == Mode::Lean {
                proxy.wait_until_asked().await;
            }
        }
    };
    let of_mode = |mode| join_all(extremes().into_iter().map(move |program| of_program((program, mode))));
    join(of_mode(Mode::Lean), of_mode(Mode::LogOnly)).await;
}

/// An agent that is away when a request comes and when it ends costs its spans, and nothing else.
#[tokio::test]
async fn an_agent_that_is_away_costs_no_propagation() {
    with_each(async |program| {
        for transport in [Transport::Udp, Transport::Ring] {
            let setup = Setup { spoe_timeout: "500ms", ..Setup::of(Mode::Lean, transport) };
            let mut two = Two::start(&program, setup, 1).await;
            two.spoas[0].process.signal("-TERM");
            two.spoas[0].process.ended().await;
            let caller = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1\r\n";
            for n in 0..10 {
                let path = format!("/away/{n}");
                let seen = get_with(&two.addr, &path, caller).await;
                assert_eq!(seen.status, Some(200), "{program:?}");
                assert_eq!(seen.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"), "{program:?}");
                let hit = two.origin.hit(&path);
                let traceparent = hit.header("traceparent").unwrap();
                assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{program:?}: {traceparent}");
                assert!(!traceparent.contains("b7ad6b7169203331"), "{program:?}: the span of HAProxy~2 is its parent");
                assert_eq!(hit.header("tracestate").as_deref(), Some("a=1"), "{program:?}");
            }
        }
    })
    .await;
}
