//! B3 and Jaeger through real HAProxys, with the configuration that devenv/conf/propagation shows.

use crate::collector::Collector;
use crate::haproxy::{Haproxy, Program, programs};
use crate::http::http_client;
use crate::origin::{Hit, Origin};
use crate::process::free_port;
use crate::setup::{Spoa, conf};
use crate::spans::{Span, by_trace, find};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const PARENT: &str = "e457b5a2e4d86bd1";

/// Client, HAProxy with a frontend for each format, server; the agent knows all formats.
struct Formats {
    _proxy: Haproxy,
    _spoa: Spoa,
    origin: Origin,
    collector: Collector,
    ports: [(&'static str, String); 4],
    http: reqwest::Client,
}

impl Formats {
    async fn start(program: &Program, env: &[(&str, &str)]) -> Self {
        let (collector, origin) = (Collector::start().await, Origin::start().await);
        let spoa = Spoa::start("127.0.0.1:0", &["--otlp", &collector.url], env).await;
        let ports = ["B3", "B3MULTI", "JAEGER", "ALL"].map(|name| (name, format!("127.0.0.1:{}", free_port())));
        let names = ports.each_ref().map(|(name, _)| format!("{name}_ADDRESS"));
        let spoe_cfg = conf("propagation/spoe.cfg");
        let mut env = vec![
            ("SPOA_ADDRESS", spoa.addr.as_str()),
            ("SERVER_ADDRESS", &origin.addr),
            ("SPOE_CFG", spoe_cfg.to_str().unwrap()),
        ];
        env.extend(names.iter().zip(&ports).map(|(name, (_, addr))| (name.as_str(), addr.as_str())));
        let proxy = Haproxy::start(program, &conf("propagation/haproxy.cfg"), &env, &ports[0].1).await;
        assert!(!proxy.check().contains("[WARNING]"), "{}", proxy.check());
        let formats = Formats { _proxy: proxy, _spoa: spoa, origin, collector, ports, http: http_client() };
        formats.wait_until_traced().await;
        formats
    }

    /// The first health check of the agent may come after the first request.
    async fn wait_until_traced(&self) {
        let short = format!("64fe8b2a57d3eff7-{PARENT}-0");
        for n in 0..1000 {
            let hit = self.request("B3", &format!("/warm-up/{n}"), &[("b3", &short)]).await;
            if hit.header("b3").is_some_and(|told| told.starts_with("000000000000000064fe8b2a57d3eff7-")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no request is traced");
    }

    /// What the server sees of a request that came through the frontend of a format.
    async fn request(&self, format: &str, path: &str, headers: &[(&str, &str)]) -> Hit {
        let (_, addr) = self.ports.iter().find(|(name, _)| *name == format).unwrap();
        let mut request = self.http.get(format!("http://{addr}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
        self.origin.hit(path)
    }

    /// The two spans of a trace: for the client's request, for that to the server.
    async fn spans(&self, trace_id: &str) -> [Span; 2] {
        let spans = crate::process::eventually(&format!("the spans of {trace_id}"), || {
            by_trace(self.collector.spans()).remove(trace_id).filter(|spans| spans.len() >= 2)
        })
        .await;
        assert_eq!(spans.len(), 2);
        ["HAProxy session", "Server session"].map(|name| find(&spans, "haproxy", name).clone())
    }
}

/// The trace id at the beginning of a header.
fn trace_id(header: &str) -> String {
    header.chars().take(32).collect()
}

#[tokio::test]
async fn the_callers_trace_is_joined_and_passed_on() {
    for program in programs() {
        let chain = Formats::start(&program, &[("OTEL_PROPAGATORS", "b3,b3multi,jaeger")]).await;
        let multi =
            |hit: &Hit| ["traceid", "spanid", "sampled", "flags"].map(|name| hit.header(&format!("x-b3-{name}")));

        let b3 = format!("{TRACE}-{PARENT}-1-05e3ac9a4f6e3b90");
        let hit = chain.request("B3", "/b3", &[("b3", &b3)]).await;
        let [session, server] = chain.spans(TRACE).await;
        assert_eq!((session.parent.as_str(), &server.parent), (PARENT, &session.span_id));
        assert_eq!(hit.header("b3").unwrap(), format!("{TRACE}-{}-1", server.span_id));

        let caller = "64fe8b2a57d3eff7";
        let headers = [
            ("X-B3-TraceId", caller),
            ("X-B3-SpanId", PARENT),
            ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
            ("X-B3-Flags", "1"),
        ];
        let hit = chain.request("B3MULTI", "/b3multi", &headers).await;
        let trace = format!("0000000000000000{caller}");
        let [session, server] = chain.spans(&trace).await;
        assert_eq!(session.parent, PARENT);
        let told = [Some(trace), Some(server.span_id), None, Some("1".to_owned())];
        assert_eq!(multi(&hit), told, "64 bits, debug");
        assert_eq!(hit.header("x-b3-parentspanid"), None);

        let hit =
            chain.request("JAEGER", "/jaeger", &[("uber-trace-id", "abc%3A1f%3A0%3A1"), ("uberctx-user", "joe")]).await;
        let trace = format!("{:032x}", 0xabc);
        let [session, server] = chain.spans(&trace).await;
        assert_eq!(session.parent, format!("{:016x}", 0x1f));
        assert_eq!(hit.header("uber-trace-id").unwrap(), format!("{trace}:{}:0:1", server.span_id));
        assert_eq!(hit.header("uberctx-user").as_deref(), Some("joe"));
    }
}

#[tokio::test]
async fn unsampled_callers_are_respected_and_malformed_ones_ignored() {
    for program in programs() {
        let chain = Formats::start(&program, &[("OTEL_PROPAGATORS", "b3,b3multi,jaeger")]).await;
        let unsampled = format!("{TRACE}-{PARENT}-0");
        let told = chain.request("B3", "/b3/0", &[("b3", &unsampled)]).await.header("b3").unwrap();
        assert!(told.starts_with(TRACE) && told.ends_with("-0") && told != unsampled, "{told}");
        let told = chain.request("B3", "/b3/none", &[("b3", "0")]).await.header("b3").unwrap();
        assert!(told.len() == "-".len() + 32 + 16 + "-0".len() && told.ends_with("-0"), "a trace of its own: {told}");
        let headers = [("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-sampled", "0")];
        let told = chain.request("B3MULTI", "/b3multi/0", &headers).await;
        assert_eq!(told.header("x-b3-traceid").as_deref(), Some(TRACE));
        assert_eq!(told.header("x-b3-sampled").as_deref(), Some("0"));
        let unsampled = format!("{TRACE}:{PARENT}:0:0");
        let told = chain.request("JAEGER", "/jaeger/0", &[("uber-trace-id", &unsampled)]).await;
        assert!(told.header("uber-trace-id").unwrap().ends_with(":0:0"));

        let bad = format!("{TRACE}-{PARENT}-x");
        let told = chain.request("B3", "/b3/bad", &[("b3", &bad)]).await.header("b3").unwrap();
        let mut roots = vec![trace_id(&told)];
        let told = chain.request("B3MULTI", "/b3multi/bad", &[("x-b3-traceid", TRACE)]).await;
        roots.extend(told.header("x-b3-traceid"));
        assert_eq!(told.header("x-b3-sampled").as_deref(), Some("1"));
        let bad = format!("{TRACE}:0:0:1");
        let told = chain.request("JAEGER", "/jaeger/bad", &[("uber-trace-id", &bad)]).await;
        roots.push(trace_id(&told.header("uber-trace-id").unwrap()));
        for trace_id in &roots {
            assert_eq!(chain.spans(trace_id).await[0].parent, "", "a root");
        }
        // Those came later.
        assert!(chain.collector.spans().iter().all(|span| span.trace_id != TRACE), "spans of an unsampled trace");
    }
}

#[tokio::test]
async fn several_lines_of_a_header_are_none() {
    let one = format!("{TRACE}-{PARENT}-1");
    let jaeger = format!("{TRACE}:{PARENT}:0:1");
    for program in programs() {
        let chain = Formats::start(&program, &[("OTEL_PROPAGATORS", "b3,b3multi,jaeger")]).await;
        let told = chain.request("B3", "/b3/two", &[("b3", &one), ("b3", "0")]).await.header("b3").unwrap();
        assert!(!told.starts_with(TRACE) && told.ends_with("-1") && told.len() == one.len(), "{told}");
        let headers = [("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-sampled", "0")];
        for (n, twice) in headers.iter().enumerate() {
            let path = format!("/b3multi/two/{n}");
            let hit = chain.request("B3MULTI", &path, &[&headers[..], &[*twice]].concat()).await;
            assert_ne!(hit.header("x-b3-traceid").as_deref(), Some(TRACE), "{twice:?}");
            assert_eq!(hit.header("x-b3-sampled").as_deref(), Some("1"), "{twice:?}");
        }
        let headers = [("uber-trace-id", jaeger.as_str()), ("uber-trace-id", "garbage")];
        let told = chain.request("JAEGER", "/jaeger/two", &headers).await.header("uber-trace-id").unwrap();
        assert!(!told.starts_with(TRACE) && told.ends_with(":0:1"), "{told}");
    }
}

#[tokio::test]
async fn the_order_of_the_propagators_decides_between_formats() {
    let program = &programs()[0];
    let traceparent = format!("00-0af7651916cd43dd8448eb211c80319c-{PARENT}-01");
    let b3 = format!("{TRACE}-{PARENT}-1");
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("tracestate", "a=1"),
        ("b3", &b3),
        ("uber-trace-id", "abc:1:0:1"),
        ("uberctx-tenant", "a%2Cb"),
    ];
    for (propagators, trace, state) in [
        ("tracecontext,baggage,b3,b3multi,jaeger", "0af7651916cd43dd8448eb211c80319c", Some("a=1")),
        ("jaeger,b3,tracecontext,baggage", "00000000000000000000000000000abc", None),
    ] {
        let chain = Formats::start(program, &[("OTEL_PROPAGATORS", propagators)]).await;
        let hit = chain.request("ALL", "/all", &headers).await;
        let [_, server] = chain.spans(trace).await;
        assert_eq!(hit.header("traceparent").unwrap(), format!("00-{trace}-{}-01", server.span_id));
        assert_eq!(hit.header("b3").unwrap(), format!("{trace}-{}-1", server.span_id));
        assert_eq!(hit.header("tracestate").as_deref(), state, "it belongs to the trace of the traceparent");
        assert_eq!(hit.header("baggage").as_deref(), Some("tenant=a%2Cb"));
    }
}

/// Whatever the caller speaks: what is left of its own headers would name its span as the parent of the server's.
#[tokio::test]
async fn no_header_of_the_caller_stays_beside_those_of_the_agent() {
    let b3_multi = [
        ("X-B3-TraceId", TRACE),
        ("X-B3-SpanId", PARENT),
        ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
        ("X-B3-Sampled", "1"),
        ("X-B3-Flags", "1"),
    ];
    let jaeger = format!("{TRACE}:{PARENT}:0:1");
    for program in programs() {
        let env = [("OTEL_PROPAGATORS", "tracecontext,baggage,b3,b3multi,jaeger")];
        let chain = Formats::start(&program, &env).await;
        for (path, headers) in [("/all/b3multi", &b3_multi[..]), ("/all/jaeger", &[("uber-trace-id", &*jaeger)])] {
            let hit = chain.request("ALL", path, headers).await;
            let told = hit.header("traceparent").unwrap();
            assert!(told.starts_with(&format!("00-{TRACE}-")) && !told.contains(PARENT), "joined: {told}");
            assert_eq!(hit.header("b3").unwrap()[..49], told[3..52], "the same in both formats");
            for (name, _) in headers {
                assert_eq!(hit.header(&name.to_ascii_lowercase()), None, "{program:?} {path} {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_disabled_agent_passes_the_callers_context_on() {
    for program in programs() {
        let env = [("OTEL_SDK_DISABLED", "true"), ("OTEL_PROPAGATORS", "tracecontext,b3")];
        let chain = Formats::start(&program, &env).await;
        let traceparent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [("traceparent", traceparent.as_str()), ("tracestate", "a=1")];
        let hit = chain.request("ALL", "/disabled", &headers).await;
        assert_eq!(hit.header("traceparent").as_deref(), Some(traceparent.as_str()));
        assert_eq!(hit.header("tracestate").as_deref(), Some("a=1"));
        assert_eq!(hit.header("b3").unwrap(), format!("{TRACE}-{PARENT}-1"), "in all formats that are on");
        assert_eq!(chain.request("ALL", "/no-caller", &[]).await.header("traceparent"), None);
        assert_eq!(chain.collector.spans().len(), 0);
    }
}
