//! What a client sends, and what anybody sends to the listener, makes no span that HAProxy did not tell of.

use std::net::UdpSocket;

use super::client::{Client, get_with};
use super::{Mode, Proxy, Setup, Transport, with_each};
use crate::haproxy::programs;
use crate::process::PATIENCE;
use crate::scrape::Metrics;
use crate::spans::names;

const ELEMENT: &str = r#"[otel@32473 v="1" svc="forged" c="0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00f067aa0ba902b7--01" a="1795896217.003" e="1795896217008354" Th="0" Ti="0" TR="0" Tw="0" Tc="0" Tr="0" Td="0" Ta="0" st="200" ts="--" rc="0" f="f" b="b" s="s" m="GET" u="%2F" z="1"]"#;

#[tokio::test]
async fn by_a_client() {
    with_each(async |program| {
        for mode in [Mode::Lean, Mode::LogOnly] {
            let proxy = Proxy::start(&program, Setup::of(mode, Transport::Udp)).await;
            let mut requests = proxy.warm_up;
            let endings = [format!("x\" z=\"1\"] {ELEMENT}"), format!("\\\" z=\"1\"]{ELEMENT}"), ELEMENT.to_owned()];
            for ending in &endings {
                let one_word = ending.replace(' ', "\t");
                for header in ["user-agent", "host", "x-unique-id", "tracestate", "baggage", "referer"] {
                    get_with(&proxy.addresses.http, "/header", &format!("{header}: {ending}\r\n")).await;
                    requests += 1;
                }
                let parent =
                    format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01{ending}\r\n");
                get_with(&proxy.addresses.http, "/parent", &parent).await;
                let state = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=";
                get_with(&proxy.addresses.http, "/state", &format!("{state}{ending}\r\n")).await;
                // HAProxy refuses some of these.
                for target in [format!("/query?q={}", ending.replace(' ', "%20")), format!("/query?q={one_word}")] {
                    get_with(&proxy.addresses.http, &target, "").await;
                    requests += 1;
                }
                let mut client = Client::connect(&proxy.addresses.http).await;
                client.send(format!("{one_word} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
                assert!(client.read_all().await.done.elapsed().unwrap() < PATIENCE);
                requests += 3;
            }
            let what = format!("{program:?} {mode:?}: {requests} requests");
            let metrics = Metrics::scrape_until(&proxy.spoa.admin, &what, |metrics| {
                metrics.sum("log_requests_total", "") >= requests as f64
            })
            .await;
            assert_eq!(metrics.sum("log_requests_total", ""), requests as f64, "{what}");
            assert_eq!(metrics.sum("log_lines_total", "malformed"), 0.0, "{what}");
            let spans = proxy.collector.wait_for(metrics.get("log_spans_total") as usize).await;
            assert!(spans.iter().all(|span| span.service == "proxy"), "{what}: {:#?}", names(&spans));
            assert!(spans.iter().all(|span| span.span_id != "b7ad6b7169203331"), "{what}: {:#?}", names(&spans));
        }
    })
    .await;
}

/// All that a client may send at once, of bytes that take three each in the line: it hides no request.
#[tokio::test]
async fn a_client_cannot_make_its_line_too_long() {
    with_each(async |program| {
        for mode in [Mode::Lean, Mode::Fallback, Mode::LogOnly] {
            let proxy = Proxy::start(&program, Setup::of(mode, Transport::Udp)).await;
            let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
            let quotes = |n| "\"".repeat(n);
            let mut requests = proxy.warm_up;
            for (path, headers) in [
                (format!("/{}", quotes(8000)), String::new()),
                ("/agent".to_owned(), format!("user-agent: {}\r\n", quotes(14_000))),
                ("/state".to_owned(), format!("{parent}tracestate: a={}\r\n", quotes(14_000))),
                (
                    format!("/{}", quotes(6000)),
                    format!("{parent}user-agent: {0}\r\ntracestate: a={0}\r\n", quotes(4000)),
                ),
            ] {
                get_with(&proxy.addresses.http, &path, &headers).await;
                requests += 1;
            }
            let lines =
                |metrics: &Metrics| metrics.sum("log_requests_total", "") + metrics.sum("log_lines_total", "cut");
            let what = format!("{program:?} {mode:?}");
            let all = |metrics: &Metrics| lines(metrics) >= requests as f64;
            let metrics = Metrics::scrape_until(&proxy.spoa.admin, &what, all).await;
            assert_eq!(metrics.sum("log_lines_total", "cut"), 0.0, "{what}");
            assert_eq!(metrics.get("log_requests_total{outcome=\"traced\"}"), requests as f64, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn by_whoever_may_not_or_in_the_wrong_place() {
    let program = &programs()[0];
    let setup = Setup::of(Mode::LogOnly, Transport::Udp);
    let proxy = Proxy::start(program, setup).await;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let lines = [
        // Behind the structured data's place, in another element's value, without its header, cut, nothing at all.
        format!("<134>1 2026-11-28T20:03:37.008504+00:00 - haproxy 3247 - - {ELEMENT} x"),
        format!(
            "<134>1 2026-11-28T20:03:37.008504+00:00 - haproxy 3247 - [other@1 a=\"{}\"] x",
            ELEMENT.replace('"', "'")
        ),
        format!("<134>Nov 28 20:03:37 haproxy[3247]: {ELEMENT}"),
        ELEMENT.to_owned(),
        format!("<134>1 2026-11-28T20:03:37.008504+00:00 - haproxy 3247 - {}", &ELEMENT[..200]),
        "<134>1 2026-11-28T20:03:37.008504+00:00 - haproxy 3247 - ".to_owned(),
        String::new(),
        "\0\u{ff}".repeat(1000),
        "[".repeat(60_000),
    ];
    for line in &lines {
        sender.send_to(line.as_bytes(), &proxy.log).unwrap();
    }
    let metrics = Metrics::scrape_until(&proxy.spoa.admin, "all are counted", |metrics| {
        metrics.sum("log_lines_total", "") >= lines.len() as f64
    })
    .await;
    assert_eq!(metrics.get("log_lines_total{result=\"ours\"}"), 0.0, "{}", metrics.text);
    // And the next one of HAProxy is taken.
    let id = get_with(&proxy.addresses.http, "/after", "").await.trace_id.unwrap();
    let spans = proxy.collector.wait_for(2).await;
    assert!(spans.iter().all(|span| span.trace_id == id), "{:#?}", names(&spans));
}
