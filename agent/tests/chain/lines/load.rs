//! Many requests at once: all are there, or counted as lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::client::{Client, get, request};
use super::configuration::patient;
use super::{Mode, Proxy, Setup, Transport, start_spoa, with_each};
use crate::haproxy::{extremes, programs};
use crate::process::{PATIENCE, eventually};
use crate::scrape::Metrics;
use crate::spans::by_trace;

#[tokio::test]
async fn five_hundred_requests_lose_and_double_nothing() {
    for program in programs() {
        for (mode, transport) in
            [(Mode::Lean, Transport::Udp), (Mode::Lean, Transport::Ring), (Mode::LogOnly, Transport::Udp)]
        {
            let tested = program.tested(mode.suite());
            let proxy = Proxy::start(&program, Setup::of(mode, transport)).await;
            let requests = (0..500).map(|n| {
                let (addr, path) = (proxy.addresses.http.clone(), format!("/load/{n}"));
                async move { get(&addr, &path).await.trace_id.unwrap() }
            });
            let ids: Vec<_> = stream::iter(requests).buffer_unordered(32).collect().await;
            let traces = by_trace(proxy.collector.wait_for(2 * (500 + proxy.warm_up)).await);
            let what = format!("{program:?} {mode:?} {transport:?}");
            assert_eq!(traces.len(), 500 + proxy.warm_up, "{what}");
            for id in ids {
                assert_eq!(traces[&id].len(), 2, "{what}");
            }
            tested.passed();
        }
    }
}

/// Clients that ask as fast as they can, until told to stop; how many answers they got.
async fn at_full_speed(proxy: &Proxy, pause: impl Future<Output = ()>) -> usize {
    let over = Arc::<AtomicBool>::default();
    let client = || {
        let (addr, over) = (proxy.addresses.http.clone(), over.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(&addr).await;
            let mut answers = 0;
            while !over.load(Relaxed) {
                client.forget();
                client.send(&request("GET", "/return", "")).await;
                assert!(client.until(b"\r\n\r\nok", PATIENCE).await);
                answers += 1;
            }
            answers
        })
    };
    let clients: Vec<_> = (0..16).map(|_| client()).collect();
    pause.await;
    over.store(true, Relaxed);
    join_all(clients).await.into_iter().map(Result::unwrap).sum()
}

/// Lines that came and lines that are known to be missing are all. The last one tells how far HAProxy counted.
async fn assert_all_counted(proxy: &Proxy, mut requests: usize, what: &str) {
    loop {
        get(&proxy.addresses.http, "/return").await;
        requests += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let metrics = Metrics::scrape(&proxy.spoa.admin).await;
        let [came, missing] =
            [metrics.get("log_lines_total{result=\"ours\"}"), metrics.get("log_lines_missing")].map(|n| n as usize);
        // HAProxy's threads may number two lines alike.
        if (came + missing).abs_diff(requests) <= 4 {
            assert!(came > 0, "{what}");
            assert_eq!(metrics.sum("log_requests_total", "") as usize, came, "{what}");
            return;
        }
        assert!(requests < 1_000_000, "{what}: {requests} requests, {came} came, {missing} missing");
    }
}

#[tokio::test]
async fn at_full_speed_over_udp_lines_and_losses_are_all() {
    for program in extremes() {
        let setup = Setup::of(Mode::LogOnly, Transport::Udp);
        let proxy = Proxy::start(&program, setup).await;
        let requests = at_full_speed(&proxy, tokio::time::sleep(Duration::from_secs(1))).await;
        assert_all_counted(&proxy, requests, &format!("{program:?}")).await;
    }
}

#[tokio::test]
async fn a_receiver_that_stops_for_a_second() {
    for program in extremes() {
        for transport in [Transport::Udp, Transport::Ring] {
            let setup = Setup::of(Mode::LogOnly, transport);
            let proxy = Proxy::start(&program, setup).await;
            let stop = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                proxy.spoa.process.signal("-STOP");
                tokio::time::sleep(Duration::from_secs(1)).await;
                proxy.spoa.process.signal("-CONT");
            };
            let requests = at_full_speed(&proxy, stop).await;
            assert_all_counted(&proxy, requests, &format!("{program:?} {transport:?}, stopped")).await;
        }
    }
}

/// Few lines can wait there; HAProxy drops the others, but has numbered them.
#[tokio::test]
async fn over_a_unix_socket_lines_and_losses_are_all() {
    with_each(async |program| {
        let setup = Setup { edit: Some(&patient), ..Setup::of(Mode::LogOnly, Transport::Unix) };
        let mut proxy = Proxy::start(&program, setup).await;
        let what = format!("{program:?}");
        assert_one_traced(&proxy, &what).await;
        let requests = 1 + at_full_speed(&proxy, tokio::time::sleep(Duration::from_millis(300))).await;
        assert_all_counted(&proxy, requests, &what).await;
        // Another socket, of the same name.
        proxy.spoa.process.signal("-TERM");
        assert!(proxy.spoa.process.ended().await.success(), "{what}");
        let listen = proxy.spoa.addr.clone();
        proxy.spoa = start_spoa(&listen, &proxy.log, setup, &proxy.collector).await;
        assert_one_traced(&proxy, &what).await;
    })
    .await;
}

async fn assert_one_traced(proxy: &Proxy, what: &str) {
    let id = get(&proxy.addresses.http, "/one").await.trace_id.unwrap();
    eventually(&format!("{what}: the spans of {id}"), || {
        (proxy.collector.spans().iter().filter(|span| span.trace_id == id).count() == 2).then_some(())
    })
    .await;
}
