//! agent -> Jaeger and agent -> Collector -> Jaeger, by each protocol of OTLP: Jaeger holds what the agent says.

use crate::chain::{Chain, MODES};
use crate::compare::traces;
use crate::haproxy::programs;
use crate::servers::{self, Certificates, Collector, Jaeger, Otlp, assert_quiet};

/// Protocol, compression, TLS.
type Route = (&'static str, &'static str, bool);

const TO_JAEGER: [Route; 5] = [
    ("http/protobuf", "none", false),
    ("grpc", "gzip", false),
    ("http/json", "gzip", false),
    ("http/protobuf", "zstd", true),
    ("grpc", "none", true),
];
const TO_COLLECTOR: [Route; 5] = [
    ("grpc", "none", false),
    ("http/protobuf", "gzip", false),
    ("grpc", "zstd", false),
    ("http/json", "none", true),
    ("grpc", "gzip", true),
];

/// Requests of all kinds in each mode by each route; the HAProxys take turns.
async fn jaeger_holds(jaeger: &Jaeger, otlp: &Otlp, routes: &[Route], certificates: &Certificates) {
    let programs = programs();
    let mut turn = programs.iter().cycle();
    for mode in MODES {
        for route @ (protocol, compression, tls) in routes {
            let program = turn.next().unwrap();
            let context = format!("{mode:?} {route:?} {}", program.path);
            let (grpc, http) = if *tls { (&otlp.grpc_tls, &otlp.http_tls) } else { (&otlp.grpc, &otlp.http) };
            let address = if *protocol == "grpc" { grpc } else { http };
            let url = format!("{}://{address}", if *tls { "https" } else { "http" });
            let [ca, certificate, key] = ["ca.pem", "agent.pem", "agent-key.pem"].map(|name| certificates.path(name));
            let mut env = vec![("OTEL_EXPORTER_OTLP_COMPRESSION", *compression)];
            if *tls {
                env.extend([
                    ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
                    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
                    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
                ]);
            }
            let args = ["--otlp", &url, "--otlp-protocol", protocol, "--batch-delay", "50ms"];
            let chain = Chain::start(program, mode, &args, &env).await;
            let unsampled = chain.unsampled().await;
            let sent = chain.requests().await;
            let (said, metrics) = chain.settled(&sent).await;
            let told = traces(&said);
            assert!(sent.iter().all(|sent| told.contains(&sent.trace)) && !told.contains(&unsampled), "{context}");
            // The Collector has batches, too.
            let end = std::time::Instant::now() + crate::process::PATIENCE;
            while jaeger.spans(&told).await.len() < said.len() && std::time::Instant::now() < end {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            jaeger.assert_holds(&said, &context).await;
            assert!(jaeger.spans([&unsampled]).await.is_empty(), "{context}: {unsampled}");
            metrics.assert_spans_add_up("otlp", 0.0);
            assert_eq!(metrics.sum("export_spans_dropped_total", ""), 0.0, "{context}");
            assert_quiet(&chain.end().await.process, &[]);
        }
    }
}

#[tokio::test]
async fn jaeger_holds_what_the_agent_says() {
    let Some([jaeger]) = servers::programs(["SPOP_JAEGER"]) else { return };
    let certificates = Certificates::new();
    let jaeger = Jaeger::start(&jaeger, Some(&certificates)).await;
    jaeger_holds(&jaeger, &jaeger.otlp, &TO_JAEGER, &certificates).await;
    jaeger.assert_no_warnings();
}

#[tokio::test]
async fn jaeger_behind_a_collector_holds_what_the_agent_says() {
    let Some([jaeger, collector]) = servers::programs(["SPOP_JAEGER", "SPOP_COLLECTOR"]) else { return };
    let certificates = Certificates::new();
    let jaeger = Jaeger::start(&jaeger, None).await;
    let env = [("JAEGER_ENDPOINT", jaeger.otlp.grpc.as_str())];
    let collector = Collector::start_with(&collector, "plain.yaml", &env, "", Some(&certificates)).await;
    jaeger_holds(&jaeger, &collector.otlp, &TO_COLLECTOR, &certificates).await;
    collector.assert_no_warnings();
    jaeger.assert_no_warnings();
}
