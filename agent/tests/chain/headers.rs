//! Headers of several lines, and of any length, with the configurations as they are shipped.

use std::io::Write as _;

use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, programs};
use crate::http::http_client;
use crate::origin::Origin;
use crate::process::{eventually, free_port};
use crate::scrape::Metrics;
use crate::setup::{Chain, Setup, Spoa, conf, trace_id};
use crate::spans::{by_trace, find};

const TRACEPARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";
const TRACE: &str = "12345678901234567890123456789012";
const CONFIGURATIONS: [&str; 2] = ["spoe.cfg", "spoe-http.cfg"];

#[tokio::test]
async fn all_lines_of_a_list_go_on_as_one() {
    for program in programs() {
        for spoe_cfg in CONFIGURATIONS {
            let mut chain = Chain::start(&program, Setup { spoe_cfg, ..Setup::default() }).await;
            let headers = [
                ("traceparent", TRACEPARENT),
                ("tracestate", "foo=1,bar=2"),
                ("baggage", "user=joe"),
                ("tracestate", ""),
                ("tracestate", "rojo=1,congo=2"),
                ("baggage", "tenant=acme;p=1"),
                ("tracestate", "baz=3"),
            ];
            assert_eq!(trace_id(&chain.get("/lines", &headers).await), TRACE);
            let hit = chain.origin.hit("/lines");
            let state = "foo=1,bar=2,rojo=1,congo=2,baz=3";
            assert_eq!(hit.header("tracestate").as_deref(), Some(state), "{program:?} {spoe_cfg}");
            let baggage = hit.header("baggage").unwrap();
            assert!(baggage.contains("user=joe,tenant=acme;p=1"), "{baggage}");
            let spans = eventually("the session of the first proxy", || {
                by_trace(chain.collector.spans()).remove(TRACE).filter(|spans| {
                    spans.iter().any(|span| (&*span.service, &*span.name) == ("haproxy-1", "HAProxy session"))
                })
            })
            .await;
            assert_eq!(find(&spans, "haproxy-1", "HAProxy session").proto.trace_state, state);

            // One more than the message takes.
            let lines = ["a=1", "b=2", "c=3", "d=4", "e=5"].map(|line| ("tracestate", line));
            chain.get("/five", &[&[("traceparent", TRACEPARENT)], &lines[..]].concat()).await;
            assert_eq!(chain.origin.hit("/five").header("tracestate").as_deref(), Some("a=1,b=2,c=3,d=4"));
            let missed = "header_lines_incomplete_total{cause=\"missed\"}";
            Metrics::scrape_until(&chain.spoa.admin, missed, |metrics| metrics.get(missed) == 1.0).await;
            chain.spoa.process.signal("-TERM");
            assert!(chain.spoa.process.ended().await.success());
            let log = chain.spoa.process.output().join("\n");
            assert!(log.contains("messages were not taken as they came lines_missed=1 lines_cut=0"), "{log}");
        }
    }
}

/// The cases of the W3C about the whole list, as a browser or a proxy may split it.
#[tokio::test]
async fn the_rules_of_tracestate_are_those_of_the_whole() {
    let members =
        |from: usize, to: usize| (from..to).map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",");
    let three = [members(1, 11), members(11, 21), members(21, 31)];
    let key = "z".repeat(256);
    let cases: [(Vec<String>, bool); 7] = [
        ([&three[..], &[members(31, 33)]].concat(), true),
        ([&three[..], &[members(31, 34)]].concat(), false),
        (vec!["foo=1".to_owned(), format!("{key}=1")], true),
        (vec!["foo=1".to_owned(), format!("{key}z=1")], false),
        (vec!["foo@=1,bar=2".to_owned(), "foo@@bar=1".to_owned()], true),
        (vec!["foo=1".to_owned(), "@foo=1".to_owned()], false),
        (vec!["foo=1".to_owned(), "foo=2".to_owned()], true),
    ];
    for program in programs() {
        let chain = Chain::start(&program, Setup { spoe_cfg: "spoe-http.cfg", ..Setup::default() }).await;
        for (n, (lines, valid)) in cases.iter().enumerate() {
            let mut headers = vec![("traceparent", TRACEPARENT)];
            headers.extend(lines.iter().map(|line| ("tracestate", line.as_str())));
            let path = format!("/whole/{n}");
            assert_eq!(trace_id(&chain.get(&path, &headers).await), TRACE, "the parent stays");
            let told = chain.origin.hit(&path).header("tracestate");
            assert_eq!(told, valid.then(|| lines.join(",")), "{program:?} {lines:?}");
        }
    }
}

#[tokio::test]
async fn several_traceparents_begin_a_new_trace() {
    for program in programs() {
        for spoe_cfg in CONFIGURATIONS {
            let chain = Chain::start(&program, Setup { spoe_cfg, ..Setup::default() }).await;
            let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            for (n, second) in [other, TRACEPARENT, "garbage"].into_iter().enumerate() {
                let path = format!("/several/{n}");
                let headers = [("traceparent", TRACEPARENT), ("traceparent", second), ("tracestate", "a=1")];
                let id = trace_id(&chain.get(&path, &headers).await);
                assert!(id != TRACE && !other.contains(&id), "{id}");
                let hit = chain.origin.hit(&path);
                let told = hit.header("traceparent").unwrap();
                assert!(told.starts_with(&format!("00-{id}-")) && told.len() == TRACEPARENT.len(), "one line: {told}");
                assert_eq!(hit.header("tracestate"), None);
            }
        }
    }
}

/// The inner proxy alone, with one change of its configuration.
struct Inner {
    proxy: Haproxy,
    _spoa: Spoa,
    origin: Origin,
    collector: Collector,
    url: String,
    http: reqwest::Client,
}

impl Inner {
    async fn start(program: &Program, spoe_cfg: &str, change: (&str, &str)) -> Self {
        let (collector, origin) = (Collector::start().await, Origin::start().await);
        let spoa = Spoa::start("127.0.0.1:0", &["--otlp", &collector.url], &[]).await;
        let [traced, plain] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let spoe_cfg = conf(spoe_cfg);
        let env = [
            ("SPOE_CFG", spoe_cfg.to_str().unwrap()),
            ("SPOE_TIMEOUT", "10s"),
            ("NINE_SPANS_ANYWAY", "1"),
            ("SPOA_ADDRESS", spoa.addr.as_str()),
            ("PROXY2_ADDRESS", &traced),
            ("PROXY2_PLAIN_ADDRESS", &plain),
            ("SERVER_ADDRESS", &origin.addr),
        ];
        let text = std::fs::read_to_string(conf("haproxy-2.cfg")).unwrap();
        assert!(text.contains(change.0));
        let mut config = tempfile::NamedTempFile::new().unwrap();
        config.write_all(text.replacen(change.0, change.1, 1).as_bytes()).unwrap();
        let proxy = Haproxy::start(program, config.path(), &env, &traced).await;
        let url = format!("http://{traced}");
        let inner = Inner { proxy, _spoa: spoa, origin, collector, url, http: http_client() };
        // The first health check of the agent may come after the first request.
        for _ in 0..1000 {
            if inner.told("/", "x-request-id", "warm-up").await.is_some() {
                return inner;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no request is traced");
    }

    /// The `traceparent` that the server got of a request with a header.
    async fn told(&self, path: &str, header: &str, value: &str) -> Option<String> {
        self.told_with(path, &[(header, value)]).await
    }

    async fn told_with(&self, path: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200, "{}", headers[0].0);
        let told = self.origin.hits().last().unwrap().header("traceparent");
        // Else it is the client's own.
        told.filter(|told| told.len() == TRACEPARENT.len() && told != TRACEPARENT)
    }
}

/// A NOTIFY larger than a buffer is not sent, and its request is not traced.
#[tokio::test]
async fn headers_of_any_length_leave_no_request_untraced() {
    // As little room for rewriting as there can be, so that a request may fill the whole buffer.
    let change = ("global\n", "global\n    tune.maxrewrite 64\n");
    let long = "x".repeat(15_950);
    let list = "k=v,".repeat(long.len() / 4);
    for program in programs() {
        for spoe_cfg in CONFIGURATIONS {
            let inner = Inner::start(&program, spoe_cfg, change).await;
            let before = inner.proxy.spoe_errors();
            for header in ["user-agent", "traceparent", "tracestate", "baggage", "host"] {
                assert!(inner.told("/", header, &long).await.is_some(), "{program:?} {header}");
                if header != "host" {
                    assert!(inner.told("/", header, &list).await.is_some(), "{program:?} {header}");
                }
            }
            assert!(inner.told(&format!("/{long}"), "x-a", "b").await.is_some(), "{program:?}: a long path");
            // Four lines of each list, each as long as it is taken.
            let (state, baggage) = (&list[..512], &list[..1800]);
            let mut headers = vec![("traceparent", TRACEPARENT), ("user-agent", &long[..3000])];
            headers.extend([("tracestate", state); 4]);
            headers.extend([("baggage", baggage); 4]);
            assert!(inner.told_with("/all", &headers).await.is_some_and(|told| told.contains(TRACE)), "{program:?}");
            assert_eq!(inner.proxy.spoe_errors(), before, "{program:?}");
        }
    }
}

#[tokio::test]
async fn an_id_of_the_clients_may_come_again() {
    let change = ("unique-id-format %[uuid]", "unique-id-format %[req.hdr(x-request-id)]");
    let other = "4bf92f3577b34da6a3ce929d0e0e4736";
    for program in programs() {
        for (spoe_cfg, spans) in CONFIGURATIONS.into_iter().zip([9, 2]) {
            let inner = Inner::start(&program, spoe_cfg, change).await;
            let ask = async |traceparent: &str| {
                let headers = [("x-request-id", "same"), ("traceparent", traceparent)];
                let told = inner.told_with("/again", &headers).await.unwrap();
                told.split('-').nth(1).unwrap().to_owned()
            };
            assert_eq!(ask(TRACEPARENT).await, TRACE);
            assert_eq!(ask(&format!("00-{other}-00f067aa0ba902b7-01")).await, other, "{program:?} {spoe_cfg}");
            let third = ask("").await;
            assert!(third != TRACE && third != other);
            let traces = eventually("three traces", || {
                let traces = by_trace(inner.collector.spans());
                let ended = |id: &str| traces.get(id).is_some_and(|of_trace| of_trace.len() >= spans);
                [TRACE, other, &third].into_iter().all(ended).then_some(traces)
            })
            .await;
            for (id, parent) in [(TRACE, "1234567890123456"), (other, "00f067aa0ba902b7"), (&third, "")] {
                assert_eq!(traces[id].len(), spans);
                assert_eq!(find(&traces[id], "haproxy-2", "HAProxy session").parent, parent);
            }
        }
    }
}
